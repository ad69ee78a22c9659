import { expect, test } from "vitest";
import * as v from "valibot";
import { worker } from "../../tools/lab/worker";
import { seededRandom } from "../../src/base/random";
import { planSchema, type Plan } from "../../src/federation/protocol";
import { liveRunOf, type KeptState, type LiveName } from "../../src/federation/strategies/live";
import { encodeCheckpoint } from "../../src/model/checkpoint";
import { initializeWeights } from "../../src/model/initialize";
import { summarize, type ModelSpec } from "../../src/model/model";
import { LabWorker } from "../lab/worker";
import type { Examples, Snapshot, TrainingJob, TrainingResult } from "./api";
import { runTraining } from "./training";

// @module-tag slow

/** Small, with dropout and batch normalization. */
const model: ModelSpec = {
  name: "small",
  inputShape: [12, 12, 1],
  layers: [
    { kind: "conv2d", name: "conv", filters: 8, size: 3, padding: "same" },
    { kind: "batchNorm", name: "norm" },
    { kind: "maxPool", name: "pool", window: 2 },
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "hidden", units: 16, activation: "relu" },
    { kind: "dropout", name: "dropout", rate: 0.3 },
    { kind: "dense", name: "last", units: 3, activation: "softmax" },
  ],
};
const summary = summarize(model);

function examples(count: number, seed: number): Examples {
  const random = seededRandom(seed);
  return {
    pixels: Uint8Array.from({ length: count * summary.inputs }, () => random() * 256),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 3),
  };
}
const train = examples(14, 1);
const heldOut = examples(6, 2);
const weights = initializeWeights(model, 3);

const OPTIONS = { headEpochs: 2, lambda: 0.5, mu: 5, population: 4 };
const planOf = (strategy: LiveName | "none", more: Partial<Plan> = {}): Plan =>
  v.parse(planSchema, { epochs: 3, batchSize: 4, learningRate: 0.05, clipNorm: 4, strategy, ...OPTIONS, ...more });

const jobOf = (plan: Plan, more: Partial<TrainingJob> = {}): TrainingJob => ({
  model,
  checkpoint: encodeCheckpoint(summary, weights, {}, "float32"),
  train,
  heldOut,
  plan,
  seed: 5,
  backend: "wasm",
  ...more,
});

/** Trains to its end, and gives every snapshot on the way. @param stopAt ends it after so many snapshots */
async function trained(job: TrainingJob): Promise<{ result: TrainingResult; snapshots: Snapshot[] }> {
  const snapshots: Snapshot[] = [];
  const result = await runTraining(job, {
    onProgress: () => undefined,
    onSnapshot: (snapshot) => {
      snapshots.push(structuredClone(snapshot));
      return Promise.resolve();
    },
    isPauseWanted: () => false,
  });
  return { result, snapshots };
}

const STRATEGIES = ["fedper", "fedrep", "ditto", "moon", "feddyn", "scaffold"] as const;
/** What the server of four devices remembers after their first round. */
const memory = initializeWeights(model, 8);
/** What a device has kept of its first round, which has been published, and what it is told in its second. */
const afterFirst = (plan: Plan, { kept }: TrainingResult): Pick<TrainingJob, "kept" | "remembered" | "memory"> => ({
  kept: { choice: plan, vectors: kept ?? {}, round: 1 } as KeptState,
  remembered: { rounds: [[1, 1]] },
  memory: encodeCheckpoint(summary, memory, {}, "float32"),
});

/** Two rounds of a device, the second of which goes on from what the first has left. */
async function twoRounds(plan: Plan): Promise<[TrainingResult, TrainingResult]> {
  const first = (await trained(jobOf(plan))).result;
  return [first, (await trained(jobOf(plan, { ...afterFirst(plan, first), seed: 6 }))).result];
}

test.each(STRATEGIES)(
  "a device trains by %s as the lab's client does, in its first round and its second",
  async (name) => {
    await worker.startBackend("wasm");
    const lab = new LabWorker(worker.startBackend);
    await lab.start(
      model,
      {
        train: {
          pixels: Uint8Array.from([...train.pixels, ...heldOut.pixels]),
          labels: Uint8Array.from([...train.labels, ...heldOut.labels]),
        },
        test: heldOut,
      },
      "wasm",
      name,
    );
    const plan = planOf(name);
    const run = liveRunOf(plan, summary);
    let state: KeptState["vectors"] | null = null;
    for (const [round, live] of (await twoRounds(plan)).entries()) {
      const theirs = await lab.train({
        weights,
        train: Uint32Array.from(train.labels.keys()),
        heldOut: Uint32Array.from(heldOut.labels.keys(), (i) => train.labels.length + i),
        plan: planOf("none"),
        seed: 5 + round,
        norms: null,
        strategy: {
          options: run?.context.options,
          clients: 4,
          // c of SCAFFOLD, of which the server remembers the sum over all four.
          broadcast: round === 0 ? {} : { control: memory.map((value) => value / 4) },
          state,
        },
      });
      state = theirs.strategy?.state ?? {};
      expect(live.delta).toEqual(theirs.delta);
      expect(live.kept).toEqual(state);
      expect(live.train.loss).toBeCloseTo(theirs.loss, 6);
    }
    expect(Object.keys(state ?? {})).toHaveLength(1);
  },
);

