import type { Page } from "@playwright/test";
import * as tf from "@tensorflow/tfjs";
import sharp from "sharp";
import type { History, Round, Task } from "../src/federation/protocol";
import { fit } from "../src/federation/tasks/network";
import { decodeCheckpoint, encodeCheckpoint } from "../src/model/checkpoint";
import { initializeWeights } from "../src/model/initialize";
import { summarize, type ModelSpec } from "../src/model/model";
import { violationsOf } from "./accessible";
import { expect, MOUTHS, storedFaces, test } from "./stage";
import { SCENES, scenePath } from "./webcam";
import { leaksOf } from "./wire";

/** How one may draw the shapes: strokes through points, in shares of the sheet. */
const STROKES: Record<string, [number, number][]> = {
  Kreis: Array.from({ length: 25 }, (_, i) => [
    0.5 + 0.35 * Math.cos((i / 12) * Math.PI),
    0.5 + 0.35 * Math.sin((i / 12) * Math.PI),
  ]),
  Quadrat: [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8], [0.2, 0.2]],
  triangle: [[0.5, 0.15], [0.85, 0.8], [0.15, 0.8], [0.5, 0.15]],
}; // prettier-ignore
const NAMES = ["Kreis", "Quadrat", "triangle"];

/** German words where there are some, English where there are none. */
const SHAPES = {
  title: { en: "Shapes", de: "Formen" },
  examples: "drawing",
  input: { height: 24, width: 24, channels: 1 },
  model: {
    name: "small",
    layers: [
      { kind: "conv2d", name: "conv", filters: 8, size: 5, padding: "same" },
      { kind: "maxPool", name: "pool", window: 2 },
      { kind: "flatten", name: "flatten" },
      { kind: "dense", name: "dense", units: 32, activation: "relu" },
      { kind: "dense", name: "shape", units: 3, activation: "softmax" },
    ],
  },
  labels: [
    { name: "circle", words: { en: "circle", de: "Kreis" } },
    { name: "square", words: { en: "square", de: "Quadrat" } },
    { name: "triangle", words: { en: "triangle" } },
  ],
  defaultRound: { batchNorm: "average", distill: 0, tolerance: null, epochs: 20, learningRate: 0.05 },
} as const;

async function draw(page: Page): Promise<string> {
  const name = await page.getByTestId("asked").innerText();
  const sheet = page.getByLabel("Zeichenfeld");
  await sheet.scrollIntoViewIfNeeded();
  const box = await sheet.boundingBox();
  const [first, ...others] = STROKES[name] ?? [];
  if (!box || !first) throw new Error(`There is no sheet, or no way to draw ${name}.`);
  const move = ([x, y]: [number, number]): Promise<void> =>
    page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps: 2 });
  await move(first);
  await page.mouse.down();
  for (const point of others) await move(point);
  await page.mouse.up();
  return name;
}

