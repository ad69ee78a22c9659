import { expect, test } from "vitest";
import { drawnData } from "./data";
import { cameraOf, throughCameras } from "./cameras";
import { shareOut } from "./cohort";
import { parseLabConfig, type LabInput } from "./config";

const config = (changes: Partial<LabInput>) =>
  parseLabConfig({
    dataset: "drawn",
    model: "compact",
    clients: 6,
    examplesPerClient: 10,
    rounds: 1,
    epochs: 1,
    batchSize: 5,
    learningRate: 0.1,
    heldOut: 0.3,
    ...changes,
  });

test("every client's examples are seen through one camera of its own, and nobody else's change", () => {
  const data = drawnData();
  expect(throughCameras(data, config({}))).toBe(data);
  const skewed = config({ cameraSpread: 1 });
  const seen = throughCameras(data, skewed);
  const { train, heldOut } = shareOut(skewed, data.train);
  const face = (of: typeof data, i: number): Uint8Array => of.train.pixels.subarray(i * 2304, (i + 1) * 2304);
  const light = (pixels: Uint8Array): number => pixels.reduce((a, b) => a + b, 0);
  const owned = new Set<number>();
  const gains = train.map((own, client) => {
    const { gain, angle, mirror } = cameraOf(skewed, client);
    for (const example of [...own, ...(heldOut[client] ?? [])]) {
      owned.add(example);
      // A darker camera gives less light, a brighter one more, up to white.
      if (gain < 0.9) expect(light(face(seen, example))).toBeLessThan(light(face(data, example)));
      if (Math.abs(angle) > 1 || mirror) expect(face(seen, example)).not.toEqual(face(data, example));
    }
    expect(gain).toBeGreaterThanOrEqual(0.25);
    expect(gain).toBeLessThanOrEqual(4);
    return gain;
  });
  expect(new Set(gains).size).toBe(6);
  for (let i = 0; i < data.train.labels.length; i++) {
    if (!owned.has(i)) expect(Buffer.compare(face(seen, i), face(data, i))).toBe(0);
  }
  expect(seen.test).toBe(data.test);
});
