import type { Page } from "@playwright/test";
import sharp from "sharp";
import { MODELS, summarize } from "../src/model/model";
import { decodeSafetensors } from "../src/model/safetensors";
import { readUpdateMetadata } from "../src/federation/update";
import type { History } from "../src/federation/protocol";
import { expect, storedFaces, test } from "./stage";
import { leaksOf } from "./wire";

/** Points of an arc around a centre, in degrees from the right, clockwise. */
const arc = (x: number, y: number, wide: number, tall: number, from: number, to: number): [number, number][] =>
  Array.from({ length: 13 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / 12) * Math.PI) / 180;
    return [x + wide * Math.cos(angle), y + tall * Math.sin(angle)];
  });

/** How one may write the digits: strokes through points, in shares of the sheet. */
const STROKES: [number, number][][][] = [
  [arc(0.5, 0.5, 0.2, 0.35, -90, 270)],
  [[[0.5, 0.15], [0.5, 0.85]]],
  [[...arc(0.5, 0.33, 0.2, 0.18, -180, 45), [0.3, 0.85], [0.72, 0.85]]],
  [[...arc(0.47, 0.32, 0.2, 0.17, -150, 90), ...arc(0.47, 0.67, 0.22, 0.18, -90, 150)]],
  [[[0.35, 0.15], [0.3, 0.55], [0.72, 0.55]], [[0.65, 0.2], [0.65, 0.88]]],
  [[[0.68, 0.15], [0.36, 0.15], [0.34, 0.45], ...arc(0.48, 0.64, 0.22, 0.21, -110, 150)]],
  [[[0.6, 0.12], [0.38, 0.45], ...arc(0.5, 0.66, 0.19, 0.2, -180, 180)]],
  [[[0.28, 0.17], [0.72, 0.17], [0.45, 0.87]]],
  [[...arc(0.5, 0.32, 0.16, 0.17, 90, 450), ...arc(0.5, 0.68, 0.19, 0.19, -90, 270)]],
  [[...arc(0.48, 0.33, 0.17, 0.18, 0, 360), [0.65, 0.33], [0.6, 0.87]]],
]; // prettier-ignore

/** Draws the digit that the page asks for, or one that lies so many behind it, with the mouse. */
async function draw(page: Page, behind = 0): Promise<number> {
  const digit = (Number(await page.getByTestId("asked").innerText()) + behind) % 10;
  const sheet = page.getByLabel("Drawing field");
  // A mouse draws where it is seen.
  await sheet.scrollIntoViewIfNeeded();
  const box = await sheet.boundingBox();
  if (!box) throw new Error("There is no sheet to draw on.");
  const move = ([x, y]: [number, number]): Promise<void> =>
    page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps: 2 });
  for (const [first, ...others] of STROKES[digit] ?? []) {
    if (!first) continue;
    await move(first);
    await page.mouse.down();
    for (const point of others) await move(point);
    await page.mouse.up();
  }
  return digit;
}

test("a picture that is chosen before the model is there is read once it is", async ({ page, stage }) => {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  await page.route(/\.safetensors|\/api\/checkpoints\//, async (route) => {
    await released;
    await route.continue();
  });
  const one =
    '<svg width="99" height="99"><rect width="99" height="99" fill="white"/><path d="M50 15V84" stroke="black" stroke-width="9"/></svg>';
  const asked = page.waitForRequest(/\.safetensors|\/api\/checkpoints\//);
  await page.goto(`${stage.url}/draw`);
  const picture = page.getByLabel("Cannot draw here? Use a picture of a digit");
  await picture.setInputFiles({
    name: "one.png",
    mimeType: "image/png",
    buffer: await sharp(Buffer.from(one)).png().toBuffer(),
  });
  await asked;
  await expect(picture).toBeDisabled();
  await expect(page.getByTestId("score")).toBeHidden();
  release();
  await expect(page.getByTestId("score")).toBeVisible();
});

