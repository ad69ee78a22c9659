/**
 * Rounds until a test accuracy is reached, as McMahan et al. 2017 count them (section 3): the learning curve is made monotonic
 * by taking the best value over all prior rounds, and crosses the target on the line between two evaluations.
 * @param curve round and accuracy of each evaluation, in order
 * @returns null where the curve stays below
 */
export function roundsTo(target: number, curve: readonly { round: number; accuracy: number }[]): number | null {
  let before = { round: 0, accuracy: 0 };
  for (const { round, accuracy } of curve) {
    if (accuracy >= target) {
      const share = (target - before.accuracy) / (accuracy - before.accuracy);
      return before.round + share * (round - before.round);
    }
    before = { round, accuracy: Math.max(before.accuracy, accuracy) };
  }
  return null;
}
