/** Whether something that is measured again and again stays as it is. */

export interface Sample {
  /** What it is measured against: rounds, here. */
  at: number;
  value: number;
}

/** What a measure may grow by. */
export interface Allowance {
  /** Over a whole half, by chance. */
  chance: number;
  /** With each step of `at`, by design. */
  each?: number;
}

export interface Trend {
  /** By how much it grew with each step, in the first half of the samples and in the second. */
  slopes: [first: number, second: number];
  isFlat: boolean;
}

/** Of two samples in a row nothing can be said. */
const FEWEST = 3;

/**
 * Theil and Sen's slope: the median of the slopes between any two samples, which a third of outliers does not move (Sen 1968,
 * JASA 63). @throws RangeError for fewer than two samples at different places
 */
export function slopeOf(samples: readonly Sample[]): number {
  const slopes = samples.flatMap((from, i) =>
    samples.slice(i + 1).flatMap((to) => (to.at === from.at ? [] : [(to.value - from.value) / (to.at - from.at)])),
  );
  slopes.sort((a, b) => a - b);
  const middle = slopes.length / 2;
  const [low, high] = [slopes[Math.ceil(middle) - 1], slopes[Math.floor(middle)]];
  if (low === undefined || high === undefined) throw new RangeError("One place has no slope.");
  return (low + high) / 2;
}

/**
 * Holds the second half of a series against the first. It is flat where its slope in the second half brings no more than it is allowed
 * to over that half, or is less than a quarter of that in the first: then it settles.
 * @throws RangeError for fewer than six samples
 */
export function trendOf(samples: readonly Sample[], { chance, each = 0 }: Allowance): Trend {
  const half = Math.floor(samples.length / 2);
  if (half < FEWEST) throw new RangeError(`${samples.length} samples are too few to tell anything.`);
  const second = samples.slice(-half);
  const slopes: Trend["slopes"] = [slopeOf(samples.slice(0, half)), slopeOf(second)];
  const width = (second.at(-1)?.at ?? 0) - (second[0]?.at ?? 0);
  return { slopes, isFlat: slopes[1] <= each + chance / width || slopes[1] < slopes[0] / 4 };
}
