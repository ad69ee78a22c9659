/** `npm test`: installs what is missing, runs every runner, and ends with the sum of their tests. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install, root, run } from "./setup.mjs";

install();

const reports = mkdtempSync(join(tmpdir(), "best-actor-tests-"));
let passed = 0;
let failed = 0;
let skipped = 0;

function count(name, status, read) {
  let sums;
  try {
    sums = read();
  } catch {
    sums = { passed: 0, failed: 0, skipped: 0 };
  }
  // A runner that could not start, or that fails outside any test, counts as one failure.
  if (status !== 0 && sums.failed === 0) sums.failed = 1;
  passed += sums.passed;
  failed += sums.failed;
  skipped += sums.skipped;
  console.log(`${name}: ${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped\n`);
}

function vitest(name, config) {
  const file = join(reports, `${name}.json`);
  const status = run(process.execPath, [
    `${root}node_modules/vitest/vitest.mjs`,
    "run",
    "--config",
    config,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${file}`,
  ]);
  count(name, status, () => {
    const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(file, "utf8"));
    return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests };
  });
}

vitest("unit", "vitest.config.ts");
vitest("edge", "workers/edge/vitest.config.ts");

rmSync(reports, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);
