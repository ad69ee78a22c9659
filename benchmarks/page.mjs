/**
 * `npm run bench:page`: Lighthouse on its phone profile over the built app's first pages, the median of five runs of each (its
 * scores of speed swing by ten points on two busy cores), and the bytes that the first page needs before it can be used. It slows
 * the processor down by what makes this machine a mid-tier phone, and for comparison by its own factor of 4 too. `firstTakeMs` is from
 * opening the link to the game to the first judged take by photo with `compact`, in a browser that has nothing yet, the page's thread
 * four times slower and over 4G (Chromium slows no worker's thread). Lighthouse is
 * large and not installed with the project: `npm install --no-save lighthouse@12`. Its last line is one JSON object.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "@playwright/test";
import { runnerImport } from "vite";
import { fail } from "../tools/faces.mjs";
import { serve } from "../tools/serve.mjs";
import { findBrowser, root, run } from "../tools/setup.mjs";
import { firstTake } from "./first-take.mjs";

const { default: lighthouse } = await import("lighthouse").catch(() =>
  fail("Lighthouse is not here: npm install --no-save lighthouse@12"),
);
if (!existsSync(join(root, "dist")) && run("npm", ["run", "-s", "build"]) !== 0) fail("The app could not be built.");
const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-page-"));
const edge = await serve({ port: 0, stateFolder });
const port = await new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const free = server.address().port;
    server.close(() => resolve(free));
  });
});
const executablePath = findBrowser();
const browser = await chromium.launch({
  ...(executablePath ? { executablePath } : {}),
  args: [`--remote-debugging-port=${port}`],
});

/** Of each page and multiplier. */
const RUNS = 5;
/**
 * A mid-tier phone by Lighthouse's index: what its own multiplier of 4 makes of the middle of the desktops that it was chosen for
 * (1500 to 2000; its docs/throttling.md). A slower machine is to be slowed down by less.
 */
const PHONE_INDEX = 1750 / 4;
const median = (runs, of) => runs.map(of).sort((a, b) => a - b)[Math.floor(runs.length / 2)];
const score = (lhr, id) => Math.round(100 * lhr.categories[id].score);

async function visit(path, throttling) {
  for (;;) {
    const options = { logLevel: "error", onlyCategories: ["performance", "accessibility", "best-practices", "seo"] };
    const { lhr } = await lighthouse(edge.url + path, { port, ...options, ...(throttling ? { throttling } : {}) });
    // Now and then Chromium gives it no picture of the page, and so no score.
    if (lhr.categories.performance.score !== null) return lhr;
  }
}

const pages = {};
for (const [name, path] of Object.entries({ home: "/", play: "/play" })) {
  const [asItIs, calibrated] = [[], []];
  while (calibrated.length < RUNS) {
    const lhr = await visit(path);
    asItIs.push(lhr);
    const cpuSlowdownMultiplier = Math.max(1, lhr.environment.benchmarkIndex / PHONE_INDEX);
    calibrated.push(await visit(path, { ...lhr.configSettings.throttling, cpuSlowdownMultiplier }));
  }
  pages[name] = {
    performance: median(calibrated, (lhr) => score(lhr, "performance")),
    accessibility: median(calibrated, (lhr) => score(lhr, "accessibility")),
    bestPractices: median(calibrated, (lhr) => score(lhr, "best-practices")),
    seo: median(calibrated, (lhr) => score(lhr, "seo")),
    slowdown: Number(median(calibrated, (lhr) => lhr.configSettings.throttling.cpuSlowdownMultiplier).toFixed(1)),
    performanceSlowedBy4: median(asItIs, (lhr) => score(lhr, "performance")),
    runs: calibrated.map((lhr, i) => [score(lhr, "performance"), score(asItIs[i], "performance")]),
  };
  console.log(name, JSON.stringify(pages[name]));
  for (const { id, title, score, displayValue } of Object.values(asItIs[0].audits))
    if (score !== null && score < 0.9) console.log(`  ${id}: ${title} ${displayValue ?? ""}`);
}

const context = await browser.newContext({ serviceWorkers: "block" });
const { bytesUntilUsable } = (await runnerImport(join(root, "playwright/first-load.ts"))).module;
const bytes = await bytesUntilUsable(await context.newPage(), edge.url);
await browser.close();
const { default: makeWebcam, scenePath } = (await runnerImport(join(root, "playwright/webcam.ts"))).module;
await makeWebcam();
const takes = [];
while (takes.length < RUNS) takes.push(await firstTake(`${edge.url}/play?task=expressions-compact`, scenePath(0)));
const judged = takes.map(({ judgedMs }) => judgedMs);
const firstTakeMs = { median: median(judged, (ms) => ms), least: Math.min(...judged), most: Math.max(...judged) };
await edge.stop();
rmSync(stateFolder, { recursive: true, force: true });
console.log(JSON.stringify({ pages, firstLoadKB: Number((bytes / 1000).toFixed(1)), firstTakeMs }));
