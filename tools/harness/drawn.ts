import fc from "fast-check";
import { summarize, type LayerSpec, type ModelSpec } from "../../src/model/model";

/** A model of a few layers that takes in pictures of 9 to 14 pixels, and what it is trained with. */
export const drawnTrial = fc
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
    tile: fc.nat(10),
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
      tile,
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
      return {
        isWhole,
        spec,
        of: {
          plan,
          N,
          labelled,
          isTaught: hasUnlabelled,
          dropout,
          isTuning,
          tile: isTuning ? null : tile,
          isHooked,
          seed,
        },
      };
    },
  )
  // A window may not be larger than what it pools.
  .filter(({ isWhole }) => isWhole);
