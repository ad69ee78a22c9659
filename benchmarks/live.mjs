/**
 * `npm run bench:live [-- --seconds 20]`: the built app's Play page in Chromium before a fake webcam of 30 pictures a second, on
 * WebAssembly: how long from the moment that a camera picture is taken to the animation frame that shows its probabilities, how
 * many pictures a second are judged, and at how many frames a second the page stays meanwhile. Its last line is one JSON object.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "@playwright/test";
import { runnerImport } from "vite";
import { fail } from "../tools/faces.mjs";
import { serve } from "../tools/serve.mjs";
import { findBrowser, root, run } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, { seconds: { type: "count", default: "20" } });
if (!existsSync(join(root, "dist")) && run("npm", ["run", "-s", "build"]) !== 0) fail("The app could not be built.");
const { default: makeWebcam, WEBCAM } = (await runnerImport(join(root, "playwright/webcam.ts"))).module;
await makeWebcam();

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-live-"));
const edge = await serve({ port: 0, stateFolder });
const executablePath = findBrowser();
const browser = await chromium.launch({
  ...(executablePath ? { executablePath } : {}),
  args: [
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-video-capture=${WEBCAM}`,
  ],
});
const quantile = (sorted, q) => Number(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(1));
const models = {};
for (const task of ["expressions", "expressions-compact"]) {
  const context = await browser.newContext({ permissions: ["camera"], serviceWorkers: "block" });
  const page = await context.newPage();
  await page.addInitScript(() => {
    // The app takes the next picture after its workers' last answer about the one before, which the first animation frame behind that shows.
    const take = window.createImageBitmap.bind(window);
    window.taken = [];
    window.answered = [];
    window.frames = [];
    window.Worker = class extends Worker {
      constructor(...given) {
        super(...given);
        this.addEventListener("message", () => window.answered.push(performance.now()));
      }
    };
    window.createImageBitmap = (source, ...rest) => {
      if (source instanceof HTMLVideoElement) window.taken.push(performance.now());
      return take(source, ...rest);
    };
    const frame = (now) => {
      window.frames.push(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await page.goto(`${edge.url}/play?task=${task}`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  await page.getByRole("list", { name: "What the model sees" }).getByText("%").first().waitFor({ timeout: 120_000 });
  await page.waitForTimeout(2000);
  const { taken, answered, frames } = await page.evaluate(async (ms) => {
    window.taken.length = window.answered.length = window.frames.length = 0;
    await new Promise((resolve) => setTimeout(resolve, ms));
    return { taken: window.taken, answered: window.answered, frames: window.frames };
  }, values.seconds * 1000);
  const ms = taken
    .slice(1)
    .flatMap((next, i) => {
      const answer = answered.findLast((at) => at > taken[i] && at < next) ?? Infinity;
      const shown = frames.find((frame) => frame >= answer);
      return shown === undefined ? [] : [shown - taken[i]];
    })
    .sort((a, b) => a - b);
  const perSecond = (times) => Number((((times.length - 1) * 1000) / (times.at(-1) - times[0])).toFixed(1));
  models[task] = {
    ...{ p50Ms: quantile(ms, 0.5), p95Ms: quantile(ms, 0.95) },
    ...{ judgedPerSecond: perSecond(taken), framesPerSecond: perSecond(frames) },
  };
  console.log(task, JSON.stringify(models[task]));
  await context.close();
}
await browser.close();
await edge.stop();
rmSync(stateFolder, { recursive: true, force: true });
console.log(JSON.stringify(models));
