import { defineConfig } from "@playwright/test";
import { findBrowser } from "../tools/setup.mjs";
import { WEBCAM } from "./webcam";

const executablePath = findBrowser();
if (!executablePath) throw new Error("There is no Chromium. npm test installs one.");

/** The built app in a real Chromium, against real workerd. `npm test` builds before it runs this. */
export default defineConfig({
  testDir: ".",
  // Those have configurations of their own.
  testIgnore: ["engines.spec.ts", "faults.spec.ts", "server.spec.ts", "soak.spec.ts"],
  outputDir: "../test-results/browser",
  globalSetup: "./webcam.ts",
  // Each test has an edge and a browser of its own, and mostly waits: for cameras, countdowns and rounds.
  fullyParallel: true,
  workers: 2,
  timeout: 300_000,
  // All of them take some ten minutes on two cores: what takes this long hangs.
  globalTimeout: 45 * 60_000,
  expect: {
    timeout: 60_000,
    // Two versions of Chromium draw the edges of letters a little differently.
    toHaveScreenshot: { maxDiffPixelRatio: 0.02, threshold: 0.3, animations: "disabled" },
  },
  forbidOnly: Boolean(process.env["CI"]),
  reporter: [["list"]],
  snapshotPathTemplate: "{testDir}/looks/{arg}{ext}",
  use: {
    browserName: "chromium",
    actionTimeout: 60_000,
    viewport: { width: 1280, height: 900 },
    permissions: ["camera"],
    // What it keeps would hide from the tests what the page asks for; the tests of working offline allow it.
    serviceWorkers: "block",
    trace: "off",
    launchOptions: {
      executablePath,
      args: [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        `--use-file-for-fake-video-capture=${WEBCAM}`,
      ],
    },
  },
});
