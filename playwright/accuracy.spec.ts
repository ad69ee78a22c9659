import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import { majorityOf, mark, parseVotes } from "../benchmarks/exam";
import { EXPRESSIONS, FACE_PIXELS, type Label } from "../src/model/expressions";
import { GOOD, scoreOf } from "../src/play/scoring";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";

/** FER2013's PublicTest and FER+'s votes for it lie beside the repository where it is developed; they are never part of it. */
const FACES = process.env["FER2013_PUBLIC_TEST"] ?? join(root, "../shared/fer2013/publictest.u8.gz");
const VOTES = join(dirname(FACES), "ferplus-publictest.csv");
/** Votes of ten from which on people agree. */
const AGREED = 8;
const NEUTRAL: Label = 6;

/** Few people show these, and few faces of them there are. */
const RARE: readonly Label[] = [EXPRESSIONS.indexOf("disgust") as Label, EXPRESSIONS.indexOf("fear") as Label];

/**
 * The faces on which people have a majority: their pixels, what most people say, and by how many of ten.
 * @param every only one of so many, but all that show what is {@link RARE}
 */
function people(every: number): { pixels: Buffer[]; right: Label[]; votes: number[] } {
  const records = gunzipSync(readFileSync(FACES));
  const [pixels, right, votes]: [Buffer[], Label[], number[]] = [[], [], []];
  parseVotes(readFileSync(VOTES, "utf8")).forEach((row, i) => {
    const label = majorityOf(row);
    if (label === null || (i % every !== 0 && !RARE.includes(label))) return;
    const at = i * (1 + FACE_PIXELS);
    pixels.push(records.subarray(at + 1, at + 1 + FACE_PIXELS));
    right.push(label);
    votes.push(row[label] ?? 0);
  });
  return { pixels, right, votes };
}

// Of the seed CNN every second face: each takes it seven times as long.
for (const [model, accuracy, every] of [
  ["seed", 0.82, 2],
  ["compact", 0.8, 1],
] as const) {
  test(`${model} as shipped says what people say, and scores as they would`, async () => {
    test.skip(!existsSync(FACES) || !existsSync(VOTES), `FER2013's faces and FER+'s votes are not here (${FACES}).`);
    const { pixels, right, votes } = people(every);
    const { page, close } = await openPage();
    const checkpoint = readFileSync(join(root, `public/models/${model}/initial.safetensors`)).toString("base64");
    const rows = await page.evaluate(
      async ([model, checkpoint, faces]) => {
        const worker = window.harness.worker();
        await worker.load(model, window.harness.fromBase64(checkpoint));
        const all = window.harness.fromBase64(faces);
        const rows: number[][] = [];
        for (let at = 0; at < all.length; at += 64 * 2304) {
          rows.push(...(await worker.classify(all.slice(at, at + 64 * 2304))).probabilities);
        }
        return rows;
      },
      [model, checkpoint, Buffer.concat(pixels).toString("base64")] as const,
    );
    await close();
    expect(rows).toHaveLength(right.length);
    for (const row of rows) expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
    expect(mark(rows, right).accuracy).toBeGreaterThan(accuracy);

    /** Of the faces of an expression, the share that wins a prompt. */
    const winners = (shown: Label, prompt: Label, least: number): number => {
      const some = rows.filter((_, i) => right[i] === shown && (votes[i] ?? 0) >= least);
      return some.filter((row) => scoreOf(row, prompt, model) >= GOOD).length / some.length;
    };
    const prompts = EXPRESSIONS.map((_, i) => i as Label);
    for (const prompt of prompts) {
      // Half of ten people, since few faces of disgust have more.
      expect(winners(prompt, prompt, 5), `real faces win ${EXPRESSIONS[prompt]}`).toBeGreaterThan(0.5);
      if (prompt === NEUTRAL) continue;
      expect(winners(NEUTRAL, prompt, AGREED), `neutral faces win ${EXPRESSIONS[prompt]}`).toBeLessThan(0.05);
    }
  });
}
