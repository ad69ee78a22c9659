import * as v from "valibot";
import { plainMean, type Strategy, type Vectors } from "./strategy";

/** alpha: how strongly the clients' losses are aligned with the federation's. */
const alpha = v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(100)), 0.01);
const options = v.strictObject({ alpha });
/** As a round says it: the lab's alpha is Dirichlet's. */
export const feddynEntries = { alignment: alpha } as const;

const vector = (vectors: Vectors, name: string, length: number): Float32Array =>
  vectors[name] ?? new Float32Array(length);

/**
 * FedDyn (Acar et al. 2021, arXiv 2111.04263, algorithm 1): a client k minimizes `L_k(w) - <g_k, w> + alpha / 2 |w - w_t|^2` and keeps
 * `g_k -= alpha (w_k - w_t)`; the server keeps `h -= alpha / N sum_P (w_k - w_t)` and takes `w = mean_P w_k - h / alpha`.
 */
export const feddyn: Strategy<v.InferOutput<typeof options>> = {
  name: "feddyn",
  options,
  live: {
    keeps: ({ model }) => ({ slope: model.parameters }),
    plays: "shared-corrected",
    backends: ["wasm", "webgpu"],
    named: { alpha: "alignment" },
    server: {
      seesUpdates: false,
      // Slopes that a strong alpha has made would be, divided by a weak one, steps as many times too long.
      measuredBy: ["alignment"],
      // What is remembered is N h, the sum of all g_k, which stays what it is where N becomes another.
      step({ clients, options: { alpha } }, { weights, memory, mean, updates }) {
        for (let i = 0; i < weights.length; i++) {
          const delta = mean[i] as number;
          const sum = (memory[i] as number) - alpha * updates * delta;
          memory[i] = sum;
          weights[i] = (weights[i] as number) + delta - sum / (alpha * clients);
        }
      },
    },
  },
  client: {
    init: ({ model }) => ({ slope: new Float32Array(model.parameters) }),
    gradientHook({ state, global, model, options: { alpha } }) {
      const slope = vector(state, "slope", model.parameters);
      return (gradient, weights) => {
        for (let i = 0; i < gradient.length; i++) {
          const away = (weights[i] as number) - (global[i] as number);
          gradient[i] = (gradient[i] as number) - (slope[i] as number) + alpha * away;
        }
      };
    },
    afterTraining({ state, global, model, options: { alpha } }, trained) {
      const slope = vector(state, "slope", model.parameters).slice();
      for (const { offset, size, trainable } of model.tensors) {
        if (!trainable) continue;
        for (let i = offset; i < offset + size; i++) {
          slope[i] = (slope[i] as number) - alpha * ((trained[i] as number) - (global[i] as number));
        }
      }
      return { state: { slope } };
    },
  },
  server: {
    init: ({ model }) => ({ h: new Float32Array(model.parameters) }),
    aggregate({ model, clients, options: { alpha } }, updates, state) {
      const mean = plainMean(updates, model.parameters);
      const before = vector(state, "h", model.parameters);
      const h = before.map((value, i) => value - ((alpha * updates.length) / clients) * (mean[i] as number));
      return { delta: mean.map((value, i) => value - (h[i] as number) / alpha), state: { h } };
    },
  },
  wire: { down: [], up: [] },
};
