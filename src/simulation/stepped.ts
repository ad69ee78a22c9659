import type { ModelSummary, TensorSpec } from "../model/model";
import type { BlockAverage } from "../federation/aggregation/robust-average";
import { shrinkage } from "../federation/aggregation/weights";
import { checkWeights } from "../federation/plausible";
import { normOf } from "../federation/privacy/clip";
import type { RoundConfig } from "../federation/protocol";
import { isKept, keptOf, optimizerOf } from "../federation/round/rule";
import { initialMoments, type ServerMoments } from "../federation/server-optimizers/optimizer";
import { optimizerRule } from "../federation/server-optimizers/registry";
import { stepModel } from "../federation/server-optimizers/step-model";
import type { Collected } from "./collect";
import type { LabConfig } from "./config";
import type { LabState } from "./simulation";

/** Whether a tensor stays as it is, whatever clients have made of it: of the round's own, or of the lab's moving statistics. */
export const keepOf =
  (config: Pick<LabConfig, "statistics">, rules: RoundConfig) =>
  (model: ModelSummary, tensor: TensorSpec): boolean =>
    isKept(model, tensor, keptOf(rules)) || (config.statistics === "never" && !tensor.trainable);

/** The weights that a round's average makes of a run's, and the optimizer's moments after it; or why nobody could use them. */
export async function stepped(
  { weights: base, moments: before }: LabState,
  model: ModelSummary,
  {
    rules,
    config,
    average,
    facts: { examples, meanSquare },
  }: { rules: RoundConfig; config: LabConfig; average: BlockAverage; facts: Collected["facts"] },
): Promise<{ weights: Float32Array<ArrayBuffer>; moments: ServerMoments | null } | { failure: string }> {
  const weights = base.slice();
  const optimizer = optimizerOf(rules);
  const moments = optimizerRule(optimizer.kind).remembers
    ? copyMoments(before ?? initialMoments(model.parameters, optimizer))
    : null;
  const keep = keepOf(config, rules);
  await stepModel(model, weights, {
    optimizer,
    average,
    meanSquare,
    share: shrinkage(examples, rules.prior),
    keep: (tensor) => keep(model, tensor),
    moments: (start, length) => Promise.resolve(moments && part(moments, start, length)),
  });
  try {
    checkWeights(model, weights, normOf(base));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { failure: error.message };
  }
  return { weights, moments };
}

const copyMoments = ({ first, second }: ServerMoments): ServerMoments => ({
  first: first.slice(),
  second: second.slice(),
});

const part = ({ first, second }: ServerMoments, start: number, length: number): ServerMoments => ({
  first: first.subarray(start, start + length),
  second: second.subarray(start, start + length),
});
