/**
 * `npm run bench -- NAME [OPTIONS]`: runs `npm run bench:NAME -- OPTIONS` and keeps its last line, with date, machine and version, in
 * benchmarks/results.json; docs/benchmarks.md is made from that, so that no figure in it is typed by hand. Without NAME it only
 * makes the document.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { format } from "prettier";
import { root } from "../tools/setup.mjs";
import { documentOf } from "./document.mjs";

const RESULTS = join(root, "benchmarks/results.json");
const DOCUMENT = join(root, "docs/benchmarks.md");

/** Runs a benchmark and shows what it says. @returns what its last line says */
async function run(name, options) {
  const child = spawn("npm", ["run", "--silent", `bench:${name}`, "--", ...options], {
    cwd: root,
    stdio: ["inherit", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (text) => {
    output += text;
    process.stdout.write(text);
  });
  const status = await new Promise((resolve) => child.once("close", resolve));
  if (status !== 0) throw new Error(`bench:${name} ended with ${status}.`);
  return JSON.parse(output.trimEnd().split("\n").at(-1));
}

const [name, ...options] = process.argv.slice(2);
const results = JSON.parse(readFileSync(RESULTS, "utf8"));
if (name) {
  const result = await run(name, options);
  // Where somebody keeps their data is nobody's business.
  const shown = options.map((option) => (existsSync(option) ? "PATH" : option));
  const command = [`npm run bench:${name}`, ...(shown.length > 0 ? ["--", ...shown] : [])].join(" ");
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
  results[command] = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${availableParallelism()} cores of ${cpus()[0]?.model ?? "an unknown processor"}`,
    ...{ commit, result },
  };
  writeFileSync(RESULTS, await format(JSON.stringify(results), { parser: "json" }));
}
writeFileSync(DOCUMENT, await format(documentOf(results), { parser: "markdown" }));