test("an administrator adds a task of drawings on the page, a player trains it, a round is published, and it is retired", async ({
  page,
  stage,
  browser,
}, info) => {
  const ask = async <T>(path: string): Promise<T> => (await (await fetch(`${stage.url}${path}`)).json()) as T;
  await page.goto(`${stage.url}/rounds?view=tasks`);
  await page.getByRole("textbox", { name: /^Name/ }).fill("Shapes!");
  const description = page.getByRole("textbox", { name: /^Description/ });
  const wrong = { ...SHAPES, input: { height: 24, width: 24, channels: 3 }, labels: SHAPES.labels.slice(0, 2) };
  await description.fill(JSON.stringify(wrong));
  await page.getByRole("button", { name: "Add or change" }).click();
  // Before anything is sent and before the token is asked for, field by field, and the keyboard is at the first.
  const mistakes = page.locator("#description-mistakes").getByRole("listitem");
  const name = page.getByRole("textbox", { name: "Name", exact: true });
  await expect(name).toHaveAccessibleDescription(/^A name has at most 40 small letters/);
  await expect(name).toBeFocused();
  await expect(page.getByLabel("Admin token")).toHaveAccessibleDescription(/^The server asks for/);
  await expect(description).toHaveAccessibleDescription(/channels 1/);
  await page.getByLabel("Admin token").fill(stage.adminToken);
  await expect(mistakes).toContainText([
    "input: drawings are taken in grey, channels 1",
    "model: Its last layer has 3 units",
  ]);
  await description.fill(JSON.stringify({ ...wrong, input: SHAPES.input }));
  await page.getByRole("textbox", { name: /^Name/ }).fill("shapes");
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(mistakes).toHaveText(["model: Its last layer has 3 units, and there are 2 labels."]);
  expect((await ask<{ tasks: unknown[] }>("/api/tasks")).tasks).toHaveLength(3);

  await description.fill(JSON.stringify(SHAPES));
  const network = fit({ model: { ...SHAPES.model, inputShape: [24, 24, 1] }, input: SHAPES.input, labels: NAMES });
  const weights = initializeWeights(network, 5);
  const file = { name: "shapes.safetensors", mimeType: "application/octet-stream" };
  // What is no checkpoint of it is told before anything is sent.
  await page.getByLabel("First checkpoint").setInputFiles({ ...file, buffer: Buffer.from("no safetensors at all") });
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(page.getByRole("alert")).toContainText("The header says");
  await expect(page.getByRole("row", { name: "shapes" })).toHaveCount(0);
  // Nobody plays with what has not come.
  await page.route("**/first-checkpoint", (route) => route.abort(), { times: 1 });
  const buffer = Buffer.from(encodeCheckpoint(summarize(network), weights, {}, "float32"));
  await page.getByLabel("First checkpoint").setInputFiles({ ...file, buffer });
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(page.getByRole("row", { name: "shapes" })).toContainText("retired");
  await expect(page.getByRole("alert")).toBeVisible();
  const isHalf = page.getByText("shapes is there, but its first checkpoint is not");
  await expect(isHalf).toBeVisible();
  // Also after a reload, where opening it as it is asks first.
  await page.reload();
  await name.fill("shapes");
  await expect(isHalf).toBeVisible();
  await page.getByRole("button", { name: "Open again: shapes" }).click();
  const opening = page.getByRole("dialog", { name: "Open shapes again?" });
  await expect(opening).toContainText("it begins with random weights");
  await opening.getByRole("button", { name: "Cancel" }).click();
  await description.fill(JSON.stringify(SHAPES));
  await page.getByLabel("First checkpoint").setInputFiles({ ...file, buffer });
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(page.getByText("shapes is there.")).toBeVisible();
  await expect(isHalf).toBeHidden();
  await expect(page.getByRole("row", { name: "shapes" })).toContainText("open");
  expect(await ask<Task>("/api/tasks/shapes")).toMatchObject({ trained: true, model: "small", state: "open" });
  expect(await violationsOf(page)).toEqual([]);
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  await info.attach("tasks-390", { body: await page.screenshot({ fullPage: true }), contentType: "image/png" });
  await page.setViewportSize({ width: 1280, height: 900 });
  await info.attach("tasks-1280", { body: await page.screenshot({ fullPage: true }), contentType: "image/png" });

  // A player whose browser has never heard of it comes by a link, and reads German where there is some.
  const context = await browser.newContext({ locale: "de-DE" });
  const player = await context.newPage();
  await player.goto(`${stage.url}/play?task=shapes`);
  const drawn: string[] = [];
  for (let i = 0; i < 5; i++) {
    await expect(player.getByText(`Zeichnung ${i + 1} von 5`)).toBeVisible();
    drawn.push(await draw(player));
    await player.getByRole("button", { name: "Fertig" }).click();
    if (i === 0) await player.getByRole("button", { name: "Zeichnungen auf diesem Gerät behalten" }).click();
    await expect(player.getByText(/^(Auf diesem Gerät aufbewahrt|Ist es trotzdem)/)).toBeVisible();
    const yes = player.getByRole("region", { name: "Zeichne:" }).getByRole("button", { name: "Ja, das ist" });
    if (await yes.isVisible()) await yes.click();
    await expect(player.getByText(/Auf diesem Gerät aufbewahrt/)).toBeVisible();
    if (i < 4) await player.getByRole("button", { name: "Nächste Zeichnung" }).click();
  }
  await info.attach("draw", { body: await player.screenshot({ fullPage: true }), contentType: "image/png" });
  const kept = await storedFaces(player, "drawings");
  expect(kept.map(({ label }) => NAMES[label])).toEqual(drawn);
  expect(kept.map(({ labelName }) => labelName)).toEqual(kept.map(({ label }) => SHAPES.labels[label]?.name));
  expect(kept.map(({ pixels }) => pixels.length)).toEqual(drawn.map(() => 576));
  expect(await violationsOf(player)).toEqual([]);

  await page.getByRole("link", { name: "Shapes" }).click();
  // What is not said is the task's.
  const started = await fetch(`${stage.url}/api/tasks/shapes/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${stage.adminToken}` },
    body: JSON.stringify({ goalCount: 1, selectionSeconds: 0 }),
  });
  expect(started.status).toBe(201);
  await player.getByRole("link", { name: "Training", exact: true }).click();
  await expect(player.getByLabel("Modell", { exact: true }).locator("option:checked")).toContainText("Formen");
  await player.getByRole("button", { name: "An Runden teilnehmen" }).click();
  const state = async (): Promise<string | undefined> =>
    (await ask<History>("/api/tasks/shapes/rounds")).rounds[0]?.state;
  await expect.poll(state, { timeout: 120_000 }).toBe("published");
  expect(leaksOf(stage.requests, kept)).toEqual([]);
  await expect(player.getByText("In Runde 1 hat das Modell 4 Zeichnungen")).toBeVisible();

  // Digits have drawings of their own, and each its own model.
  await player.goto(`${stage.url}/draw?task=digits`);
  await expect(player.getByText("Ziffer 1 von 5")).toBeVisible();
  await expect(player.getByText("Hier liegen keine.")).toBeVisible();
  await player.getByLabel("Was gezeichnet wird").selectOption("Formen");
  await expect(player.getByText("5 Zeichnungen liegen hier").first()).toBeVisible();
  // What is still being read when another task is chosen, which the page does not let one do, is no drawing of that.
  await player.evaluate(() => {
    const read = createImageBitmap;
    const released = new Promise((resolve) => addEventListener("released", resolve));
    window.createImageBitmap = (...of: unknown[]) =>
      released.then(() => (read as (...of: unknown[]) => Promise<ImageBitmap>)(...of));
  });
  const choice = player.getByLabel("Was gezeichnet wird");
  const square = await sharp(
    Buffer.from('<svg width="99" height="99"><rect x="30" y="30" width="40" height="40"/></svg>'),
  )
    .flatten({ background: "white" })
    .png()
    .toBuffer();
  await player
    .locator("input[accept='image/*']")
    .setInputFiles({ name: "square.png", mimeType: "image/png", buffer: square });
  await expect(choice).toBeDisabled();
  await choice.evaluate((select: HTMLSelectElement) => {
    select.value = "digits";
    select.dispatchEvent(new Event("change", { bubbles: true }));
    dispatchEvent(new Event("released"));
  });
  await expect(choice).toBeEnabled();
  await expect(player.getByText("Ziffer 1 von 5")).toBeVisible();
  await expect(player.getByRole("button", { name: "Nächste Ziffer" })).toBeHidden();
  expect(await storedFaces(player, "drawings")).toHaveLength(kept.length);
  await choice.selectOption("Formen");
  await draw(player);
  await player.getByRole("button", { name: "Fertig" }).click();
  await expect(player.getByText("Version 1", { exact: true })).toBeVisible();

  await page.getByRole("link", { name: "Tasks" }).click();
  await page.getByRole("button", { name: "Retire: shapes" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retire", exact: true }).click();
  await expect(page.getByText("shapes is retired.")).toBeVisible();
  await expect(page.getByRole("row", { name: "shapes" })).toContainText("retired");
  expect((await ask<History>("/api/tasks/shapes/rounds")).rounds[0]?.state).toBe("published");
  // Who comes next is offered what is open; what was kept is still there.
  await player.goto(`${stage.url}/draw?task=digits`);
  await expect(player.getByText("Dieses Gerät spielt und trainiert jetzt Ziffern.")).toBeVisible();
  await expect(player.getByLabel("Was gezeichnet wird")).toBeHidden();
  expect(await storedFaces(player, "drawings")).toHaveLength(kept.length + 1);
  const others = player.getByRole("region", { name: "Zeichnungen zu anderen Aufgaben" });
  await expect(others.getByRole("listitem")).toContainText("6 Zeichnungen liegen hier");
  expect(await violationsOf(player)).toEqual([]);
  const download = player.waitForEvent("download");
  await others.getByRole("button", { name: "Exportieren… Formen" }).click();
  expect((await download).suggestedFilename()).toBe("best-actor-shapes.json");
  await others.getByRole("button", { name: "Alle Zeichnungen löschen: Formen" }).press("Enter");
  await player.getByRole("dialog", { name: "Formen" }).getByRole("button").first().press("Enter");
  await expect(player.getByText("Gelöscht: Formen.")).toBeFocused();
  await expect(others).toBeHidden();
  expect(await storedFaces(player, "drawings")).toEqual([]);
  await page.getByRole("button", { name: "Open again: shapes" }).click();
  await expect(page.getByText("shapes is open.")).toBeVisible();
  await context.close();
});