test.each(STRATEGIES)(
  "a training by %s that goes on from any of its snapshots comes to the same bits",
  async (name) => {
    await worker.startBackend("wasm");
    const plan = planOf(name);
    const [first] = await twoRounds(plan);
    const kept = afterFirst(plan, first);
    const straight = await trained(jobOf(plan, kept));
    // Of both trainings where there are two: none at the very end of either.
    const epochs = name === "fedrep" ? 5 : name === "ditto" ? 6 : 3;
    expect(straight.snapshots).toHaveLength(name === "ditto" ? epochs - 2 : epochs - 1);
    for (const resume of straight.snapshots) {
      const { result } = await trained(jobOf(plan, { ...kept, resume }));
      expect(result.delta).toEqual(straight.result.delta);
      expect(result.kept).toEqual(straight.result.kept);
      expect(result.heldOutAfter).toEqual(straight.result.heldOutAfter);
    }
  },
);

test("where a device's own model alone diverges, the shared training is what it was, and the own model of before stays", async () => {
  await worker.startBackend("wasm");
  // Each step of its own throws it four times as far from the shared one: a plan that no edge gives.
  const wild = { lambda: 100, epochs: 20, clipNorm: 0 };
  const [plan, plain] = [planOf("ditto", wild), planOf("none", wild)];
  const { delta } = (await trained(jobOf(plain))).result;
  const first = (await trained(jobOf(plan))).result;
  expect(first.delta).toEqual(delta);
  expect(first.kept).toBeNull();
  const own = initializeWeights(model, 9);
  const { result } = await trained(jobOf(plan, { kept: { choice: plan, vectors: { own } } as KeptState }));
  expect(result.delta).toEqual(delta);
  expect(result.kept).toEqual({ own });
});

test("what is kept of a round that fits neither strategy nor network is not used, and FedAvg keeps nothing", async () => {
  await worker.startBackend("wasm");
  const plan = planOf("fedper");
  const [first] = await twoRounds(plan);
  for (const vectors of [{ head: new Float32Array(3) }, { own: new Float32Array(summary.parameters) }]) {
    const kept = { choice: plan, vectors } as KeptState;
    expect((await trained(jobOf(plan, { kept }))).result.delta).toEqual(first.delta);
  }
  const plain = (
    await trained(jobOf(planOf("none"), { kept: { choice: plan, vectors: first.kept ?? {} } as KeptState }))
  ).result;
  expect(plain.kept).toBeNull();
  // The head of FedAvg is sent; that of FedPer, which has trained the same, is not.
  const last = summary.parameters - (16 * 3 + 3);
  expect(plain.delta.subarray(0, last)).toEqual(first.delta.subarray(0, last));
  expect(plain.delta.subarray(last).some((value) => value !== 0)).toBe(true);
  expect(first.delta.subarray(last).every((value) => value === 0)).toBe(true);
});

test("a client's own batch normalization and its own layers go together, and neither is in its update", async () => {
  await worker.startBackend("wasm");
  const plan = planOf("fedper", { batchNorm: "local" });
  const first = (await trained(jobOf(plan))).result;
  const kept = { choice: plan, vectors: first.kept ?? {} } as KeptState;
  const { result } = await trained(jobOf(plan, { kept, localNorms: first.localNorms ?? undefined }));
  for (const { name, offset, size } of summary.tensors) {
    const isOwn = name.startsWith("norm/") || name.startsWith("last/");
    expect(
      result.delta.subarray(offset, offset + size).some((value) => value !== 0),
      name,
    ).toBe(!isOwn);
  }
  // They go on from what they were, and not from the checkpoint's.
  expect(result.localNorms).not.toEqual(first.localNorms);
  const fresh = (await trained(jobOf(plan, { kept }))).result;
  expect(result.localNorms).not.toEqual(fresh.localNorms);
});

test("what a device keeps is of what it sends, also where its update is longer than counts", async () => {
  await worker.startBackend("wasm");
  const plan = planOf("feddyn", { alignment: 0.5 });
  const long = lengthOf((await trained(jobOf(plan))).result.delta);
  const { delta, kept } = (await trained(jobOf({ ...plan, updateNorm: long / 3 }))).result;
  expect(lengthOf(delta) / (long / 3)).toBeCloseTo(1, 5);
  // g = -alpha (w_k - w_t), of what is trained: statistics have no gradient.
  const expected = delta.map((value) => -0.5 * value);
  for (const { trainable, offset, size } of summary.tensors) if (!trainable) expected.fill(0, offset, offset + size);
  expect(lengthOf(expected)).toBeGreaterThan(0);
  expect(lengthOf(expected.map((value, i) => value - (kept?.["slope"]?.[i] ?? NaN)))).toBeLessThan(1e-6);
});
const lengthOf = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

test("a device whose last round came to nothing trains as it would have without it", async () => {
  await worker.startBackend("wasm");
  const plan = planOf("feddyn");
  const [first, second] = await twoRounds(plan);
  const before = { round: 1, vectors: first.kept ?? {} };
  const kept = { choice: plan, vectors: second.kept ?? {}, round: 2, before } as KeptState;
  const again = (rounds: [number, number][]) => trained(jobOf(plan, { kept, remembered: { rounds }, seed: 6 }));
  expect((await again([[1, 1]])).result.delta).toEqual(second.delta);
  // Neither is known: it begins anew.
  const anew = (await trained(jobOf(plan, { seed: 6 }))).result.delta;
  for (const rounds of [[], [[3, 9]]] as [number, number][][]) expect((await again(rounds)).result.delta).toEqual(anew);
  expect(anew).not.toEqual(second.delta);
});

test("MOON refuses a backend that cannot show what goes into the last layer, by name and in words", async () => {
  await expect(trained(jobOf(planOf("moon"), { backend: "webgpu" }))).rejects.toMatchObject({
    name: "WrongBackendError",
    message: expect.stringContaining("moon") as string,
  });
});
