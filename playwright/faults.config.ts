import { defineConfig } from "@playwright/test";

/**
 * The edge as a whole, from outside and without a browser: killed again and again, on an own server, by the guides' commands. Its
 * tests mostly wait, and so run beside the browser's.
 */
export default defineConfig({
  testDir: ".",
  testMatch: ["faults.spec.ts", "server.spec.ts", "soak.spec.ts"],
  outputDir: "../test-results/faults",
  workers: 1,
  globalTimeout: 30 * 60_000,
  expect: { timeout: 60_000 },
  forbidOnly: Boolean(process.env["CI"]),
  reporter: [["list"]],
});
