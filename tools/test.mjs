/** `npm test`: installs what is missing, runs every runner, and ends with the sum of their tests. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { constants, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { failuresOfPlaywright, failuresOfVitest } from "./failures.mjs";
import { install, installBrowser, installEngines, installNetworkTools, root } from "./setup.mjs";

install();
await installBrowser();
await installEngines();
installNetworkTools();

const reports = mkdtempSync(join(tmpdir(), "best-actor-tests-"));
let passed = 0;
let failed = 0;
let skipped = 0;
/** What has failed, by file and title: of a long log often only the end is kept. */
const failures = [];

/** Counts a runner's tests. @param read gives their numbers and the names of those that failed, out of its report */
function count(name, status, read) {
  let sums;
  try {
    sums = read();
  } catch {
    sums = { passed: 0, failed: 0, skipped: 0, names: [] };
  }
  // A runner that could not start, or that fails outside any test, counts as one failure.
  if (status !== 0 && sums.failed === 0) {
    sums.failed = 1;
    sums.names = [`the runner ended with ${status ?? "a signal"}, and no test of it failed`];
  }
  passed += sums.passed;
  failed += sums.failed;
  skipped += sums.skipped;
  failures.push(...sums.names.map((one) => `${name}: ${one}`));
  console.log(`${name}: ${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped\n`);
}

/** A runner that says nothing for so long hangs. No test takes half of it. */
const SILENCE_MS = 12 * 60_000;

/**
 * Runs a command beside others: what it says comes at once, or, if it is quiet, in one piece at its end. One that hangs is killed. A
 * patient one takes what the others leave of the processor.
 * @returns its exit status; null if it was killed
 */
function start(name, args, { isQuiet, isPatient = false }, env = process.env) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    const silence = setTimeout(() => {
      console.log(`FAILED: ${name} said nothing for ${SILENCE_MS / 60_000} minutes and was stopped`);
      child.kill("SIGKILL");
    }, SILENCE_MS);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        silence.refresh();
        if (isQuiet) output += text;
        else process.stdout.write(text);
      });
    }
    if (isPatient) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    child.once("exit", (status, signal) => {
      clearTimeout(silence);
      // What it had started may outlive one that was killed, and hold its output open.
      if (signal) finish(status);
    });
    child.once("close", finish);
    function finish(status) {
      process.stdout.write(output);
      output = "";
      resolve(status);
    }
  });
}

async function vitest(name, config, manner, ...more) {
  const file = join(reports, `${name}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const args = [`${root}node_modules/vitest/vitest.mjs`, "run", "--config", config, ...reporters, ...more];
  const status = await start(name, args, manner);
  count(name, status, () => {
    const report = JSON.parse(readFileSync(file, "utf8"));
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests,
      skipped: report.numPendingTests,
      names: failuresOfVitest(report, root),
    };
  });
}

/** Formatter, linter, types: one test each, so that a warning fails the run by name. They run side by side. */
function check(name, module, ...args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [`${root}node_modules/${module}`, ...args], { cwd: root });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
    child.once("close", (status) => {
      process.stdout.write(output);
      if (status !== 0) console.log(`FAILED: ${name}`);
      count(name, status, () =>
        status === 0
          ? { passed: 1, failed: 0, skipped: 0, names: [] }
          : { passed: 0, failed: 1, skipped: 0, names: ["it does not pass"] },
      );
      resolve();
    });
  });
}

/** So many failures at once are nobody's haste. */
const FEW = 3;
/** Runners of which few tests have failed, each with its configuration and the failures' names. */
const doubtful = [];

async function playwright(name, config, manner) {
  const { status, report } = await runPlaywright(name, config, manner);
  const names = report ? failuresOfPlaywright(report) : [];
  if (names.length > 0 && names.length <= FEW && report.stats.unexpected === names.length) {
    doubtful.push({ name, config, names });
  }
  count(name, status, () => {
    const { expected, unexpected, flaky, skipped } = report.stats;
    return { passed: expected + flaky, failed: unexpected, skipped, names };
  });
}

async function runPlaywright(name, config, manner, ...more) {
  const file = join(reports, `${name}.json`);
  rmSync(file, { force: true });
  const args = [`${root}node_modules/@playwright/test/cli.js`, "test", "--config", config, "--reporter=list,json"];
  const env = { ...process.env, PLAYWRIGHT_JSON_OUTPUT_NAME: file };
  const status = await start(name, [...args, ...more], manner, env);
  return { status, report: existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined };
}

/**
 * Runs what has failed in browsers once more, with nothing beside it: two lanes on two cores are our own haste, and not what these tests
 * are about. What passes then is said all the same, with what it failed of: it may be a race.
 */
async function lookAgain() {
  for (const { name, config, names } of doubtful) {
    console.log(`\n${name}: what has failed runs once more, alone`);
    const { status, report } = await runPlaywright(name, config, { isQuiet: false }, "--last-failed", "--workers=1");
    if (status !== 0 || report?.stats.expected !== names.length) continue;
    failed -= names.length;
    passed += names.length;
    for (const one of names) {
      failures.splice(failures.indexOf(`${name}: ${one}`), 1);
      console.log(`FAILED BESIDE OTHERS, PASSED ALONE: ${name}: ${one}`);
    }
  }
}

/** Two lanes side by side, so that no core waits: what mostly waits (for clocks, sockets and processes) and what mostly computes. */
async function waiting() {
  await vitest("edge", "workers/edge/vitest.config.ts", { isQuiet: true }, "--maxWorkers=2");
  await isBuilt;
  await playwright("faults", "playwright/faults.config.ts", { isQuiet: true });
  await playwright("engines", "playwright/engines.config.ts", { isQuiet: true });
}

async function computing() {
  await Promise.all([
    check("format", "prettier/bin/prettier.cjs", "--check", "--log-level", "warn", "."),
    check("lint", "eslint/bin/eslint.js", "--max-warnings", "0", "."),
    check("types of the app", "svelte-check/bin/svelte-check", "--fail-on-warnings", "--tsconfig", "./tsconfig.json"),
    check("types of the edge", "typescript/bin/tsc", "--noEmit", "-p", "workers/edge"),
    isBuilt,
  ]);
  await vitest("unit", "vitest.config.ts", { isQuiet: false, isPatient: true }, "--maxWorkers=2");
  await playwright("browser", "playwright/playwright.config.ts", { isQuiet: false });
}

// Before anything is looked at: the browsers' tests of both lanes are of what it makes.
const isBuilt = check("build", "vite/bin/vite.js", "build", "--logLevel", "warn");
await Promise.all([waiting(), computing()]);
await lookAgain();

rmSync(reports, { recursive: true, force: true });
for (const one of failures) console.log(`FAILED: ${one}`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);
