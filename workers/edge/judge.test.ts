import { reset } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/model/checkpoint";
import { sha256Hex } from "../../src/base/digest";
import type { DreamVerdict } from "../../src/federation/guard";
import { MODELS, summarize, type ModelName } from "../../src/model/model";
import { checkpointKey, judgeOf } from "./env";
import type { NotJudged } from "./judge";

// @module-tag slow

const MISSING = "0".repeat(64);

beforeEach(async () => {
  await reset();
});
afterEach(async () => {
  await reset();
});

/** The checkpoint that comes with the app. */
async function shipped(model: ModelName): Promise<Uint8Array<ArrayBuffer>> {
  const response = await env.ASSETS.fetch(`https://assets/models/${model}/initial.safetensors`);
  expect(response.status).toBe(200);
  return new Uint8Array(await response.arrayBuffer());
}

async function store(file: Uint8Array<ArrayBuffer>): Promise<string> {
  const sha256 = await sha256Hex(file);
  await env.STORE.put(checkpointKey(sha256), file);
  return sha256;
}

/** The model's checkpoint as the edge publishes it, after something was done to the weights of a layer. */
async function changed(model: ModelName, layer: string, change: (weight: number) => number): Promise<string> {
  const summary = summarize(MODELS[model]);
  const weights = decodeCheckpoint(await shipped(model), summary);
  for (const { name, offset, size } of summary.tensors) {
    if (name === `${layer}/kernel`)
      for (let i = offset; i < offset + size; i++) weights[i] = change(weights[i] as number);
  }
  return store(encodeCheckpoint(summary, weights, {}, "float32"));
}

const judge = (base: string, candidate: string, model: ModelName = "compact"): Promise<DreamVerdict | NotJudged> =>
  judgeOf(env).judge(model === "seed" ? "expressions" : "expressions-compact", base, candidate);

async function verdictOn(base: string, candidate: string, model: ModelName = "compact"): Promise<DreamVerdict> {
  const verdict = await judge(base, candidate, model);
  if ("failure" in verdict) throw new Error(verdict.detail);
  return verdict;
}

test.each(["compact", "seed"] as const)("%s: who says what its base says agrees, in either codec", async (model) => {
  const base = await store(await shipped(model));
  expect(await verdictOn(base, base, model)).toEqual({ agreement: 1, divergence: 0 });
  // The same numbers in another file: int8 and float32.
  const same = await changed(model, "expression", (weight) => weight);
  expect(same).not.toBe(base);
  expect(await verdictOn(base, same, model)).toEqual({ agreement: 1, divergence: 0 });
});

test("a damaged candidate answers otherwise, the more the worse the damage", async () => {
  const base = await store(await shipped("compact"));
  const tired = await verdictOn(base, await changed("compact", "expression", (weight) => weight * 0.98));
  expect(tired.agreement).toBeGreaterThan(0.95);
  expect(tired.divergence).toBeGreaterThan(0);
  expect(tired.divergence).toBeLessThan(0.01);
  for (const layer of ["block1_conv1", "block4_conv2", "expression"]) {
    const verdict = await verdictOn(base, await changed("compact", layer, (weight) => -weight));
    expect(verdict.agreement, layer).toBeLessThan(0.5);
    expect(verdict.divergence, layer).toBeGreaterThan(1);
  }
});

test("the answers of the seed model's candidates are judged, too", async () => {
  const base = await store(await shipped("seed"));
  const verdict = await verdictOn(base, await changed("seed", "block3_conv1", (w) => -w), "seed");
  expect(verdict.agreement).toBeLessThan(0.5);
});

test("what cannot be judged is told apart", async () => {
  const file = await shipped("compact");
  const base = await store(file);
  const failureOf = async (one: string, other: string): Promise<string> => {
    const verdict = await judge(one, other);
    return "failure" in verdict ? verdict.failure : "judged";
  };
  expect(await failureOf(base, MISSING)).toBe("no-checkpoint");
  expect(await failureOf(MISSING, base)).toBe("no-checkpoint");
  expect(await failureOf(base, await store(file.slice(0, -1)))).toBe("bad-checkpoint");
  expect(await failureOf(base, await store(file.slice(0, 100)))).toBe("bad-checkpoint");
  expect(await failureOf(base, await store(await shipped("seed")))).toBe("bad-checkpoint");
  expect(await failureOf(base, await changed("compact", "expression", () => 3e38))).toBe("not-finite");
  // A failure leaves the judge as it was.
  expect(await failureOf(base, base)).toBe("judged");
});

test("candidates that come at once are judged one after the other", async () => {
  const base = await store(await shipped("compact"));
  const turned = await changed("compact", "expression", (weight) => -weight);
  const [first, failed, second] = await Promise.all([
    verdictOn(base, turned),
    judge(base, MISSING),
    verdictOn(base, base),
  ]);
  expect(first.agreement).toBeLessThan(0.5);
  expect(failed).toHaveProperty("failure", "no-checkpoint");
  expect(second.agreement).toBe(1);
});
