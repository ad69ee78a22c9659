import * as v from "valibot";
import { plainMean, type Strategy } from "./strategy";

export const dittoEntries = {
  /** lambda: how strongly a client's own model is held to the shared one. */
  lambda: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(100)), 0.1),
} as const;
const options = v.strictObject(dittoEntries);

/**
 * Ditto (Li et al. 2021, arXiv 2012.04221, algorithm 1): the shared model is FedAvg's; beside it every client has a model v_k of its own,
 * which begins as w_t and is trained with the gradient of `F_k(v) + lambda / 2 |v - w_t|^2` in each of its rounds.
 */
export const ditto: Strategy<v.InferOutput<typeof options>> = {
  name: "ditto",
  options,
  live: {
    keeps: ({ model }) => ({ own: model.parameters }),
    plays: "own-model",
    playedWith: (_context, weights, { own }) => Float32Array.from(own ?? weights),
    backends: ["wasm", "webgpu"],
  },
  client: {
    personal: {
      name: "own",
      start: ({ state, global }) => Float32Array.from(state["own"] ?? global),
      gradientHook:
        ({ global, options: { lambda } }) =>
        (gradient, weights) => {
          for (let i = 0; i < gradient.length; i++) {
            gradient[i] = (gradient[i] as number) + lambda * ((weights[i] as number) - (global[i] as number));
          }
        },
    },
  },
  server: {
    aggregate: ({ model }, updates) => ({ delta: plainMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
