import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { facesAsSeen } from "../benchmarks/people.mjs";
import { decodeCheckpoint } from "../src/model/checkpoint";
import type { Evaluation } from "../src/model/evaluation";
import { EXPRESSIONS, FACE_PIXELS, type Expression } from "../src/model/expressions";
import { MODELS, summarize } from "../src/model/model";
import type { History } from "../src/federation/protocol";
import type { LabPool } from "../src/simulation/pool";
import { startPool } from "../tools/lab/node.mjs";
import { root } from "../tools/setup.mjs";
import { expect, ORDER, storedFaces, test } from "./stage";
import { SCENES, scenePath } from "./webcam";

// What a newcomer's own device begins with.
test.use({ task: null });

/** Real faces that are no part of this project, with ten people's votes on each: FER2013's PublicTest, where it lies beside the checkout. */
const REAL = { faces: "../shared/fer2013/publictest.u8.gz", votes: "../shared/fer2013/ferplus-publictest.csv" };
const [FACES, VOTES] = [join(root, REAL.faces), join(root, REAL.votes)];
/** So many of them that a point of accuracy is more than chance, and so few that this ends in a minute. */
const HOW_MANY = 900;

/** What the webcam's photographs show. */
const SHOWN = ORDER.map((scene) => ({ scene, role: SCENES[scene]?.role ?? "" }));

type Photo = string | { name: string; mimeType: string; buffer: Buffer };
interface Labelled {
  pixels: Uint8Array;
  labels: Uint8Array;
}

const named = (label: number): string => {
  const name = EXPRESSIONS[label] ?? "";
  return name.charAt(0).toUpperCase() + name.slice(1);
};

/** Plays one take by photo of a role, as an honest player: the photo shows what was asked. @returns the score; null where no face is found */
async function act(page: Page, role: string, photo: Photo): Promise<number | null> {
  const heading = page.getByRole("heading", { name: role, exact: true });
  while (!(await heading.isVisible())) await page.getByRole("button", { name: "Another role" }).click();
  await page.getByLabel("No camera? Act in a photo").setInputFiles(photo);
  const next = page.getByRole("button", { name: "Next role" });
  await expect(next.or(page.getByText("No face was found in that photo."))).toBeVisible();
  if (!(await next.isVisible())) return null;
  const score = Number.parseInt(await page.getByTestId("score").innerText());
  const keep = page.getByRole("button", { name: "Keep my faces on this device" });
  if (await keep.isVisible()) await keep.click();
  await expect(page.getByText("Kept on this device,")).toBeVisible();
  const yes = page.getByRole("button", { name: "Yes, this is my" });
  if (await yes.isVisible()) await yes.click();
  await next.click();
  return score;
}

/** A face as somebody has it as a photo: in the middle of a picture, whose rest goes on from its edges. */
async function photoOf(page: Page, face: Uint8Array): Promise<Photo> {
  const jpeg = await page.evaluate(
    async (levels) => {
      const [small, large] = [new OffscreenCanvas(48, 48), new OffscreenCanvas(640, 480)];
      const image = new ImageData(48, 48);
      for (const [i, level] of levels.entries()) image.data.set([level, level, level, 255], i * 4);
      small.getContext("2d")?.putImageData(image, 0, 0);
      large.getContext("2d")?.drawImage(small, 0, 0, 640, 480);
      large.getContext("2d")?.drawImage(small, 200, 120, 240, 240);
      const blob = await large.convertToBlob({ type: "image/jpeg", quality: 0.9 });
      return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
    },
    [...face],
  );
  return { name: "face.jpg", mimeType: "image/jpeg", buffer: Buffer.from(jpeg, "base64") };
}

/** README's first round: the form's defaults but for one client, who takes part with the faces that are kept. */
async function firstRound(page: Page, url: string, adminToken: string): Promise<History> {
  await page.goto(`${url}/rounds`);
  await page.getByRole("button", { name: "Start a round" }).click();
  await page.getByLabel("Goal count").fill("1");
  await page.getByLabel("Admin token").fill(adminToken);
  await page.getByRole("button", { name: "Start rounds" }).click();
  await expect(page.getByRole("heading", { name: "Round 1", exact: true })).toBeVisible();
  await page.goto(`${url}/train`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 300_000 });
  const history = async (): Promise<History> =>
    (await (await fetch(`${url}/api/tasks/expressions/rounds`)).json()) as History;
  await expect.poll(async () => (await history()).rounds[0]?.state, { timeout: 120_000 }).toBe("published");
  return history();
}

