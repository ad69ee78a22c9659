import type { Member, Round } from "../protocol";
import { isOver } from "./life";
import { hidesCohort, hidesUpdates } from "./rule";

/**
 * What anybody may see of a round, of all that its edge knows.
 *
 * In a round with noise, or with secure aggregation, nobody's numbers are told: of the clients only where they are, and of their
 * sums nothing before the round has ended. Means that grow with each client tell that client's numbers by their differences. What
 * noise is there to hide is not told after the end either: no noise is on those sums. Of a round whose cohort is a secret nothing is
 * told that depends on who was drawn: no members, no counts, no refusals.
 */
export function shown(round: Round): Round {
  const { config, tally } = round;
  if (!hidesUpdates(config)) return round;
  const told = { ...round, ...evaluatedOf(round), ...(config.noise > 0 || !isOver(round) ? NO_MEANS : {}) };
  if (hidesCohort(config)) return { ...told, cohort: [], refused: {}, tally: null };
  const cohort = round.cohort.map((member) => ({ ...member, ...UNTOLD }));
  // How well an update packs tells something of it.
  return { ...told, cohort, tally: tally && { ...tally, bytesUp: 0, bytesDown: 0 } };
}

export const NO_MEANS = {
  trainLoss: null,
  trainAccuracy: null,
  evalLoss: null,
  evalAccuracy: null,
  evalExamples: 0,
} satisfies Partial<Round>;

const UNTOLD = {
  examples: null,
  bytesUp: 0,
  bytesDown: 0,
  trainLoss: null,
  trainAccuracy: null,
  initialLoss: null,
  backend: null,
  norm: null,
  cosine: null,
} satisfies Partial<Member>;

/**
 * With noise the operator's evaluation alone, whose faces are nobody's secret; of a secure round the mean at its end, where it is of
 * several. A kind of evaluators may be a single client.
 */
function evaluatedOf(round: Round): Pick<Round, "evaluation" | "evidence"> {
  const { evaluation, evidence, config } = round;
  const { operator } = evidence;
  if (config.noise > 0) return { evaluation: operator ?? null, evidence: operator ? { operator } : {} };
  return { evaluation: isOver(round) && evaluation && evaluation.clients > 1 ? evaluation : null, evidence: {} };
}
