/**
 * `npm run bench:import -- --data FILE.csv`: imports a CSV of faces on the built app's Lab page, in Chromium. How fast, and how
 * much memory the tab takes at most, beside what it took before. Its last line is one JSON object.
 */
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { fail } from "../tools/faces.mjs";
import { peakMB } from "../tools/harness/open.mjs";
import { serve } from "../tools/serve.mjs";
import { findBrowser, root, run } from "../tools/setup.mjs";

const { values } = parseArgs({ options: { data: { type: "string" } } });
if (!values.data || !existsSync(values.data)) fail("npm run bench:import -- --data FILE.csv: name a file of faces.");
if (!existsSync(join(root, "dist")) && run("npm", ["run", "-s", "build"]) !== 0) fail("The app could not be built.");

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-import-"));
const edge = await serve({ port: 0, stateFolder });
const executablePath = findBrowser();
const browser = await chromium.launch(executablePath ? { executablePath } : {});
const page = await browser.newPage();
await page.goto(`${edge.url}/lab`);
await page.getByText("20 clients have 800 examples").waitFor();
const before = peakMB();
const begun = performance.now();
await page.getByTestId("lab-files").setInputFiles(resolve(values.data));
const report = page.getByRole("status").filter({ hasText: "pictures were imported" });
await report.waitFor({ timeout: 600_000 });
const seconds = (performance.now() - begun) / 1000;
const text = (await report.innerText()).trim();
const peak = peakMB();
await browser.close();
await edge.stop();
rmSync(stateFolder, { recursive: true, force: true });
const { size } = statSync(values.data);
console.log(text);
console.log(
  JSON.stringify({
    ...{ bytes: size, seconds: Number(seconds.toFixed(2)), MBps: Number((size / 1e6 / seconds).toFixed(1)) },
    ...{ peakMB: peak, peakBeforeMB: before },
  }),
);
