/** Strategies of people's own: `--strategy ./mine.ts`. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { runnerImport } from "vite";
import { root } from "../setup.mjs";

/** Some data or a file cannot be used; its message says what to do. */
export class DataError extends Error {
  name = "DataError";
}

/** Something that a strategy of somebody's own has thrown; its message says in which part and line. */
export class StrategyError extends Error {
  name = "StrategyError";
}

/** Whether a strategy is named by its file, and not by the name of a built-in one. */
export const isFile = (strategy) => /\.(ts|js|mjs)$/.test(strategy ?? "");

/** Every part of the interface that is called. */
const PARTS = {
  client: ["init", "epochs", "beforeTraining", "gradientHook", "contrast", "afterTraining"],
  server: ["init", "select", "candidates", "aggregate", "step"],
};

const isNames = (value) => Array.isArray(value) && value.every((name) => typeof name === "string");
const isStrategy = (one) =>
  typeof one?.name === "string" &&
  typeof one.client === "object" &&
  typeof one.server?.aggregate === "function" &&
  isNames(one.wire?.down) &&
  isNames(one.wire.up);

/** What of some modules is somebody's own, and not the project's or a package's. */
const ownOf = (files) => files.filter((file) => !file.startsWith(join(root, "src")) && !file.includes("node_modules"));

const loaded = new Map();

/**
 * The strategy that a file exports, and the files that it is made of: once in a process, so that a run does not change its strategy where
 * somebody writes on.
 * @throws DataError
 */
export function loadStrategy(file) {
  if (!loaded.has(file)) loaded.set(file, load(file));
  return loaded.get(file);
}

async function load(file) {
  const path = resolve(file);
  if (!existsSync(path)) throw new DataError(`--strategy: there is no ${file}.`);
  let imported;
  try {
    imported = await runnerImport(path, { logLevel: "silent" });
  } catch (error) {
    const place = error.loc ? `:${error.loc.line}:${error.loc.column}` : (placeIn(error, [path]) ?? "");
    throw new DataError(`${file}${place} cannot be loaded: ${error.message}`);
  }
  const found = Object.values(imported.module).find(isStrategy);
  if (!found) {
    throw new DataError(
      `${file} exports no strategy: an object with name, client, server (with aggregate) and wire (with down and up). The shortest is src/federation/strategies/fedavg.ts.`,
    );
  }
  // Lines of errors are those of the source.
  process.setSourceMapsEnabled(true);
  const files = [path, ...ownOf(imported.dependencies ?? [])];
  const source = files.map((one) => {
    const text = readFileSync(one, "utf8");
    const name = relative(dirname(path), one);
    return { name, sha256: createHash("sha256").update(text).digest("hex"), text };
  });
  return { strategy: guarded(found, files), source };
}

/** Where in some files an error was thrown, as `:line:column`, or with another file's name before it. */
function placeIn(error, files) {
  const lines = String(error?.stack ?? "").split("\n");
  for (const line of lines) {
    const file = files.find((one) => line.includes(`${one}:`));
    const place = file && /:\d+:\d+/.exec(line.slice(line.indexOf(file) + file.length));
    if (place) return `${file === files[0] ? "" : `, ${basename(file)}`}${place[0]}`;
  }
  return undefined;
}

/** The strategy, whose parts say where what they throw comes from. */
function guarded(strategy, files) {
  const guard = (name, owner, call) =>
    function (...given) {
      try {
        const made = call.apply(owner, given);
        return typeof made === "function" ? guard(name, undefined, made) : made;
      } catch (error) {
        if (error instanceof StrategyError) throw error;
        const place = placeIn(error, files) ?? "";
        const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
        throw new StrategyError(`${basename(files[0])}${place}: ${name}: ${said}`);
      }
    };
  const guardedPart = (name, part, calls) => {
    const own = Object.create(part);
    for (const call of calls) {
      if (typeof part[call] === "function") own[call] = guard(`${name}.${call}`, part, part[call]);
    }
    return own;
  };
  const own = Object.create(strategy);
  for (const [name, calls] of Object.entries(PARTS)) own[name] = guardedPart(name, strategy[name], calls);
  const { personal } = strategy.client;
  if (personal) own.client.personal = guardedPart("client.personal", personal, ["start", "gradientHook"]);
  return own;
}

/**
 * Checks the types of a strategy's file in TypeScript, and of what it imports of somebody's own.
 * @throws DataError with every place and what is wrong there
 */
export async function checkTypes(file) {
  const path = resolve(file);
  if (!path.endsWith(".ts") || !existsSync(path)) return;
  const { default: ts } = await import("typescript");
  const program = ts.createProgram([path], {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    // It runs in Node, wherever it lies.
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
    target: ts.ScriptTarget.ESNext,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: ["lib.esnext.d.ts", "lib.dom.d.ts"],
  });
  const own = ownOf(program.getSourceFiles().map(({ fileName }) => fileName));
  const sources = [...new Set([path, ...own])].map((name) => program.getSourceFile(name)).filter(Boolean);
  const wrong = sources.flatMap((source) => [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ]);
  if (wrong.length === 0) return;
  const lines = wrong.map(({ file: source, start, messageText }) => {
    const { line, character } = source.getLineAndCharacterOfPosition(start);
    const name = source.fileName === path ? file : join(dirname(file), relative(dirname(path), source.fileName));
    return `${name}:${line + 1}:${character + 1} ${ts.flattenDiagnosticMessageText(messageText, "\n  ")}`;
  });
  throw new DataError(lines.join("\n"));
}