/** What is shown to the camera, told apart in colour by a network that nobody has trained. */
const THINGS = {
  title: { en: "Things" },
  examples: "picture",
  input: { height: 32, width: 32, channels: 3 },
  model: { name: "tiny", layers: SHAPES.model.layers.toSpliced(3, 1) },
  ask: { en: "Hold up the {label}, please" },
  labels: [{ name: "cup", words: { en: "cup" }, how: { en: "By its handle." } }, { name: "key" }, { name: "pen" }],
  // So small steps that no picture is told otherwise after them: a training that makes the one test picture worse would not be sent.
  defaultRound: { batchNorm: "average", distill: 0, tolerance: null, learningRate: 1e-6, epochs: 1 },
} as const;

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean distance of a picture's levels from another's, but for brightness and contrast: Chromium's fake camera takes white for brighter. */
function apart(one: number[], other: ArrayLike<number>): number {
  const [middle, theirs] = [mean(one), mean(Array.from(other))];
  const [mine, apart] = [one.map((level) => level - middle), Array.from(other, (level) => level - theirs)];
  const gain = mean(mine.map((level, i) => level * (apart[i] ?? NaN))) / mean(apart.map((level) => level ** 2));
  return mean(mine.map((level, i) => Math.abs(level - gain * (apart[i] ?? NaN))));
}

