import * as v from "valibot";
import { examplesMean, type Strategy } from "./strategy";

export const moonEntries = {
  /** mu: how much the contrastive loss counts beside the labels'. The paper's best are 1, 5 and 10. */
  mu: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100)), 1),
  /** tau */
  temperature: v.optional(v.pipe(v.number(), v.minValue(0.01), v.maxValue(100)), 0.5),
} as const;
const options = v.strictObject(moonEntries);

/**
 * MOON (Li, He and Song 2021, arXiv 2103.16257, algorithm 1): FedAvg whose clients add `mu` times a loss that draws what their network makes
 * of an example to what w_t makes of it, and away from what the client's own model of its last round does. Who has had none is drawn nowhere.
 * The paper puts a projection head before the last layer; here what goes into the last layer is compared.
 */
export const moon: Strategy<v.InferOutput<typeof options>> = {
  name: "moon",
  options,
  live: {
    keeps: ({ model }) => ({ previous: model.parameters }),
    plays: "shared-model",
    // Our kernels on WebGPU keep what goes into the last layer to themselves.
    backends: ["wasm"],
  },
  client: {
    contrast: ({ state, global, options: { mu, temperature } }) => ({
      previous: state["previous"] ?? global,
      weight: mu,
      temperature,
    }),
    afterTraining: (_context, trained) => ({ state: { previous: Float32Array.from(trained) } }),
  },
  server: {
    aggregate: ({ model }, updates) => ({ delta: examplesMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
