import { existsSync } from "node:fs";
import { join } from "node:path";
import { decodeCheckpoint } from "../src/model/checkpoint";
import type { LabPool } from "../src/simulation/pool";
import { MODELS, summarize } from "../src/model/model";
import type { History } from "../src/federation/protocol";
import { facesOf } from "../tools/faces.mjs";
import { startPool } from "../tools/lab/node.mjs";
import { root } from "../tools/setup.mjs";
import { collectFaces, expect, storedFaces, test } from "./stage";

/** Real faces that are no part of this project: FER2013's PublicTest, where it lies beside the checkout. */
const REAL = join(root, "../shared/fer2013/publictest.u8.gz");
const HOW_MANY = 300;

interface Labelled {
  pixels: Uint8Array;
  labels: Uint8Array;
}

/** The first faces of a file; none where it is not there. */
async function realFaces(): Promise<Labelled> {
  const pixels: Uint8Array[] = [];
  const labels: number[] = [];
  if (!existsSync(REAL)) return { pixels: new Uint8Array(), labels: new Uint8Array() };
  for await (const [label, face] of facesOf(REAL) as AsyncIterable<[number, Uint8Array]>) {
    if (labels.length === HOW_MANY) break;
    labels.push(label);
    pixels.push(face);
  }
  return { pixels: new Uint8Array(Buffer.concat(pixels)), labels: Uint8Array.from(labels) };
}

test("a newcomer's first round, as the README has it and with the form's defaults, leaves the model no worse", async ({
  page,
  stage,
}) => {
  test.setTimeout(600_000);
  await collectFaces(page, stage.url, 5);
  await page.goto(`${stage.url}/rounds`);
  await page.getByLabel("Goal count").fill("1");
  await page.getByLabel("Admin token").fill(stage.adminToken);
  await page.getByRole("button", { name: "Start rounds" }).click();
  await expect(page.getByRole("heading", { name: "Round 1", exact: true })).toBeVisible();
  await page.goto(`${stage.url}/train`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 300_000 });
  const history = async (): Promise<History> =>
    (await (await fetch(`${stage.url}/api/tasks/expressions/rounds`)).json()) as History;
  await expect.poll(async () => (await history()).rounds[0]?.state, { timeout: 120_000 }).toBe("published");

  // Somebody has looked before it was published, and on the dashboard that can be seen.
  const { rounds, task } = await history();
  expect(rounds[0]?.evidence.cohort).toMatchObject({ clients: 1 });
  expect(rounds[0]?.dreams?.agreement).toBeGreaterThan(0.95);
  await page.goto(`${stage.url}/rounds`);
  const evidence = page.getByRole("region", { name: "What speaks for each version" }).getByRole("row");
  await expect(evidence.nth(1)).toContainText("published");

  const model = summarize(MODELS.seed);
  const weightsOf = async (sha256: string): Promise<Float32Array> => {
    const response = await fetch(`${stage.url}/api/checkpoints/${sha256}`);
    return decodeCheckpoint(new Uint8Array(await response.arrayBuffer()), model);
  };
  const before = await weightsOf(rounds[0]?.base.sha256 ?? "");
  const after = await weightsOf(task.checkpoint.sha256);
  expect(after).not.toEqual(before);
  const kept = await storedFaces(page);
  const photographs = {
    pixels: Uint8Array.from(kept.flatMap(({ pixels }) => pixels)),
    labels: Uint8Array.from(kept, ({ label }) => label),
  };
  const real = await realFaces();
  const { pool, stop } = (await startPool({ model: "seed" }, { train: photographs, test: real })) as {
    pool: LabPool;
    stop: () => Promise<unknown>;
  };
  try {
    const taken = async (weights: Float32Array, face: number): Promise<number> => {
      const { confusion } = await pool.evaluate({ weights, of: "train", examples: Uint32Array.of(face) });
      return confusion[kept[face]?.label ?? 0]?.indexOf(1) ?? -1;
    };
    let same = 0;
    for (let i = 0; i < kept.length; i++) if ((await taken(before, i)) === (await taken(after, i))) same += 1;
    expect(same, "photographs that both versions take for the same").toBeGreaterThanOrEqual(kept.length - 1);
    if (real.labels.length === 0) {
      console.log(
        "There are no real faces beside this checkout: the newcomer's round was held against photographs only.",
      );
      return;
    }
    const examples = Uint32Array.from(real.labels, (_, i) => i);
    const old = await pool.evaluate({ weights: before, of: "test", examples });
    const fresh = await pool.evaluate({ weights: after, of: "test", examples });
    expect(fresh.accuracy, "accuracy on real faces").toBeGreaterThanOrEqual(old.accuracy - 0.01);
  } finally {
    await stop();
  }
});