/** The webcam's scenes as sharp cuts and shrinks them: red, green and blue of 32 x 32 pixels. */
const scenesInColour = (): Promise<Buffer[]> =>
  Promise.all(
    SCENES.map((_, i) =>
      sharp(scenePath(i))
        .extract({ left: 80, top: 0, width: 480, height: 480 })
        .resize(32, 32, { kernel: "linear" })
        .raw()
        .toBuffer(),
    ),
  );

test("an administrator adds a task of pictures in colour, a player teaches it before the camera, and a round is published", async ({
  page,
  stage,
}) => {
  const admin = stage.admin.bind(null, "things");
  expect((await admin("PUT", "", THINGS)).status).toBe(201);
  // As invitations have it: the task says which page that is.
  await page.goto(`${stage.url}/play?task=things`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  const take = page.getByRole("button", { name: "Take the picture" });
  await expect(take).toBeEnabled();
  await expect(take).toBeFocused();
  await expect(page.getByText("Teach it.")).toBeVisible();
  const shown: string[] = [];
  for (let i = 0; i < 5; i++) {
    await expect(page.getByText(`Picture ${i + 1} of 5`)).toBeVisible();
    const asked = page.getByTestId("asked");
    if (i === 0) {
      const first = await asked.innerText();
      await page.getByRole("button", { name: "Something else" }).click();
      await expect(asked).not.toHaveText(first);
      await take.focus();
    }
    shown.push(await asked.innerText());
    await expect(page.getByRole("heading", { name: `Hold up the ${shown[i] ?? ""}, please` })).toBeVisible();
    expect(await page.getByText("By its handle.").isVisible()).toBe(shown[i] === "cup");
    await page.keyboard.press("Space");
    await expect(page.getByText(`It counts as “${shown[i] ?? ""}”.`)).toBeVisible();
    if (i === 0) await page.getByRole("button", { name: "Keep my pictures on this device" }).click();
    await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
    if (i === 4) break;
    await page.getByRole("button", { name: "Next picture" }).press("Enter");
  }
  const kept = (await storedFaces(page, "pictures")) as (Awaited<ReturnType<typeof storedFaces>>[number] & {
    shape: object;
    task: string;
  })[];
  const { labels } = THINGS;
  expect(kept.map(({ label, task }) => [labels[label]?.name, task])).toEqual(shown.map((name) => [name, "things"]));
  expect(kept.map(({ split, score }) => [split, score])).toEqual(
    ["train", "train", "train", "train", "held-out"].map((split) => [split, null]),
  );
  const scenes = await scenesInColour();
  for (const { pixels, shape } of kept) {
    expect(shape).toEqual(THINGS.input);
    const distances = scenes.map((scene) => apart(pixels, scene));
    const nearest = Math.min(...distances);
    expect(nearest).toBeLessThan(8);
    // In its own colours, and not in a mirror.
    const scene = scenes[distances.indexOf(nearest)] ?? [];
    const swapped = pixels.map((_, i) => pixels[i - (i % 3) + 2 - (i % 3)] ?? NaN);
    const mirrored = pixels.map((_, i) => {
      const [pixel, colour] = [Math.floor(i / 3), i % 3];
      return pixels[3 * (pixel - (pixel % 32) + 31 - (pixel % 32)) + colour] ?? NaN;
    });
    expect(apart(swapped, scene)).toBeGreaterThan(nearest + 4);
    expect(apart(mirrored, scene)).toBeGreaterThan(nearest + 4);
  }
  expect(await violationsOf(page)).toEqual([]);

  expect((await admin("POST", "/rounds", { goalCount: 1, selectionSeconds: 0 })).status).toBe(201);
  await page.getByRole("link", { name: "Train", exact: true }).click();
  await expect(page.getByText("Pictures to train with: 4.")).toBeVisible();
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("You taught the model 4 pictures in round 1.")).toBeVisible();
  const round = async (): Promise<Round> =>
    (await (await fetch(`${stage.url}/api/tasks/things/rounds/1`)).json()) as Round;
  await expect.poll(async () => (await round()).state).toBe("published");
  expect((await round()).tally).toMatchObject({ counted: 1 });
  expect(leaksOf(stage.requests, kept)).toEqual([]);

  // Who has a trained model before the camera sees what it says, picture by picture, and gets a score.
  await page.getByRole("link", { name: "Play", exact: true }).click();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("button", { name: "Open the camera" }).click();
  await expect(page.getByRole("list", { name: "What the model sees" })).toContainText("%");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("score")).toContainText("%");
  await expect(page.getByText("version 1", { exact: true })).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  // What is kept is listed, moves in a file, and goes when the player wants.
  const mine = page.getByRole("region", { name: "Your pictures" });
  await expect(mine.getByRole("listitem")).toHaveCount(6);
  const download = page.waitForEvent("download");
  await mine.getByRole("button", { name: "Export…" }).click();
  const file = await (await download).path();
  await mine.getByRole("button", { name: "Delete all pictures" }).click();
  await page.getByRole("button", { name: "Delete them all" }).click();
  await expect(mine.getByRole("listitem")).toHaveCount(0);
  await mine.locator("input[type=file]").setInputFiles(file);
  await expect(mine.getByText("Imported: 6.")).toBeVisible();
  const again = await storedFaces(page, "pictures");
  expect(again.slice(0, 5).map(({ pixels }) => pixels)).toEqual(kept.map(({ pixels }) => pixels));
});

