import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { root } from "../tools/setup.mjs";
import { expect, test } from "./stage";
import { scenePath } from "./webcam";

/** What goes wrong in workers: an error of the machinery, as tfjs throws them, and silence. Each ends in words, and nothing is lost. */

/** What tfjs says of a mistake; it throws nothing but plain errors. */
const SAID = "Argument 'x' passed to 'conv2d' must be a Tensor or TensorLike, but got 'undefined'";
const WORDS = "Something in this browser did not work as it should. Reload the page";

/** The path of a worker's built script, by a text that only this one holds. */
function scriptWith(text: string): string {
  const assets = join(root, "dist/client/assets");
  const found = readdirSync(assets).filter(
    (name) => name.endsWith(".js") && readFileSync(join(assets, name), "utf8").includes(text),
  );
  expect(found, text).toHaveLength(1);
  return `/assets/${found[0] ?? ""}`;
}

/** A script's end that makes a function of the platform throw what tfjs would. */
const fault = (of: string): string => `\n${of} = () => { throw new Error(${JSON.stringify(SAID)}); };`;

const CONFIG = {
  name: "Small",
  dataset: "drawn",
  model: "compact",
  start: "shipped",
  clients: 6,
  fraction: 0.5,
  examplesPerClient: 12,
  rounds: 8,
  epochs: 1,
  batchSize: 6,
  learningRate: 0.01,
  testExamples: 40,
};

async function startRun(page: Page): Promise<void> {
  const buffer = Buffer.from(JSON.stringify(CONFIG));
  const file = { name: "config.json", mimeType: "application/json", buffer };
  await page.locator('input[accept*="json"]').setInputFiles(file);
  await expect(page.getByRole("img", { name: /6 clients have 72 examples/ })).toBeVisible();
  await page.getByRole("button", { name: "Start" }).click();
}

const PLACES = {
  vision: {
    path: "/play?task=expressions-compact",
    script: "models/blazeface/blazeface-front",
    breaks: "OffscreenCanvas.prototype.getContext",
    use: (page) => page.getByLabel("No camera? Act in a photo").setInputFiles(scenePath(0)),
  },
  trainer: {
    path: "/train?task=expressions-compact",
    script: "The training was paused",
    breaks: "Uint8Array.prototype.slice",
    use: (page) => page.getByRole("button", { name: "Test this device" }).click(),
  },
  lab: {
    path: "/lab",
    script: "worker has not been started with a model and data",
    breaks: "performance.now",
    use: startRun,
  },
  import: {
    path: "/lab",
    script: "is no zip file that can be read",
    breaks: "Blob.prototype.stream",
    use: (page) =>
      page
        .getByTestId("lab-files")
        .setInputFiles({ name: "faces.csv", mimeType: "text/csv", buffer: Buffer.from("emotion,pixels\n") }),
  },
} satisfies Record<string, { path: string; script: string; breaks: string; use: (page: Page) => Promise<void> }>;

for (const [name, { path, script, breaks, use }] of Object.entries(PLACES)) {
  test(`${name}: what the machinery says goes into the report, and the page says what can be done`, async ({
    page,
    stage,
    context,
  }) => {
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const logged: string[] = [];
    page.on("console", (message) => logged.push(message.text()));
    stage.added.push({ path: scriptWith(script), text: fault(breaks) });
    await page.goto(stage.url + path);
    await use(page);
    await expect(page.getByText(WORDS).first()).toBeVisible();
    await expect(page.getByText(SAID)).toHaveCount(0);
    expect(logged.join("\n")).toContain(SAID);
    await page.getByRole("link", { name: "Train", exact: true }).click();
    await page.getByText("What this browser has").click();
    await page.getByRole("button", { name: "Copy the report" }).click();
    await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(SAID);
  });
}

test("a client of the lab that never answers ends its run in words, which then goes on from its last round", async ({
  page,
  stage,
}) => {
  const client = scriptWith("worker has not been started with a model and data");
  stage.added.push({ path: client, text: '\nnew BroadcastChannel("hang").onmessage = () => { for (;;); };' });
  // Its watch counts seconds of this kind, two minutes of them.
  const quick = "\nconst wait = setInterval; self.setInterval = (work, ms) => wait(work, ms / 60);";
  stage.added.push({ path: scriptWith("has not been imported here"), text: quick });
  await page.goto(`${stage.url}/lab`);
  await startRun(page);
  const row = page.getByRole("row", { name: /Small, seed 1/ });
  await expect(row).toContainText(/[1-7] \/ 8/);
  await page.evaluate(() => new BroadcastChannel("hang").postMessage(null));
  await expect(page.getByText("A part of the app gave no answer and was ended")).toBeVisible();
  await expect(row).toContainText(/[1-7] \/ 8/);
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(row).toContainText("done");
  await expect(page.getByText("A part of the app gave no answer")).toBeHidden();
});

for (const part of ["tfjs-backend-wasm-threaded-simd", "kernels-relaxed"]) {
  test(`${part} that stalls ends in words, and is there when it is asked for again`, async ({ page, stage }) => {
    // A minute's patience in a second.
    const quick = "\nconst wait = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = (ms) => wait(ms / 60);";
    stage.added.push({ path: scriptWith(PLACES.vision.script), text: quick });
    const files = new RegExp(`/assets/${part}-[\\w-]+\\.wasm$`);
    await page.route(files, () => undefined);
    await page.goto(stage.url + PLACES.vision.path);
    await PLACES.vision.use(page);
    await expect(page.getByText("The server cannot be reached, and this device has no model yet")).toBeVisible();
    await page.unroute(files);
    // A second may be too short once more, beside other tests.
    await expect(async () => {
      await PLACES.vision.use(page);
      await expect(page.getByTestId("score")).toBeVisible({ timeout: 15_000 });
    }).toPass();
  });
}
