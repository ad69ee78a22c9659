/**
 * The programs that the linter's rules ask for types, made once for all files. What the type checker is given of a component is not what
 * lies on the disk, for which typescript-eslint by itself begins a new program with each of them: two thirds of the linter's time.
 */
import { readFileSync } from "node:fs";
import svelte from "eslint-plugin-svelte";
import ts from "typescript";
import { parser } from "typescript-eslint";
import svelteConfig from "../svelte.config.js";

const { parser: svelteParser } = svelte.configs.base
  .map(({ languageOptions }) => languageOptions)
  .find((one) => one?.parser);

const SVELTE = { extension: ".svelte", isMixedContent: true, scriptKind: ts.ScriptKind.Deferred };

/** The TypeScript as which svelte-eslint-parser has a component, or a module with runes, read: the last that it gives its parser. */
function scriptOf(filePath) {
  let script = "";
  const noting = {
    ...parser,
    parseForESLint(code, options) {
      script = code;
      return parser.parseForESLint(code, options);
    },
  };
  svelteParser.parseForESLint(readFileSync(filePath, "utf8"), { parser: noting, filePath, svelteConfig });
  return script;
}

/** @param root the folder of a tsconfig.json. @returns its program, components and all */
export function programOf(root) {
  const { config } = ts.readConfigFile(`${root}/tsconfig.json`, ts.sys.readFile);
  const more = [undefined, undefined, undefined];
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root, ...more, [SVELTE]);
  const all = { ...options, allowNonTsExtensions: true };
  const host = ts.createCompilerHost(all, true);
  const { readFile } = host;
  host.readFile = (file) => (/\.svelte(?:\.ts)?$/u.test(file) ? scriptOf(file) : readFile(file));
  return ts.createProgram(fileNames, all, host);
}

/** Whether files are only looked at, each once: an editor, and `--fix`, change them as they go, and keep to typescript-eslint's own way. */
export const isOnce =
  /(\.bin[\\/]eslint|eslint[\\/]bin[\\/]eslint\.js)$/u.test(process.argv[1] ?? "") && !process.argv.includes("--fix");
