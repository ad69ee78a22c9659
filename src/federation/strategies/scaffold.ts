import * as v from "valibot";
import { plainMean, type Strategy, type Vectors } from "./strategy";

const options = v.strictObject({
  /** eta_g */
  serverLearningRate: v.optional(v.pipe(v.number(), v.gtValue(0), v.maxValue(100)), 1),
});

const vector = (vectors: Vectors, name: string, length: number): Float32Array =>
  vectors[name] ?? new Float32Array(length);

/**
 * SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1 with option II): every client holds a control variate c_i, the server
 * their mean c. A client steps by `g - c_i + c`; after K steps `c_i+ = c_i - c + (x - y_i) / (K eta_l)`. The server takes
 * `x += eta_g mean_S (y_i - x)` and `c += |S| / N mean_S (c_i+ - c_i)`. All clients count the same.
 */
export const scaffold: Strategy<v.InferOutput<typeof options>> = {
  name: "scaffold",
  options,
  live: {
    keeps: ({ model }) => ({ control: model.parameters }),
    plays: "shared-corrected",
    backends: ["wasm", "webgpu"],
    server: {
      seesUpdates: true,
      // What is remembered is N c, the sum of all c_i, which stays what it is where N becomes another.
      told: ({ clients }, memory) => ({ control: memory.map((value) => value / clients) }),
      // No client sends its change of c_i: by option II it is `-c - delta_i / (K_i eta_l)`, which the server finds itself.
      step({ clients }, { weights, memory, mean, updates, perStep, learningRate, serverLearningRate }) {
        for (let i = 0; i < weights.length; i++) {
          const sum = memory[i] as number;
          memory[i] = sum - (updates * sum) / clients - (perStep[i] as number) / learningRate;
          weights[i] = (weights[i] as number) + serverLearningRate * (mean[i] as number);
        }
      },
    },
  },
  client: {
    init: ({ model }) => ({ control: new Float32Array(model.parameters) }),
    gradientHook({ state, broadcast, model }) {
      const own = vector(state, "control", model.parameters);
      const all = vector(broadcast, "control", model.parameters);
      return (gradient) => {
        for (let i = 0; i < gradient.length; i++) {
          gradient[i] = (gradient[i] as number) - (own[i] as number) + (all[i] as number);
        }
      };
    },
    afterTraining({ state, broadcast, global, model, steps, learningRate }, trained) {
      const own = vector(state, "control", model.parameters);
      const all = vector(broadcast, "control", model.parameters);
      const control = new Float32Array(model.parameters);
      const change = new Float32Array(model.parameters);
      for (const { offset, size, trainable } of model.tensors) {
        // Statistics have no gradient, and so no variate of it.
        if (!trainable) continue;
        for (let i = offset; i < offset + size; i++) {
          const slope = ((global[i] as number) - (trained[i] as number)) / (steps * learningRate);
          control[i] = (own[i] as number) - (all[i] as number) + slope;
          change[i] = (control[i] as number) - (own[i] as number);
        }
      }
      return { state: { control }, sent: { change } };
    },
  },
  server: {
    init: ({ model }) => ({ control: new Float32Array(model.parameters) }),
    aggregate({ model, clients, options: { serverLearningRate } }, updates, state) {
      const control = vector(state, "control", model.parameters).slice();
      for (const { sent } of updates) {
        const change = vector(sent, "change", model.parameters);
        for (let i = 0; i < control.length; i++) control[i] = (control[i] as number) + (change[i] as number) / clients;
      }
      const delta = plainMean(updates, model.parameters).map((value) => value * serverLearningRate);
      return { delta, state: { control } };
    },
  },
  wire: { down: ["control"], up: ["change"] },
};
