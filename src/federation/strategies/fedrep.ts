import * as v from "valibot";
import { headOf, keepHead, liveHead, personalEntries, withOwnHead } from "./personal-layers";
import { plainMean, type Strategy } from "./strategy";

export const fedrepEntries = {
  ...personalEntries,
  /** Epochs in which the head is trained, before the round's own epochs, in which the body is. Ten in the paper's section 5. */
  headEpochs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 10),
} as const;
const options = v.strictObject(fedrepEntries);

/**
 * FedRep (Collins et al. 2021, arXiv 2102.07078, algorithm 1): a client first trains its own head with the body as it came, then the body
 * with that head, and sends the body; the server takes the mean of bodies. What is held has no gradient; a body's statistics of batch
 * normalization follow the batches all the same.
 */
export const fedrep: Strategy<v.InferOutput<typeof options>> = {
  name: "fedrep",
  options,
  live: liveHead,
  client: {
    epochs: ({ options: { headEpochs } }, planned) => headEpochs + planned,
    beforeTraining: withOwnHead,
    gradientHook(context) {
      const { steps, epochs, options, done = 0 } = context;
      const head = headOf(context);
      let left = (steps / epochs) * options.headEpochs - done;
      return (gradient) => {
        if (left > 0) {
          const parts = head.map(({ offset, size }) => [offset, gradient.slice(offset, offset + size)] as const);
          gradient.fill(0);
          for (const [offset, part] of parts) gradient.set(part, offset);
        } else {
          for (const { offset, size } of head) gradient.fill(0, offset, offset + size);
        }
        left -= 1;
      };
    },
    afterTraining: keepHead,
  },
  server: {
    aggregate: ({ model }, updates) => ({ delta: plainMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