test("five drawings train the model of the digits on this device, and the next game is read by what came of it", async ({
  page,
  stage,
}) => {
  const history = async (): Promise<History> =>
    (await (await fetch(`${stage.url}/api/tasks/digits/rounds`)).json()) as History;
  // As invitations and links to the game have it: the task says which page that is.
  await page.goto(`${stage.url}/play?task=digits`);
  const drawn: number[] = [];
  const score = page.getByTestId("score");
  for (let i = 0; i < 6; i++) {
    await expect(page.getByText(`Digit ${(i % 5) + 1} of 5`)).toBeVisible();
    if (i === 0) {
      // Another digit than was asked for: it is not read as that one, and is not for training unless the player says so.
      await draw(page, 1);
      await page.getByRole("button", { name: "Clear" }).click();
      await expect(page.getByRole("button", { name: "Done" })).toBeDisabled();
      await draw(page, 1);
      await page.getByRole("button", { name: "Done" }).click();
      await page.getByRole("button", { name: "Keep my drawings on this device" }).click();
      await page.getByRole("button", { name: "No, delete it" }).click();
      await expect(page.getByText("Deleted.", { exact: true })).toBeVisible();
      expect(Number.parseInt(await score.innerText())).toBeLessThan(60);
      expect(await storedFaces(page, "drawings")).toEqual([]);
    } else {
      drawn.push(await draw(page));
      await page.getByRole("button", { name: "Done" }).click();
      await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
      // The shipped model reads all ten of these with 97 per cent and more.
      expect(Number.parseInt(await score.innerText())).toBeGreaterThanOrEqual(60);
    }
    await expect(page.getByText("version 0", { exact: true })).toBeVisible();
    if (i === 5) break;
    await page.getByRole("button", { name: i === 4 ? "See your show" : "Next digit" }).click();
    if (i === 4) await page.getByRole("button", { name: "Five more" }).click();
  }
  const drawings = await storedFaces(page, "drawings");
  expect(drawings.map(({ label }) => label)).toEqual(drawn);
  expect(drawings.map(({ split }) => split)).toEqual(["train", "train", "train", "train", "held-out"]);
  expect(drawings.map(({ pixels }) => pixels.length)).toEqual(drawn.map(() => 784));
  expect(await storedFaces(page)).toEqual([]);

  // What the administrator does not say is the task's: digits have nothing to rehearse.
  const rounds = (config: object): Promise<Response> =>
    fetch(`${stage.url}/api/tasks/digits/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${stage.adminToken}` },
      body: JSON.stringify(config),
    });
  expect((await rounds({ rehearse: 3 })).status).toBe(422);
  const own = { strategy: "fedper", personalLayers: 1 };
  expect((await rounds({ goalCount: 1, selectionSeconds: 0, evaluateByClass: true, ...own })).status).toBe(201);
  await page.getByRole("link", { name: "Train", exact: true }).click();
  await expect(page.getByText("Drawings to train with: 4.")).toBeVisible();
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect.poll(async () => (await history()).rounds[0]?.state, { timeout: 180_000 }).toBe("published");
  await expect(page.getByText("You taught the model 4 drawings in round 1.")).toBeVisible();
  await expect(page.getByText("is your own: it stays on this device, and is never sent.")).toBeVisible();
  // In one picture: each digit that was drawn, all of them, and what the round's own test said. It fits a phone.
  const picture = page.getByRole("table", { name: "What the model recognizes, before and now" });
  const names = [...new Set(drawn)].sort().map(String);
  await expect(picture.getByRole("rowheader")).toHaveText([...names, "All your drawings", "Everybody's test drawings"]);
  await expect(picture.getByRole("row", { name: "All your drawings" })).toContainText("5 of 5");
  await expect(picture.getByRole("row", { name: "Everybody's test drawings" })).toContainText("100%");
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  await page.setViewportSize({ width: 1280, height: 900 });

  const [upload] = stage.requests.filter(({ method }) => method === "PUT");
  const { tensors } = summarize(MODELS["mnist-cnn"]);
  const { data: delta, metadata } = decodeSafetensors(new Uint8Array(upload?.body ?? []), tensors);
  expect(readUpdateMetadata(metadata)).toMatchObject({ examples: 4, evalExamples: 1 });
  const head = tensors.filter(({ name }) => name.startsWith("digit/")).reduce((sum, { size }) => sum + size, 0);
  expect(delta.subarray(0, -head).some((one) => one !== 0)).toBe(true);
  expect(delta.subarray(-head).every((one) => one === 0)).toBe(true);
  expect(leaksOf(stage.requests, drawings)).toEqual([]);
  expect((await history()).rounds[0]?.evaluation?.confusion?.map((row) => row.length)).toEqual(
    Array.from({ length: 10 }, () => 10),
  );

  await page.getByRole("link", { name: "Play", exact: true }).click();
  await draw(page);
  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.getByText("version 1", { exact: true })).toBeVisible();
  // What is kept is seen here, and goes when the player wants.
  const mine = page.getByRole("region", { name: "Your drawings" });
  await expect(mine.getByRole("listitem")).toHaveCount(6);
  await mine
    .getByRole("button", { name: `Delete this ${drawn[4] ?? ""}` })
    .first()
    .click();
  await expect(mine.getByRole("listitem")).toHaveCount(5);
  expect(await storedFaces(page, "drawings")).toHaveLength(5);

  // The way back to the faces is one click, and holds.
  await page.getByRole("button", { name: "Back to expressions" }).click();
  await expect(page.getByRole("button", { name: "Open the camera" })).toBeVisible();
});
