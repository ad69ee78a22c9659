import * as v from "valibot";
import { keepHead, liveHead, personalEntries, withOwnHead } from "./personal-layers";
import { examplesMean, type Strategy } from "./strategy";

const options = v.strictObject(personalEntries);

/**
 * FedPer (Arivazhagan et al. 2019, arXiv 1912.00818, algorithms 1 and 2): the layers before the last ones are averaged by examples, the
 * last ones belong to each client, which begins with those that it kept and trains both at once.
 */
export const fedper: Strategy<v.InferOutput<typeof options>> = {
  name: "fedper",
  options,
  live: liveHead,
  client: { beforeTraining: withOwnHead, afterTraining: keepHead },
  server: {
    aggregate: ({ model }, updates) => ({ delta: examplesMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