/** By a network that gets levels from -1 to 1. */
const NORMALIZED_MOUTHS = {
  ...MOUTHS,
  input: { ...MOUTHS.input, normalization: { mean: [0.5], std: [0.5] } },
  model: {
    name: "tiny",
    layers: [...SHAPES.model.layers.slice(0, 3), { kind: "dense", name: "mouth", units: 2, activation: "softmax" }],
  },
  defaultRound: { batchNorm: "average", distill: 0, tolerance: null, learningRate: 1e-6, epochs: 1 },
} as const;

test("a task of faces with labels of its own is played, trained and deleted, and the expressions' faces are no part of it", async ({
  page,
  stage,
}) => {
  const admin = stage.admin.bind(null, "mouths");
  expect((await admin("PUT", "", NORMALIZED_MOUTHS)).status).toBe(201);
  expect((await admin("POST", "/rounds", { goalCount: 1, selectionSeconds: 0 })).status).toBe(201);
  await page.goto(`${stage.url}/play?task=mouths`);
  const asked = page.getByTestId("asked");
  const shown: string[] = [];
  for (let i = 0; i < 5; i++) {
    await expect(page.getByText(`Face ${i + 1} of 5`)).toBeVisible();
    const name = await asked.innerText();
    shown.push(name);
    await expect(page.getByRole("heading", { name: `Make a ${name} mouth` })).toBeVisible();
    await expect(page.getByText(name === "open" ? "As if you said ah." : "Lips together.")).toBeVisible();
    // One of them through the camera.
    if (i === 0) {
      await page.getByRole("button", { name: "Open the camera" }).click();
      await page.getByRole("checkbox", { name: "Count to three first" }).uncheck();
      const counted = page.getByText(`It counts as “${name}”.`);
      const none = page.getByText("No face was in view, so");
      do {
        await page.getByRole("button", { name: "Take the picture" }).click();
        await expect(counted.or(none)).toBeVisible();
      } while (!(await counted.isVisible()));
      await page.getByRole("button", { name: "Keep my faces on this device" }).click();
    } else await page.getByLabel("No camera? Use a photo of a face").setInputFiles(scenePath(i));
    await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
    if (i < 4) await page.getByRole("button", { name: "Next face" }).click();
  }
  const kept = (await storedFaces(page)) as (Awaited<ReturnType<typeof storedFaces>>[number] & { task?: string })[];
  expect(kept.map(({ label, task }) => [MOUTHS.labels[label]?.name, task])).toEqual(
    shown.map((name) => [name, "mouths"]),
  );
  expect(kept.map(({ pixels }) => pixels.length)).toEqual(Array(5).fill(48 * 48));
  expect(await violationsOf(page)).toEqual([]);

  await page.getByRole("link", { name: "Train", exact: true }).click();
  await expect(page.getByText("Faces to train with: 4. To test the model with: 1.")).toBeVisible();
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("You taught the model 4 faces in round 1.")).toBeVisible();
  const round = async (): Promise<Round> =>
    (await (await fetch(`${stage.url}/api/tasks/mouths/rounds/1`)).json()) as Round;
  await expect.poll(async () => (await round()).state).toBe("published");
  expect(leaksOf(stage.requests, kept)).toEqual([]);

  // The expressions have none of them, and their page has them by task.
  await page.getByRole("link", { name: "My faces" }).click();
  await expect(page.getByRole("heading", { name: "No faces yet" })).toBeVisible();
  const others = page.getByRole("region", { name: "Faces of other tasks" });
  await expect(others.getByRole("listitem")).toContainText("5 faces are kept here");
  await others.getByRole("button", { name: "Delete all faces: Mouths" }).click();
  await page.getByRole("dialog", { name: "Mouths" }).getByRole("button", { name: "Delete them all" }).click();
  await expect(page.getByText("Deleted: Mouths.")).toBeVisible();
  expect(await storedFaces(page)).toEqual([]);
});

