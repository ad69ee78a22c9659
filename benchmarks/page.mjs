/**
 * `npm run bench:page`: Lighthouse on its phone profile over the built app's first pages, the median of five runs of each (its
 * scores of speed swing by ten points on two busy cores), and the bytes that the first page needs before it can be used. Lighthouse
 * is large and not installed with the project: `npm install --no-save lighthouse@12`. Its last line is one JSON object.
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

/** Of each page. */
const RUNS = 5;
const pages = {};
for (const [name, path] of Object.entries({ home: "/", play: "/play" })) {
  const runs = [];
  while (runs.length < RUNS) {
    const { lhr } = await lighthouse(edge.url + path, {
      port,
      logLevel: "error",
      onlyCategories: ["performance", "accessibility", "best-practices", "seo"],
    });
    // Now and then Chromium gives it no picture of the page, and so no score.
    if (lhr.categories.performance.score !== null) runs.push(lhr);
  }
  runs.sort((a, b) => a.categories.performance.score - b.categories.performance.score);
  const median = runs[Math.floor(RUNS / 2)];
  const score = (lhr, id) => Math.round(100 * lhr.categories[id].score);
  pages[name] = {
    ...{ performance: score(median, "performance"), accessibility: score(median, "accessibility") },
    ...{ bestPractices: score(median, "best-practices"), seo: score(median, "seo") },
    performances: runs.map((lhr) => score(lhr, "performance")),
  };
  console.log(name, JSON.stringify(pages[name]));
  for (const { id, title, score, displayValue } of Object.values(median.audits))
    if (score !== null && score < 0.9) console.log(`  ${id}: ${title} ${displayValue ?? ""}`);
}

const context = await browser.newContext({ serviceWorkers: "block" });
const { bytesUntilUsable } = (await runnerImport(join(root, "playwright/first-load.ts"))).module;
const bytes = await bytesUntilUsable(await context.newPage(), edge.url);
await browser.close();
await edge.stop();
rmSync(stateFolder, { recursive: true, force: true });
console.log(JSON.stringify({ pages, firstLoadKB: Number((bytes / 1000).toFixed(1)) }));
