import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";

/** FER2013's PublicTest lies beside the repository where it is developed; it is never part of it. */
const FACES = process.env["FER2013_PUBLIC_TEST"] ?? join(root, "../shared/fer2013/publictest.u8.gz");

for (const [model, accuracy] of [
  ["seed", 0.62],
  ["compact", 0.6],
] as const) {
  test(`${model} as shipped recognizes faces that it has not been trained on, each expression at times`, async () => {
    test.skip(!existsSync(FACES), `FER2013's faces are not here (${FACES}): nothing to recognize.`);
    const records = gunzipSync(readFileSync(FACES));
    const count = 1024;
    const { page, close } = await openPage();
    const checkpoint = readFileSync(join(root, `public/models/${model}/initial.safetensors`)).toString("base64");
    const pixels = Buffer.concat(
      Array.from({ length: count }, (_, i) => records.subarray(i * 2305 + 1, (i + 1) * 2305)),
    );
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
      [model, checkpoint, pixels.toString("base64")] as const,
    );
    await close();
    expect(rows).toHaveLength(count);
    const right = new Map<number, number>();
    rows.forEach((row, i) => {
      const label = records[i * 2305] ?? -1;
      expect(row.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
      if (row.indexOf(Math.max(...row)) === label) right.set(label, (right.get(label) ?? 0) + 1);
    });
    expect([...right.values()].reduce((a, b) => a + b, 0) / count).toBeGreaterThan(accuracy);
    expect([...right.keys()].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });
}