/** What tfjs saves of a model, its weights in two files. */
async function savedByTfjs(
  layers: tf.layers.Layer[],
): Promise<{ files: { name: string; buffer: Buffer }[]; weights: number[] }> {
  await tf.setBackend("cpu");
  const model = tf.sequential({ name: "from-tfjs", layers });
  const weights = model.getWeights().flatMap((tensor) => [...tensor.dataSync()]);
  const files: { name: string; buffer: Buffer }[] = [];
  await model.save(
    tf.io.withSaveHandler(({ modelTopology, weightSpecs, weightData }) => {
      // In an order that is not that of the names.
      const paths = ["./part_b.bin", "./part_a.bin"];
      const json = { format: "layers-model", modelTopology, weightsManifest: [{ paths, weights: weightSpecs }] };
      const bytes = Buffer.from(weightData as ArrayBuffer);
      files.push({ name: "part_a.bin", buffer: bytes.subarray(4096) });
      files.push({ name: "model.json", buffer: Buffer.from(JSON.stringify(json)) });
      files.push({ name: "part_b.bin", buffer: bytes.subarray(0, 4096) });
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } });
    }),
  );
  model.dispose();
  return { files, weights };
}

test("a model that tfjs has saved becomes a task's network and its first checkpoint", async ({ page, stage }) => {
  const choose = (files: { name: string; buffer: Buffer }[]): Promise<void> =>
    page
      .getByLabel("Take network and weights from a tfjs or Keras Layers model")
      .setInputFiles(files.map((file) => ({ ...file, mimeType: "application/octet-stream" })));
  await page.goto(`${stage.url}/rounds?view=tasks`);
  await page.getByRole("textbox", { name: /^Name/ }).fill("brought");
  const { model: _, input: __, ...others } = SHAPES;
  const normalization = { mean: [0.5], std: [0.25] };
  const described = { ...others, input: { normalization } };
  const description = page.getByRole("textbox", { name: /^Description/ });
  await description.fill(JSON.stringify(described));
  // What cannot be read is named, and what stands in the form stays.
  const last = (): tf.layers.Layer => tf.layers.dense({ units: 3, activation: "softmax" });
  const strange = await savedByTfjs([
    tf.layers.conv2d({ inputShape: [20, 20, 1], filters: 8, kernelSize: 3, strides: 2, activation: "relu" }),
    tf.layers.flatten(),
    last(),
  ]);
  await choose(strange.files);
  await expect(page.getByRole("alert")).toContainText("strides");
  await expect(description).toHaveValue(JSON.stringify(described));
  await choose(strange.files.filter(({ name }) => name !== "model.json"));
  await expect(page.getByRole("alert")).toContainText("There is no model.json among the files.");

  const { files, weights } = await savedByTfjs([
    tf.layers.conv2d({ inputShape: [20, 20, 1], filters: 8, kernelSize: 5, activation: "relu", padding: "same" }),
    tf.layers.maxPooling2d({ poolSize: 2 }),
    tf.layers.flatten(),
    last(),
  ]);
  // What is written by hand and not finished is not written over.
  await description.fill('{ "title": ');
  await choose(files);
  await expect(page.getByRole("alert")).toContainText("no JSON of a task");
  await expect(description).toHaveValue('{ "title": ');
  await description.fill(JSON.stringify(described));
  await choose(files);
  await expect(page.getByText(`Read: 4 layers, ${weights.length} weights.`)).toBeVisible();
  const theirs = page.getByRole("status").filter({ hasText: "from-tfjs" });
  await expect(theirs).toContainText("are the first checkpoint");
  await page.getByLabel("Admin token").fill(stage.adminToken);
  const add = page.getByRole("button", { name: "Add or change" });
  // Another description that is chosen then has other weights.
  const named = page.getByRole("textbox", { name: /^Name/ });
  await named.fill("another");
  await page.getByRole("button", { name: "Begin with drawings" }).click();
  await expect(theirs).toContainText("its weights are not sent");
  await add.click();
  await expect(page.getByText("another is there.")).toBeVisible();
  await expect(theirs).toBeHidden();
  const another = (await (await fetch(`${stage.url}/api/tasks/another`)).json()) as Task;
  expect(another).toMatchObject({ trained: false, model: "mnist-cnn", state: "open" });

  await named.fill("brought");
  await description.fill(JSON.stringify(described));
  await choose(files);
  await add.click();
  await expect(page.getByText("brought is there.")).toBeVisible();
  const task = (await (await fetch(`${stage.url}/api/tasks/brought`)).json()) as Task;
  expect(task).toMatchObject({ trained: true, model: "from-tfjs", state: "open" });
  const file = await (await fetch(`${stage.url}/api/checkpoints/${task.checkpoint.sha256}`)).arrayBuffer();
  const { tasks } = (await (await fetch(`${stage.url}/api/tasks`)).json()) as {
    tasks: { added: { input: { height: number; width: number; channels: number }; model: ModelSpec } | null }[];
  };
  const { input, model } = tasks.at(-1)?.added ?? {};
  expect(input).toEqual({ height: 20, width: 20, channels: 1, normalization });
  const network = { ...(model as ModelSpec), inputShape: [20, 20, 1] as const };
  expect([...decodeCheckpoint(new Uint8Array(file), summarize(network))]).toEqual(weights);
  // A checkpoint for a task that is retired does not open it.
  await page.getByRole("button", { name: "Retire: brought" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Retire", exact: true }).click();
  await expect(page.getByText("brought is retired.")).toBeVisible();
  await choose(files);
  await add.click();
  const replacing = page.getByRole("dialog", { name: "Change brought?" });
  await expect(replacing.getByRole("row", { name: "First checkpoint" })).toContainText("from-tfjs");
  await replacing.getByRole("button", { name: "Change", exact: true }).click();
  await expect(page.getByText("brought is there.")).toBeVisible();
  await expect(page.getByRole("row", { name: "brought" })).toContainText("retired");
});

test("what is added goes over no task unasked, and its row puts a task's own description into the form", async ({
  page,
  stage,
}) => {
  const admin = stage.admin.bind(null, "mine");
  const kept = async (): Promise<unknown[]> => {
    const { checkpoint } = (await (await fetch(`${stage.url}/api/tasks/mine`)).json()) as Task;
    const { tasks } = (await (await fetch(`${stage.url}/api/tasks`)).json()) as { tasks: { added: unknown }[] };
    return [checkpoint.sha256, tasks.at(-1)?.added];
  };
  expect((await admin("PUT", "", SHAPES)).status).toBe(201);
  const network = fit({ model: { ...SHAPES.model, inputShape: [24, 24, 1] }, input: SHAPES.input, labels: NAMES });
  const file = encodeCheckpoint(summarize(network), initializeWeights(network, 5), {}, "float32");
  expect((await admin("PUT", "/first-checkpoint", file)).status).toBe(200);
  const [sha256, added] = await kept();

  // The name alone, with the example that the form begins with.
  await page.goto(`${stage.url}/rounds?view=tasks`);
  const name = page.getByRole("textbox", { name: "Name", exact: true });
  const description = page.getByRole("textbox", { name: "Description", exact: true });
  const known = page.getByRole("status").filter({ hasText: "There is a task mine" });
  await expect(page.getByRole("row", { name: "mine" })).toBeVisible();
  await name.fill("mine");
  await expect(known).toContainText("drawings, labels circle, square, triangle, network small");
  await expect(known).toContainText("somebody has given it a first checkpoint");
  // Who looks at the rounds meanwhile finds what was typed.
  await page.getByRole("link", { name: "Overview", exact: true }).click();
  await expect(name).toBeHidden();
  await page.getByRole("link", { name: "Tasks", exact: true }).click();
  await expect(name).toHaveValue("mine");
  await page.getByLabel("Admin token").fill(stage.adminToken);
  await page.getByLabel("Admin token").press("Enter");
  const asked = page.getByRole("dialog", { name: "Change mine?" });
  await expect(asked.getByRole("row", { name: "Network" })).toContainText("mnist-cnn");
  await expect(asked.getByRole("row", { name: "First checkpoint" })).toContainText("new random weights");
  expect(await violationsOf(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(asked).toBeHidden();
  await expect(page.getByRole("button", { name: "Add or change" })).toBeFocused();
  expect(await kept()).toEqual([sha256, added]);

  // What somebody else changes while the question stands is not gone over either.
  await page.getByLabel("Admin token").press("Enter");
  await expect(asked).toBeVisible();
  expect((await admin("PUT", "", { ...SHAPES, title: { en: "Theirs" } })).status).toBe(200);
  await asked.getByRole("button", { name: "Change", exact: true }).click();
  await expect(page.getByRole("alert").filter({ hasText: "Somebody else has changed mine" })).toBeVisible();
  expect(await kept()).toEqual([sha256, { ...(added as object), title: { en: "Theirs" } }]);
  expect((await admin("PUT", "", SHAPES)).status).toBe(200);

  // Words of its own description change without a question, and nothing else with them; what was written can be had back.
  await description.fill("my own words");
  await page.getByRole("button", { name: "Change: mine" }).press("Enter");
  await expect(description).toBeFocused();
  await page.getByRole("button", { name: "Put back what I had written" }).click();
  await expect(description).toHaveValue("my own words");
  await page.getByRole("button", { name: "Change: mine" }).click();
  await expect(description).not.toHaveValue("my own words");
  expect(JSON.parse(await description.inputValue())).toEqual(added);
  await description.fill((await description.inputValue()).replace('"Formen"', '"Figuren"'));
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(page.getByText("mine is there.")).toBeVisible();
  expect(await kept()).toEqual([sha256, { ...(added as object), title: { en: "Shapes", de: "Figuren" } }]);

  // Once it has had rounds, its labels stay; a token that the edge refuses is forgotten.
  expect((await admin("POST", "/rounds", { goalCount: 1 })).status).toBe(201);
  await description.fill((await description.inputValue()).replace('"name": "circle"', '"name": "ring"'));
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(description).toHaveAccessibleDescription(/mine has had rounds/);
  await expect(description).toBeFocused();
  await description.fill(JSON.stringify(added));
  await page.getByLabel("Admin token").fill("a guess");
  await page.getByRole("button", { name: "Add or change" }).click();
  await expect(page.getByRole("alert").filter({ hasText: "It was forgotten here" })).toBeVisible();
  await expect(page.getByLabel("Admin token")).toHaveValue("");
  await expect(page.getByLabel("Admin token")).toBeFocused();
  await expect(page.getByText("Nothing was sent")).toBeHidden();

  // Words without a space, as long as they may be, make no page wider than a phone.
  const long = { title: { en: "W".repeat(60) }, ask: { en: `{label}${"M".repeat(150)}` } };
  expect((await admin("PUT", "", { ...(added as object), ...long })).status).toBe(200);
  await page.setViewportSize({ width: 390, height: 800 });
  for (const path of ["/play?task=mine", "/draw"]) {
    // A page begins with the words that it has known, and finds the new ones beside it.
    await expect(async () => {
      await page.goto(`${stage.url}${path}`);
      await expect(page.getByText("W".repeat(60)).first()).toBeAttached({ timeout: 2000 });
    }).toPass();
    expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBeLessThanOrEqual(390);
  }
});
