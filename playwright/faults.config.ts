import { defineConfig } from "@playwright/test";

/** The edge that is killed again and again, and clients without a browser: they mostly wait, and so run beside the browser's tests. */
export default defineConfig({
  testDir: ".",
  testMatch: "faults.spec.ts",
  outputDir: "../test-results/faults",
  workers: 1,
  globalTimeout: 30 * 60_000,
  expect: { timeout: 60_000 },
  forbidOnly: Boolean(process.env["CI"]),
  reporter: [["list"]],
});
