import type { AggregationRule, LinearAggregation, RobustAggregation } from "./aggregation";
import { bulyan } from "./bulyan";
import { fednova } from "./fednova";
import { geometricMedian } from "./geometric-median";
import { krum, multiKrum } from "./krum";
import { mean } from "./mean";
import { qFair } from "./q-fair";
import { median, trimmedMean } from "./trimmed-mean";

/** Every rule that live rounds take, by the name that travels. */
export const AGGREGATIONS = {
  mean,
  "q-fair": qFair,
  fednova,
  median,
  "trimmed-mean": trimmedMean,
  krum,
  "multi-krum": multiKrum,
  bulyan,
  "geometric-median": geometricMedian,
} satisfies Record<string, AggregationRule>;
export type Aggregation = keyof typeof AGGREGATIONS;
export const AGGREGATION_NAMES = Object.keys(AGGREGATIONS) as [Aggregation, ...Aggregation[]];

export const aggregationOf = (name: Aggregation): AggregationRule => AGGREGATIONS[name];

/** @throws RangeError of a rule that needs every update at once */
export function linearOf(name: Aggregation): LinearAggregation {
  const rule = aggregationOf(name);
  if (!rule.isLinear) throw new RangeError(`${name} is no sum.`);
  return rule;
}

/** @throws RangeError of a rule that is a sum */
export function robustOf(name: Aggregation): RobustAggregation {
  const rule = aggregationOf(name);
  if (rule.isLinear) throw new RangeError(`${name} is a sum.`);
  return rule;
}

/** Whether updates are compared with one another, and so all kept until the round is averaged. */
export const isRobust = ({ aggregation }: { aggregation: Aggregation }): boolean =>
  !aggregationOf(aggregation).isLinear;

/** Whether a client has to say F_k(w_t), the loss of the base checkpoint on its training faces. */
export function needsInitialLoss({ aggregation }: { aggregation: Aggregation }): boolean {
  const rule = aggregationOf(aggregation);
  return rule.isLinear && rule.needsInitialLoss;
}

/** Whether an update's weight follows from the steps that its client has taken. */
export function needsSteps({ aggregation }: { aggregation: Aggregation }): boolean {
  const rule = aggregationOf(aggregation);
  return rule.isLinear && rule.needsSteps;
}
