import * as v from "valibot";
import { examplesMean, type Strategy, type StrategyContext } from "./strategy";

const options = v.strictObject({
  /** Dense layers at the end that each client keeps to itself. */
  personalLayers: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10)), 1),
});
type Options = v.InferOutput<typeof options>;

/** Where the tensors of the personal layers lie. */
function personal({
  model,
  options: { personalLayers },
}: StrategyContext<Options>): { offset: number; size: number }[] {
  const layers = [...new Set(model.tensors.map(({ name }) => name.split("/")[0]))].slice(-personalLayers);
  return model.tensors.filter(({ name }) => layers.includes(name.split("/")[0]));
}

/**
 * FedPer (Arivazhagan et al. 2019, arXiv 1912.00818, algorithms 1 and 2): the layers before the last ones are averaged by examples, the
 * last ones belong to each client, which begins with those that it kept.
 */
export const fedper: Strategy<Options> = {
  name: "fedper",
  options,
  client: {
    beforeTraining(context) {
      const weights = Float32Array.from(context.global);
      const head = context.state["head"];
      let at = 0;
      for (const { offset, size } of head ? personal(context) : []) {
        weights.set((head as Float32Array).subarray(at, (at += size)), offset);
      }
      return weights;
    },
    afterTraining(context, trained) {
      const parts = personal(context);
      const head = new Float32Array(parts.reduce((sum, { size }) => sum + size, 0));
      const delta = trained.map((value, i) => value - (context.global[i] as number));
      let at = 0;
      for (const { offset, size } of parts) {
        head.set(trained.subarray(offset, offset + size), at);
        delta.fill(0, offset, offset + size);
        at += size;
      }
      return { state: { head }, delta };
    },
  },
  server: {
    aggregate: ({ model }, updates) => ({ delta: examplesMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
