import { EXPRESSIONS, type Label } from "../model/expressions";
import { QUANTILES } from "./quantiles";

/** From this score on a take is good, and a row of them goes on. */
export const GOOD = 60;

const NEUTRAL = EXPRESSIONS.indexOf("neutral");

/**
 * How convincing a face is among real faces that show the same expression: the share of them to which the model gives less
 * probability. Expressions that the model finds hard are no harder to win than the easy ones.
 */
function rankOf(probability: number, quantiles: readonly number[]): number {
  const above = quantiles.findIndex((quantile) => quantile > probability);
  if (above < 0) return 1;
  if (above === 0) return 0;
  const [low, high] = [quantiles[above - 1] ?? 0, quantiles[above] ?? 1];
  return (above - 1 + (probability - low) / (high - low)) / (quantiles.length - 1);
}

/**
 * Score of a take in whole per cent. With r, the share of real faces that convince the model less, it is 1 - (1 - r)^2: the median
 * face gets 75, the best tenth 99. A face that shows neutral rather than the prompt is not acted, and stays below {@link GOOD}: its
 * score is at most {@link GOOD} times its probability's share of neutral's. A model of which no such faces are known scores with its
 * bare probability.
 */
export function scoreOf(probabilities: readonly number[], prompt: Label, model: string | undefined): number {
  const probability = probabilities[prompt] ?? 0;
  const quantiles = model && QUANTILES[model]?.[prompt];
  if (!quantiles) return Math.round(100 * probability);
  const score = Math.round(100 * (1 - (1 - rankOf(probability, quantiles)) ** 2));
  const neutral = probabilities[NEUTRAL] ?? 0;
  return probability < neutral ? Math.min(score, Math.floor((GOOD * probability) / neutral)) : score;
}

/** Why a take got its score: how many of a hundred real faces of that expression convince the model less, or that it shows none. */
export type Reason = { kind: "rank"; of100: number } | { kind: "neutral" };

/** Why {@link scoreOf} gives what it gives; null where nothing plain can be said. */
export function reasonFor(probabilities: readonly number[], prompt: Label, model: string | undefined): Reason | null {
  const quantiles = model && QUANTILES[model]?.[prompt];
  if (!quantiles) return null;
  const probability = probabilities[prompt] ?? 0;
  const neutral = probabilities[NEUTRAL] ?? 0;
  if (probability < neutral) return neutral === Math.max(...probabilities) ? { kind: "neutral" } : null;
  return { kind: "rank", of100: Math.round(100 * rankOf(probability, quantiles)) };
}
