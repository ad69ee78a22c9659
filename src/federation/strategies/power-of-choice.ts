import * as v from "valibot";
import { plainMean, type Strategy } from "./strategy";

const options = v.strictObject({
  /** d / m: how many candidates are asked for their loss for each client that trains. */
  choices: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(100)), 2),
});

/**
 * Power-of-Choice (Cho et al. 2022, arXiv 2010.01243, section 3.2): of d candidates, drawn without replacement by their shares of the
 * data, the m with the largest loss of w_t on their own examples train, and the next weights are the plain mean of theirs.
 */
export const powerOfChoice: Strategy<v.InferOutput<typeof options>> = {
  name: "power-of-choice",
  options,
  client: {},
  server: {
    candidates: ({ options: { choices } }, size) => Math.ceil(choices * size),
    select(_context, candidates, losses) {
      const order = [...candidates.keys()].sort((a, b) => (losses[b] ?? 0) - (losses[a] ?? 0));
      return order.map((i) => candidates[i] as number);
    },
    aggregate: ({ model }, updates) => ({ delta: plainMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [], losses: true },
};
