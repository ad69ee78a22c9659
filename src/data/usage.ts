/** What an example is for, in the words of those who share data sets: one vocabulary for every importer. */

/** null: nobody says. */
export type Usage = "train" | "test" | null;

const TRAIN = new Set(["train", "training", "trainset", "trainingset"]);
const TEST = new Set([
  ...["test", "testing", "testset", "publictest", "privatetest"],
  ...["val", "valid", "validation", "dev", "eval", "evaluation", "holdout", "heldout"],
]);

/**
 * What a word says, however it is written: `Training`, `train`, `PRIVATE_TEST`. Nothing at all says nothing.
 * @returns "unknown" for any other word
 */
export function usageOf(word: string): Usage | "unknown" {
  const plain = word.toLowerCase().replace(/[\s_.-]/g, "");
  if (plain === "") return null;
  if (TRAIN.has(plain)) return "train";
  return TEST.has(plain) ? "test" : "unknown";
}

/**
 * Examples of which the data set says what they are for: where all are for the same, it does not say which are for what else, and they are
 * shared out as where nothing is said.
 * @param counts which of them can be used at all
 */
export function splitAnew<T extends { usage: Usage }>(
  all: readonly T[],
  counts: (one: T) => boolean = () => true,
): T[] {
  const said = new Set(all.filter(counts).map(({ usage }) => usage));
  return said.size === 1 ? all.map((one) => ({ ...one, usage: null })) : [...all];
}
