import type { Member, Round } from "../federation/protocol";
import { quantile } from "../federation/rounds-csv";

/** What a member is shown as: `lost` is one that was to train, and has let its deadline pass without a word. */
export type Standing = Member["state"] | "lost";

/** A member that was killed stays as it was until its round looks again: what its deadline says is not waited for. */
export function standingOf(member: Member, { config, deadline, endedAt }: Round, now: number): Standing {
  const { state, assignedAt, uploadedAt } = member;
  if (state === "dropped" && uploadedAt === null) {
    return deadline !== null && endedAt !== null && endedAt >= deadline ? "lost" : "dropped";
  }
  if (state !== "training") return state;
  const isLate = now > assignedAt + 1000 * config.deadlineSeconds;
  return isLate || (endedAt !== null && config.mode === "sync") ? "lost" : "training";
}

/** Whether a client has only said that it trained: the headless ones of `tools/` send numbers that mean nothing. */
export const isMadeUp = ({ backend }: Member): boolean => backend === "headless";

/** Fewer numbers than this have no middle to be far from. */
const FEWEST = 5;

/**
 * Which of some numbers lie far from the others, by the modified z-score of Iglewicz and Hoaglin (1993, "How to Detect and Handle
 * Outliers"): 0.6745 times the distance from the median, in median absolute deviations, above 3.5. A few liars do not move those.
 */
export function outliers(values: readonly (number | null)[]): boolean[] {
  const known = values.filter((value) => value !== null);
  const median = quantile(known, 0.5) ?? 0;
  const deviation = quantile(
    known.map((value) => Math.abs(value - median)),
    0.5,
  );
  if (known.length < FEWEST || !deviation) return values.map(() => false);
  return values.map((value) => value !== null && (0.6745 * Math.abs(value - median)) / deviation > 3.5);
}
