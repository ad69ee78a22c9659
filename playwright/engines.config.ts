import { defineConfig } from "@playwright/test";

/** The game, its training and a round in Chromium, Firefox and WebKit. `npm test` builds before it runs this. */
export default defineConfig({
  testDir: ".",
  testMatch: "engines.spec.ts",
  outputDir: "../test-results/engines",
  globalSetup: "./webcam.ts",
  // Training takes all cores: tests that run side by side would only wait for one another.
  workers: 1,
  timeout: 300_000,
  globalTimeout: 30 * 60_000,
  expect: { timeout: 60_000 },
  forbidOnly: Boolean(process.env["CI"]),
  reporter: [["list"]],
});
