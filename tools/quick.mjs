/**
 * `npm run test:quick [-- --since REF]`: of what has changed since a commit (HEAD, or REF), whether it is formatted, passes the linter and
 * the type checkers, and the tests that import it. Those that are tagged as slow wait for `npm test`.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { optionsOf } from "./options.mjs";
import { install, root } from "./setup.mjs";

install();
const { since } = optionsOf(import.meta.url, { since: { type: "string", default: "HEAD" } });

const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).split("\n").filter(Boolean);
const changed = [
  ...git("diff", "--name-only", "--diff-filter=d", since),
  ...git("ls-files", "--others", "--exclude-standard"),
];
if (changed.length === 0) {
  console.log(`Nothing has changed since ${since}: name an older commit with --since.`);
  process.exit(0);
}

/** Runs one of the project's tools on some files, and says at its end how it went. @returns whether all is well */
function check(name, module, ...args) {
  const begun = Date.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`${root}node_modules/${module}`, ...args], { cwd: root });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
    child.once("close", (status) => {
      const seconds = Math.round((Date.now() - begun) / 1000);
      console.log(`${status === 0 ? "" : output}${name}: ${status === 0 ? "passed" : "FAILED"} (${seconds} s)`);
      resolve(status === 0);
    });
  });
}

const ofKind = (pattern) => changed.filter((file) => pattern.test(file));
const code = ofKind(/\.(ts|svelte|m?js)$/);
const typed = ofKind(/\.(ts|svelte)$/);
const isTest = (file) => file.endsWith(".test.ts");
/** Tests that were changed, or are of a file that was: they run even when they are slow. */
const own = [...new Set(typed.map((file) => (isTest(file) ? file : file.replace(/\.\w+$/, ".test.ts"))))].filter(
  (file) => existsSync(`${root}${file}`),
);
const checks = [
  ["format", "prettier/bin/prettier.cjs", "--check", "--ignore-unknown", "--log-level", "warn", ...changed],
];

if (code.length > 0) checks.push(["lint", "eslint/bin/eslint.js", "--max-warnings", "0", "--no-warn-ignored", ...code]);
if (typed.length > 0) {
  checks.push([
    "types of the app",
    "svelte-check/bin/svelte-check",
    "--fail-on-warnings",
    "--tsconfig",
    "./tsconfig.json",
  ]);
  checks.push(["types of the edge", "typescript/bin/tsc", "--noEmit", "-p", "workers/edge"]);
}
for (const [name, config] of [
  ["unit tests", "vitest.config.ts"],
  ["tests of the edge", "workers/edge/vitest.config.ts"],
]) {
  const how = ["--run", "--config", config, "--passWithNoTests"];
  if (own.length > 0) checks.push([`${name}, their own`, "vitest/vitest.mjs", ...own, ...how]);
  const others = own.flatMap((file) => ["--exclude", file]);
  if (typed.length > 0) {
    const filter = ["--tags-filter", "!slow", ...others];
    checks.push([`${name} that import it`, "vitest/vitest.mjs", "related", ...typed, ...how, ...filter]);
  }
}
const results = await Promise.all(checks.map((one) => check(...one)));
process.exit(results.every(Boolean) ? 0 : 1);
