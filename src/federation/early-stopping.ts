/** Early stopping across rounds, by the loss of each round's candidate on faces that nobody trained on. */

export interface StoppingRules {
  /** Rounds without an improvement that make a plateau. 0 never stops. */
  stopPatience: number;
  /** A loss must be lower than the best by more than this to count as better. */
  stopDelta: number;
}

/**
 * How many rounds ago the best loss was seen, over the evaluated rounds of a run in their order (Prechelt 1998, "Early
 * Stopping – But When?", the UP criterion with a minimum change).
 */
export function staleRounds(losses: readonly number[], { stopDelta }: StoppingRules): number {
  let best = Infinity;
  let stale = 0;
  for (const loss of losses) {
    if (loss < best - stopDelta) {
      best = loss;
      stale = 0;
    } else stale += 1;
  }
  return stale;
}

/** Whether a run has come to a plateau. */
export const isPlateau = (losses: readonly number[], rules: StoppingRules): boolean =>
  rules.stopPatience > 0 && staleRounds(losses, rules) >= rules.stopPatience;
