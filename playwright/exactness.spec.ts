import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import fc from "fast-check";
import { openPage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";
import { summarize, type LayerSpec, type ModelSpec } from "../src/model/model";
import { decodeHeader } from "../src/model/safetensors";

// One after the other: they compute without a pause, and the page is built once for each worker of Playwright's.
test.describe.configure({ mode: "default" });

/** The numbers of tools/oracle.py for a model, by name. */
function oracle(model: "seed" | "compact"): Map<string, number[]> {
  const file = readFileSync(join(root, `workers/tf/oracle${model === "seed" ? "" : "-compact"}.safetensors`));
  const { tensors, headerBytes } = decodeHeader(file);
  return new Map(
    tensors.map(({ name, start, end }) => [
      name,
      Array.from({ length: (end - start) / 4 }, (_, i) => file.readFloatLE(headerBytes + start + i * 4)),
    ]),
  );
}

/** Norms over the places that the oracle holds. */
const norm = (values: number[]): number => Math.hypot(...values);
const difference = (found: number[], expected: number[]): number =>
  norm(expected.map((value, i) => value - (found[i] ?? NaN)));
/** Half the distance of float32 numbers around 1: what each step may lose when it is added to a weight. */
const ROUNDING = 2 ** -24;

// A software GPU and tfjs's own operations take minutes for the seed CNN: `npm run test:soak` asks them for it too.
const slow = process.env["SOAK"] ? (["compact", "seed"] as const) : (["compact"] as const);
for (const [backend, model, steps, optimizers] of [
  ["wasm", "seed", 3, ["sgd", "momentum", "adam", "careful"]],
  ...slow.flatMap((model) => [["webgpu", model, 1, ["sgd", "careful"]] as const, ["cpu", model, 1, ["sgd"]] as const]),
] as const) {
  test(`${backend} gives PyTorch's losses and gradients of ${model} with ${optimizers.join(", ")}`, async () => {
    test.setTimeout(600_000);
    const expected = oracle(model);
    const { page, close } = await openPage(["--enable-unsafe-webgpu"]);
    for (const optimizer of optimizers) {
      const found = await page.evaluate(
        ([backend, model, steps, optimizer]) => window.harness.worker().oracle(backend, model, steps, optimizer),
        [backend, model, steps, optimizer] as const,
      );
      compare(found, expected, steps, optimizer);
    }
    await close();
  });
}

/** Holds what a backend gives for an optimizer against PyTorch's numbers. */
function compare(
  { losses, gradients, changes }: Awaited<ReturnType<ReturnType<Window["harness"]["worker"]>["oracle"]>>,
  expected: Map<string, number[]>,
  steps: number,
  optimizer: string,
): void {
  // Adam's first steps are all of one size, here a few roundings of the larger weights.
  const tolerance = optimizer === "adam" ? 1e-4 : 1e-5;
  losses.forEach((loss, i) => {
    const difference = Math.abs(loss - (expected.get(`losses/${optimizer}`)?.[i] ?? NaN));
    expect(difference, `${optimizer}'s loss ${i}`).toBeLessThan(i === 0 ? 1e-5 : tolerance);
  });
  for (const [name, values] of Object.entries(gradients)) {
    const reference = expected.get(`${optimizer === "careful" ? "careful-" : ""}gradient/${name}`) ?? [];
    const error = difference(values, reference) / norm(reference);
    // With careful's statistics a tap of the second pooling falls the other way in float32: behind it all agree to 1e-6.
    expect(error, name).toBeLessThan(optimizer === "careful" && /^block[12]_/.test(name) ? 5e-3 : 1e-3);
  }
  if (steps < 3) return;
  for (const [name, values] of expected) {
    const tensor = new RegExp(`^${optimizer}/(.*)`).exec(name)?.[1];
    if (!tensor) continue;
    const found = changes[tensor] ?? [];
    if (optimizer === "adam") {
      // Adam makes a whole step of a gradient that is zero but for rounding, with either sign: leave dead channels out.
      const slopes = expected.get(`gradient/${tensor}`) ?? [];
      const dead = (1e-6 * norm(slopes.slice(1))) / Math.sqrt(slopes.length);
      values.slice(1).forEach((value, i) => {
        if (Math.abs(slopes[i + 1] ?? NaN) < dead) return;
        const allowed = 0.02 * steps * 1e-6 + steps * ROUNDING;
        expect(Math.abs(value - (found[i + 1] ?? NaN)), `${name} ${i}`).toBeLessThan(allowed);
      });
      continue;
    }
    const allowed = 1e-3 * norm(values) + steps * ROUNDING * Math.sqrt(values.length);
    expect(difference(found, values), name).toBeLessThan(allowed);
  }
}

test("our kernels give what tfjs's own operations give, whatever the shape", async () => {
  const { page, close } = await openPage();
  const shape = fc.record({
    N: fc.integer({ min: 1, max: 5 }),
    H: fc.integer({ min: 5, max: 13 }),
    W: fc.integer({ min: 5, max: 13 }),
    I: fc.constantFrom(1, 2, 3, 4, 8, 16, 24, 40),
    O: fc.constantFrom(8, 16, 24, 40),
    padding: fc.constantFrom("same" as const, "valid" as const),
    size: fc.constantFrom(3 as const, 5 as const),
    window: fc.constantFrom(2 as const, 3 as const),
  });
  await page.evaluate(() => {
    Object.assign(window, { exact: window.harness.worker() });
  });
  await fc.assert(
    fc.asyncProperty(shape, fc.nat(), async (shape, seed) => {
      const errors = await page.evaluate(
        ([shape, seed]) =>
          (window as unknown as { exact: ReturnType<Window["harness"]["worker"]> }).exact.kernelErrors(shape, seed),
        [shape, seed] as const,
      );
      expect(Object.keys(errors)).toHaveLength(shape.I <= 4 ? 19 : 21);
      const lost = shape.padding === "valid" ? shape.size - 1 : 0;
      const pixels = shape.N * (shape.H - lost) * (shape.W - lost);
      for (const [name, error] of Object.entries(errors)) {
        // A batch of few pixels may have next to no variance, which normalization then divides by.
        expect(error, `${name} of ${JSON.stringify(shape)}`).toBeLessThan(pixels > 40 ? 1e-4 : 5e-3);
      }
    }),
    {
      numRuns: 40,
      // A single pixel has no variance; up to four channels are the network's own input, here of enough pixels for Winograd's algorithm.
      examples: [
        [{ N: 5, H: 13, W: 12, I: 3, O: 16, padding: "same", size: 3, window: 2 }, 3],
        [{ N: 2, H: 9, W: 13, I: 3, O: 8, padding: "valid", size: 5, window: 3 }, 4],
        // The largest picture of a task.
        [{ N: 1, H: 96, W: 96, I: 3, O: 8, padding: "same", size: 3, window: 2 }, 5],
        [{ N: 1, H: 3, W: 3, I: 1, O: 8, padding: "valid", size: 3, window: 2 }, 0],
        [{ N: 3, H: 11, W: 6, I: 1, O: 40, padding: "valid", size: 3, window: 3 }, 574700919],
      ],
    },
  );
  for (const [inputs, outputs] of [
    [5, 8],
    [8, 7],
    [1024, 8],
  ] as const) {
    const message = await page.evaluate(([inputs, outputs]) => window.harness.worker().refusal(inputs, outputs), [
      inputs,
      outputs,
    ] as const);
    expect(message).toContain("Our convolution takes square filters");
  }
  await close();
});

/** A model of a few layers that takes in pictures of 9 to 14 pixels, and what it is trained with. */
const trial = fc
  .record({
    side: fc.tuple(fc.integer({ min: 9, max: 14 }), fc.integer({ min: 9, max: 14 })),
    channels: fc.constantFrom(1, 3, 4),
    groups: fc.array(
      fc.record({
        convs: fc.array(
          fc.record({
            filters: fc.constantFrom(4, 12, 20, 36, 68),
            size: fc.constantFrom(3 as const, 5 as const),
            isNormalized: fc.boolean(),
          }),
          { minLength: 1, maxLength: 2 },
        ),
        window: fc.constantFrom(2 as const, 3 as const),
        rate: fc.constantFrom(0, 0.3),
      }),
      { maxLength: 2 },
    ),
    padding: fc.constantFrom("same" as const, "valid" as const),
    hidden: fc.array(fc.constantFrom(5, 32, 270), { maxLength: 2 }),
    classes: fc.integer({ min: 2, max: 7 }),
    N: fc.integer({ min: 2, max: 5 }),
    hasUnlabelled: fc.boolean(),
    plan: fc.record({
      learningRate: fc.constant(0.01),
      optimizer: fc.constantFrom("sgd" as const, "momentum" as const, "adam" as const),
      proximal: fc.constantFrom(0, 0.1),
      clipNorm: fc.constantFrom(0, 0.5),
      layers: fc.constantFrom("all" as const, "all" as const, "head" as const),
      batchNorm: fc.constantFrom("average" as const, "frozen" as const),
    }),
    dropout: fc.option(fc.nat()),
    isTuning: fc.constantFrom(false, false, true),
    isHooked: fc.constantFrom(false, false, true),
    seed: fc.nat(),
  })
  .map(
    ({
      side,
      channels,
      groups,
      padding,
      hidden,
      classes,
      N,
      hasUnlabelled,
      plan,
      dropout,
      isTuning,
      isHooked,
      seed,
    }) => {
      const layers: LayerSpec[] = groups.flatMap(({ convs, window, rate }, g) => [
        ...convs.flatMap(({ filters, size, isNormalized }, c): LayerSpec[] => [
          { kind: "conv2d", name: `conv${g}${c}`, filters, size, padding: g + c === 0 ? padding : "same" },
          ...(isNormalized ? [{ kind: "batchNorm", name: `norm${g}${c}` } as const] : []),
        ]),
        { kind: "maxPool", name: `pool${g}`, window },
        ...(rate > 0 ? [{ kind: "dropout", name: `dropout${g}`, rate } as const] : []),
      ]);
      layers.push({ kind: "flatten", name: "flatten" });
      hidden.forEach((units, i) => {
        layers.push({ kind: "dense", name: `dense${i}`, units, activation: "relu" });
        layers.push({ kind: "dropout", name: `denseDropout${i}`, rate: 0.5 });
      });
      layers.push({ kind: "dense", name: "last", units: classes, activation: "softmax" });
      const spec: ModelSpec = { name: "drawn", inputShape: [...side, channels], layers };
      const labelled = hasUnlabelled ? N - 1 : N;
      const isWhole = summarize(spec).layers.every(({ outputShape }) => outputShape.every((side) => side > 0));
      return { isWhole, spec, of: { plan, N, labelled, isTaught: hasUnlabelled, dropout, isTuning, isHooked, seed } };
    },
  )
  // A window may not be larger than what it pools.
  .filter(({ isWhole }) => isWhole);

/** A small network of the largest picture that a task may have, in colour. */
const largest = {
  isWhole: true,
  spec: {
    name: "largest",
    inputShape: [96, 96, 3],
    layers: [
      { kind: "conv2d", name: "conv", filters: 8, size: 3, padding: "same" },
      { kind: "batchNorm", name: "norm" },
      { kind: "maxPool", name: "pool", window: 3 },
      { kind: "flatten", name: "flatten" },
      { kind: "dense", name: "last", units: 3, activation: "softmax" },
    ],
  } satisfies ModelSpec as ModelSpec,
  of: {
    ...{ N: 2, labelled: 2, isTaught: false, dropout: null, isTuning: false, isHooked: false, seed: 96 },
    plan: {
      ...({ learningRate: 0.01, optimizer: "sgd", proximal: 0, clipNorm: 0 } as const),
      ...({ layers: "all", batchNorm: "average" } as const),
    },
  },
};

test("our kernels on WebGPU give what tfjs's own operations give, whatever the model, and the same bits again", async () => {
  test.setTimeout(600_000);
  const { page, close } = await openPage(["--enable-unsafe-webgpu"]);
  await page.evaluate(() => {
    Object.assign(window, { exact: window.harness.worker() });
  });
  await fc.assert(
    fc.asyncProperty(trial, async ({ spec, of }) => {
      const { errors, isRepeated } = await page.evaluate(
        ([spec, of]) =>
          (window as unknown as { exact: ReturnType<Window["harness"]["worker"]> }).exact.modelErrors(spec, of),
        [spec, of] as const,
      );
      expect(isRepeated).toBe(true);
      for (const [name, error] of Object.entries(errors)) {
        // Adam makes a whole step of a gradient that is next to nothing, with either sign.
        const isCoarse = of.plan.optimizer === "adam" && !name.startsWith("gradient") && name !== "loss";
        expect(error, `${name} of ${JSON.stringify([spec, of])}`).toBeLessThan(isCoarse ? 0.05 : 1e-4);
      }
    }),
    // Always the same models: where a sum falls beside zero or beside its neighbour in a window by its last digit alone, ReLU or
    // pooling sends a whole gradient elsewhere, and among many drawn models that comes up.
    { numRuns: 8, seed: 28, endOnFailure: true, examples: [[largest]] },
  );
  await close();
});

test("the same seed and data give the same bits on WASM, dropout on", async () => {
  const { page, close } = await openPage();
  const hashes = await page.evaluate(() => window.harness.worker().repeat(3));
  await close();
  expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(hashes[1]).toBe(hashes[0]);
});

test("a training that is paused and resumed in another worker ends in the same bits", async () => {
  const { page, close } = await openPage();
  const { hash: straight } = await page.evaluate(() => window.harness.trainedDelta(null));
  for (const pauseAt of [2, 6]) {
    const { hash } = await page.evaluate((batch) => window.harness.trainedDelta(batch), pauseAt);
    expect(hash).toBe(straight);
  }
  // And with all that a client can be told to do; the optimizer remembers its moments.
  for (const plan of [
    { optimizer: "adam", learningRate: 1e-5, proximal: 0.1, clipNorm: 5, augment: true, balanceLabels: true },
    { optimizer: "momentum", layers: "head" },
    // Ten times as fast and a training of noise diverges or not by the last digit of its first batches.
    { patience: 1, epochs: 5, learningRate: 0.005 },
  ] as const) {
    const [whole, paused] = await page.evaluate(
      async (plan) => [await window.harness.trainedDelta(null, plan), await window.harness.trainedDelta(3, plan)],
      plan,
    );
    expect(paused).toEqual(whole);
    expect(whole.hash).not.toBe(straight);
  }
  await close();
});

test("a training that gets worse on the held-out faces stops, and gives its best epoch", async () => {
  const { page, close } = await openPage();
  // Noise that cannot be learned: more epochs only make the held-out face's loss worse.
  const plan = { learningRate: 0.02, epochs: 40 };
  const stopped = await page.evaluate((plan) => window.harness.trainedDelta(null, { ...plan, patience: 2 }), plan);
  expect(stopped.epochs).toBeLessThan(plan.epochs);
  const best = await page.evaluate(([plan, epochs]) => window.harness.trainedDelta(null, { ...plan, epochs }), [
    plan,
    stopped.epochs - 2,
  ] as const);
  // The measures of the last epoch differ; the weights are those of two epochs earlier.
  expect(stopped.hash.slice(0, 64)).toBe(best.hash.slice(0, 64));
  expect(stopped.heldOutAfter).toEqual(best.heldOutAfter);
  const { confusion, examples } = stopped.heldOutAfter;
  expect(confusion.flat().reduce((a, b) => a + b)).toBe(examples);
  await close();
});

test("fifty epochs leave no tensor behind", async () => {
  const { page, close } = await openPage();
  const counts = await page.evaluate(() => window.harness.worker().tensorsByEpoch(50));
  await close();
  expect(counts).toHaveLength(50);
  expect(new Set(counts).size).toBe(1);
});
