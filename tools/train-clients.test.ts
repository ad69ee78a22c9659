import { join } from "node:path";
import { expect, test, vi } from "vitest";
import * as v from "valibot";
import { planSchema } from "../src/federation/protocol";
import { encodeCheckpoint } from "../src/model/checkpoint";
import { initializeWeights } from "../src/model/initialize";
import { summarize, type ModelSpec } from "../src/model/model";
import { root } from "./setup.mjs";
import { Trainer } from "./train-clients.mjs";

// What the commands bundle, as it lies there.
vi.mock("./load.mjs", () => ({ load: (file: string): Promise<unknown> => import(join(root, file)) }));

const spec: ModelSpec = {
  name: "two",
  inputShape: [8, 8, 1],
  layers: [
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "first", units: 4, activation: "relu" },
    { kind: "dense", name: "last", units: 2, activation: "softmax" },
  ],
};
const model = summarize(spec);
const HEAD = 4 * 2 + 2;
const plan = v.parse(planSchema, {
  epochs: 1,
  batchSize: 5,
  learningRate: 0.1,
  strategy: "fedper",
  batchNorm: "local",
});

/** What a training was told of the ones before. */
interface Told {
  norms: Float32Array | null;
  strategy: { state: Record<string, Float32Array> };
}

test("what a training leaves is kept once the edge has its update, and nothing is lost by a round that had none", async () => {
  vi.spyOn(console, "log").mockImplementation(() => undefined);
  const told: (number | undefined)[][] = [];
  const pool = {
    /** Leaves its own number behind. */
    train: ({ norms, strategy }: Told) => {
      told.push([norms?.[0], strategy.state["head"]?.[0]]);
      const none = { examples: 0, loss: 0, accuracy: 0, confusion: [] };
      return Promise.resolve({
        delta: new Float32Array(model.parameters),
        loss: 1,
        accuracy: 1,
        initialLoss: null,
        norms: Float32Array.of(told.length),
        heldOut: none,
        strategy: { state: { head: new Float32Array(HEAD).fill(told.length) } },
      });
    },
  };
  type Train = () => Promise<{ onAccepted?: () => void }>;
  const secure: ((train: Train) => Promise<boolean>)[] = [
    // Over before it has asked anybody to train, and over while this one trained.
    () => Promise.resolve(false),
    async (train) => {
      await train();
      return true;
    },
    async (train) => {
      (await train()).onAccepted?.();
      return true;
    },
  ];
  const rounds = ["plain", ...secure, "plain"];
  let round = 0;
  const client = {
    model,
    checkIn: () => {
      const one = rounds[round];
      if (one === undefined) return Promise.resolve({ decision: "wait", reason: "no-round", retryAfterSeconds: 0 });
      round += 1;
      const assignment = {
        task: "expressions",
        id: String(round),
        round,
        checkpoint: { bytes: 1 },
        plan,
        ...(one !== "plain" && { secure: { deviation: 0, clip: 1 } }),
      };
      return Promise.resolve({ decision: "train", assignment });
    },
    checkpoint: () => Promise.resolve(encodeCheckpoint(model, initializeWeights(spec, 1), {}, "float32")),
    memory: () => Promise.resolve(undefined),
    packTrained: () => Promise.resolve({ file: new Uint8Array(), residual: undefined }),
    upload: () => Promise.resolve("accepted"),
    sendSecure: (_: unknown, train: Train) => secure.shift()?.(train),
  };
  const room = { url: "", task: "expressions", rounds: rounds.length, pool, signal: new AbortController().signal };
  const trainer = new Trainer("client 0", room, [0, 1], []);
  await Object.assign(trainer, { client }).takePart();
  // The second round had no training, the third's update was never sent.
  expect(told).toEqual([
    [undefined, undefined],
    [1, 1],
    [1, 1],
    [3, 3],
  ]);
});
