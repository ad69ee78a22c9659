/**
 * `npm run test:soak`: the tests that `npm test` runs at a part of their length, at all of it: a thousand rounds whose storage is weighed,
 * the lab against the edge in every pair of settings, fifty kills, two hundred clients with secure aggregation, a hundred thousand damaged updates, the audit's slowest faults,
 * the seed CNN's gradients on a software GPU, and the interface fuzzed where Python has Schemathesis. About half an hour.
 */
import { spawnSync } from "node:child_process";
import { install, root } from "./setup.mjs";

install();
const runs = [
  [
    "vitest/vitest.mjs",
    "run",
    "src/federation/secagg",
    "src/federation/update.test",
    "tools/lab/lab.test",
    "benchmarks/canary",
  ],
  ["vitest/vitest.mjs", "run", "--config", "workers/edge/vitest.config.ts", "growth.test", "lab.test"],
  ["vite/bin/vite.js", "build", "--logLevel", "warn"],
  ["@playwright/test/cli.js", "test", "--config", "playwright/faults.config.ts", "faults.spec"],
  [
    "@playwright/test/cli.js",
    "test",
    "--config",
    "playwright/playwright.config.ts",
    "exactness.spec",
    "--grep",
    "PyTorch",
  ],
].map(([module, ...args]) => [`${root}node_modules/${module}`, ...args]);
runs.push([`${root}tools/fuzz.mjs`, "--minutes", "2", "--if-at-hand"]);
let failed = 0;
for (const args of runs) {
  const options = { cwd: root, stdio: "inherit", env: { ...process.env, SOAK: "1" } };
  if (spawnSync(process.execPath, args, options).status !== 0) failed += 1;
}
console.log(`${runs.length - failed} of ${runs.length} passed`);
process.exit(failed > 0 ? 1 : 0);