/** What the checkpoints before and after that round say of labelled faces. */
async function beforeAndAfter(
  url: string,
  { rounds, task }: History,
  faces: Labelled,
): Promise<[Evaluation, Evaluation]> {
  const weightsOf = async (sha256: string): Promise<Float32Array> => {
    const response = await fetch(`${url}/api/checkpoints/${sha256}`);
    return decodeCheckpoint(new Uint8Array(await response.arrayBuffer()), summarize(MODELS.seed));
  };
  const before = await weightsOf(rounds[0]?.base.sha256 ?? "");
  const after = await weightsOf(task.checkpoint.sha256);
  expect(after.some((value, i) => value !== before[i])).toBe(true);
  const { pool, stop } = (await startPool({ model: "seed" }, { train: faces, test: faces })) as {
    pool: LabPool;
    stop: () => Promise<unknown>;
  };
  try {
    const examples = Uint32Array.from(faces.labels, (_, i) => i);
    return [
      await pool.evaluate({ weights: before, of: "test", examples }),
      await pool.evaluate({ weights: after, of: "test", examples }),
    ];
  } finally {
    await stop();
  }
}

test("a newcomer's first round, as the README has it and with the form's defaults, leaves it as sure of the faces that taught it", async ({
  browser,
  page,
  stage,
}) => {
  test.setTimeout(600_000);
  await page.goto(`${stage.url}/play`);
  const scores: number[] = [];
  for (const { scene, role } of SHOWN) scores.push((await act(page, role, scenePath(scene))) ?? NaN);
  const history = await firstRound(page, stage.url, stage.adminToken);

  // Somebody has looked before it was published, and on the dashboard that can be seen.
  expect(history.rounds[0]?.evidence.cohort).toMatchObject({ clients: 1 });
  expect(history.rounds[0]?.dreams?.agreement).toBeGreaterThan(0.95);
  await page.goto(`${stage.url}/rounds`);
  await page.getByRole("link", { name: "Versions", exact: true }).click();
  const evidence = page.getByRole("region", { name: "What speaks for each version" }).getByRole("row");
  await expect(evidence.nth(1)).toContainText("published");

  const kept = await storedFaces(page);
  const [before, after] = await beforeAndAfter(stage.edgeUrl, history, {
    pixels: Uint8Array.from(kept.flatMap(({ pixels }) => pixels)),
    labels: Uint8Array.from(kept, ({ label }) => label),
  });
  expect(after.accuracy, "faces that are known").toBeGreaterThanOrEqual(before.accuracy);
  expect(after.loss, "how unsure it is of them").toBeLessThan(before.loss + 0.02);

  // The next game has the new version.
  await page.goto(`${stage.url}/play`);
  for (const [i, { scene, role }] of SHOWN.entries()) {
    const score = scores[i] ?? NaN;
    const again = await act(page, role, scenePath(scene));
    expect(again, `scene ${scene} as ${role}, ${score} before`).toBeGreaterThanOrEqual(score - 5);
  }

  // Who comes now, and only plays, downloads a quarter of it.
  const { sha256, light } = history.task.checkpoint;
  const other = await (await browser.newContext()).newPage();
  await other.goto(`${stage.url}/play`);
  expect(await act(other, "Happy", scenePath(1))).toBeGreaterThan(60);
  await other.context().close();
  const downloads = stage.requests.filter(({ path }) => path.startsWith("/api/checkpoints/")).map(({ path }) => path);
  expect(downloads.filter((path) => path.endsWith(light?.sha256 ?? "?"))).toHaveLength(1);
  expect(downloads.filter((path) => path.endsWith(sha256))).toHaveLength(1);
});

test("a newcomer's first round with real faces is no worse on real faces of others", async ({ page, stage }) => {
  test.skip(!existsSync(FACES) || !existsSync(VOTES), "There are no real faces beside this checkout.");
  test.setTimeout(600_000);
  const real: { label: number; pixels: Uint8Array; votes: number }[] = [];
  for await (const [label, pixels, votes] of facesAsSeen(FACES, VOTES) as AsyncIterable<[number, Uint8Array, number]>) {
    real.push({ label, pixels, votes });
  }
  await page.goto(`${stage.url}/play`);
  const roles: Expression[] = ["surprise", "sad", "neutral", "angry", "happy"];
  for (const role of roles) {
    const label = EXPRESSIONS.indexOf(role);
    for (;;) {
      const at = real.findIndex((face) => face.label === label && face.votes === 10);
      const [face] = real.splice(at, 1);
      if (face && (await act(page, named(label), await photoOf(page, face.pixels))) !== null) break;
    }
  }
  const others = real.slice(0, HOW_MANY);
  const kept = await storedFaces(page);
  expect(kept.filter(({ split }) => split === "train").length, "faces to train with").toBe(4);
  const history = await firstRound(page, stage.url, stage.adminToken);
  const pixels = new Uint8Array(others.length * FACE_PIXELS);
  for (const [i, face] of others.entries()) pixels.set(face.pixels, i * FACE_PIXELS);
  const labels = Uint8Array.from(others, ({ label }) => label);
  const [before, after] = await beforeAndAfter(stage.edgeUrl, history, { pixels, labels });
  console.log(`${others.length} real faces: ${before.accuracy} known before the round, ${after.accuracy} after it`);
  expect(after.accuracy, "accuracy on real faces").toBeGreaterThanOrEqual(before.accuracy - 0.01);
});
