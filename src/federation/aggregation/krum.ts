import type { ComparedCohort, RobustAggregation } from "./aggregation";
import { weightedBlock } from "./blocks";

/** What Krum goes by: the lowest score, and of equal ones the lowest sum over all others. */
interface KrumScore {
  update: number;
  score: number;
  total: number;
}

const compareScores = (a: KrumScore, b: KrumScore): number =>
  a.score - b.score || a.total - b.total || a.update - b.update;

/**
 * Some updates by Krum's score (Blanchard et al. 2017, NeurIPS, "Machine Learning with Adversaries", section 4), the best first: the sum
 * of the squared distances to the `|among| - f - 2` nearest others, at least one. Where that is one, two that are each other's nearest
 * have the same score: the sum over all others decides between them, so that the order in which updates came decides nothing.
 */
export function byKrumScore(
  { distances, updates, byzantine }: ComparedCohort,
  among: readonly number[],
): readonly number[] {
  const near = Math.max(1, among.length - byzantine - 2);
  const sum = (values: readonly number[]): number => values.reduce((total, d) => total + d, 0);
  const scores = among.map((update) => {
    const others = among.filter((other) => other !== update).map((other) => distances[update * updates + other] ?? NaN);
    others.sort((x, y) => x - y);
    return { update, score: sum(others.slice(0, near)), total: sum(others) };
  });
  return scores.sort(compareScores).map(({ update }) => update);
}

/** Every update of a cohort, by its place. */
export const everyone = ({ updates }: Pick<ComparedCohort, "updates">): number[] =>
  Array.from({ length: updates }, (_, i) => i);

/** The mean of the updates with the lowest scores. */
function krumOf(keep: (cohort: ComparedCohort) => number): RobustAggregation {
  return {
    isLinear: false,
    needsDistances: true,
    seesUpdates: true,
    isForHubs: false,
    leastUpdates: (byzantine) => 2 * byzantine + 3,
    prepare(cohort) {
      const chosen = byKrumScore(cohort, everyone(cohort)).slice(0, keep(cohort));
      const weights = chosen.map(() => 1 / chosen.length);
      return { chosen: chosen.toSorted((a, b) => a - b), combine: (rows, out) => weightedBlock(rows, weights, out) };
    },
  };
}

/** The update with the lowest score. */
export const krum = krumOf(() => 1);
/** The mean of the n - f with the lowest. */
export const multiKrum = krumOf(({ updates, byzantine }) => updates - byzantine);
