/**
 * The guard of what is published: a round's candidate becomes the model that everybody gets only when it is seen to be no worse than
 * its base. Three kinds of evidence speak: the faces that clients hold out, the operator's own labelled faces where there are any,
 * and dreamed faces, which do not depend on who came. Nobody can be made to evaluate, so that silence is no consent.
 */

/** Who has evaluated: a member of the round's cohort, a client that was not in it, or the operator. */
export const EVIDENCE_KINDS = ["cohort", "others", "operator"] as const;
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];

/** What one evaluator says: mean losses and accuracies of candidate and base on the same labelled faces. */
export interface Evidence {
  kind: EvidenceKind;
  examples: number;
  loss: number;
  accuracy: number;
  baseLoss: number;
  baseAccuracy: number;
  /** Of the operator: the best accuracy that a published version had on as many faces. */
  best?: number | undefined;
}

/** How a candidate answers on the dreamed faces that come with the app, held against its base: the edge looks at that itself. */
export interface DreamVerdict {
  /** Share of the dreams that both take for the same expression, 0..1. */
  agreement: number;
  /** Mean Kullback-Leibler divergence of the candidate's answers from the base's, in nats. */
  divergence: number;
}

/**
 * Compares what two models say of the same pictures.
 * @param base and `candidate`: logits, one row of `classes` after the other
 */
export function compareAnswers(base: Float32Array, candidate: Float32Array, classes: number): DreamVerdict {
  const count = base.length / classes;
  let [same, divergence] = [0, 0];
  for (let at = 0; at < base.length; at += classes) {
    const [p, q] = [base, candidate].map((logits) => logProbabilities(logits.subarray(at, at + classes)));
    if (!p || !q) continue;
    if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) same += 1;
    p.forEach((log, i) => (divergence += Math.exp(log) * (log - (q[i] ?? 0))));
  }
  return { agreement: same / count, divergence: Math.max(0, divergence / count) };
}

function logProbabilities(logits: Float32Array): number[] {
  const most = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return Array.from(logits, (logit) => logit - most - Math.log(sum));
}

export interface GuardRules {
  /** Clients that should evaluate; 0 asks nobody. */
  evaluators: number;
  /** How much higher than the base's loss the candidate's may be; null: whatever it is. */
  tolerance: number | null;
  /** The least agreement on dreamed faces; 0 is off. */
  agreement: number;
  /** Whether nothing is published without the operator's evaluation. */
  awaitOperator: boolean;
  /** Faces of an evaluator that count at most: their number is its own word. */
  maxExamples: number;
  /** In a round with either, the words give no client's number away: the middle one of the evaluators is one of them. */
  secure?: boolean;
  noise?: number;
}

/** Faces of which the whole tolerance holds: of fewer or more it is tighter. */
const ENOUGH = 50;

/** Of so many of the operator's faces, by how much the accuracy may fall: what chance does to a mean, and never less than a point. */
const slackOf = (examples: number): number => Math.max(0.01, 0.5 / Math.sqrt(examples));

/**
 * Means over evaluators, each weighted by its faces, those of clients up to a cap.
 * @returns null where nobody has any face
 */
export function summarizeEvidence(
  evidence: readonly Evidence[],
  maxExamples: number,
): (Omit<Evidence, "kind" | "best"> & { clients: number }) | null {
  // The operator's number is no claim.
  const weights = evidence.map(({ kind, examples }) =>
    kind === "operator" ? examples : Math.min(examples, maxExamples),
  );
  const examples = weights.reduce((a, b) => a + b, 0);
  if (examples === 0) return null;
  const mean = (key: "loss" | "accuracy" | "baseLoss" | "baseAccuracy"): number =>
    evidence.reduce((sum, one, i) => sum + one[key] * (weights[i] ?? 0), 0) / examples;
  return {
    examples,
    clients: evidence.length,
    loss: mean("loss"),
    accuracy: mean("accuracy"),
    baseLoss: mean("baseLoss"),
    baseAccuracy: mean("baseAccuracy"),
  };
}

/**
 * By how much the loss rose, as the middle one of the evaluators has it, each with one voice: whoever lies moves it no further than
 * to what an honest neighbour says. Of two middle ones the worse counts.
 */
function middleRise(evidence: readonly Evidence[]): number {
  const rises = evidence.map(({ loss, baseLoss }) => loss - baseLoss).sort((a, b) => a - b);
  return rises[Math.floor(rises.length / 2)] ?? 0;
}

/**
 * By how much the loss may rise where so many voices speak. How many faces a client has is its own word: each voice counts as many as the
 * middle one says, so that a liar is one voice more and nothing else. Of two middle ones the one that allows less.
 */
function boundOf(
  tolerance: number,
  voices: readonly Evidence[],
  maxExamples: number,
): { bound: number; faces: number } {
  const own = voices.map(({ kind, examples }) => (kind === "operator" ? examples : Math.min(examples, maxExamples)));
  own.sort((a, b) => a - b);
  const middle = [own[Math.floor((own.length - 1) / 2)] ?? 0, own[Math.floor(own.length / 2)] ?? 0];
  const bounds = middle.map((examples) => {
    const faces = examples * own.length;
    return { faces, bound: tolerance * Math.min(1, Math.sqrt(faces / ENOUGH), Math.sqrt(ENOUGH / faces)) };
  });
  return bounds.reduce((a, b) => (b.bound < a.bound ? b : a));
}

const percent1 = (share: number): string => `${(share * 100).toFixed(1)} %`;

/**
 * Why a candidate must not be published, in words; null where nothing speaks against it.
 *
 * The tolerance shrinks with the root of the faces behind it where they are few: few evaluators make the bound tighter, not absent, the
 * operator's too. Where they are many it shrinks again, as the error of a mean does, so that a little harm is seen that would add up over rounds. What the
 * operator's faces say is no claim: on them the accuracy counts too, also beside the best version that was published, however many rounds ago.
 * @param dreams null where the base has not learned anything yet, so that its answers say nothing
 */
export function objectionTo(
  evidence: readonly Evidence[],
  dreams: DreamVerdict | null,
  { evaluators, tolerance, agreement, awaitOperator, maxExamples, secure = false, noise = 0 }: GuardRules,
): string | null {
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
  if (dreams && dreams.agreement < agreement) {
    return (
      `It answers as its base does on ${percent(dreams.agreement)} of the dreamed faces; ${percent(agreement)} are needed. ` +
      "It has forgotten too much."
    );
  }
  if (evaluators > 0 && evidence.length === 0) return "Nobody evaluated it in time.";
  const byOperator = ({ kind }: Evidence): boolean => kind === "operator";
  if (awaitOperator && !evidence.some(byOperator)) return "The operator's evaluator did not answer in time.";
  if (tolerance === null) return null;
  for (const { examples, accuracy, baseAccuracy, best = 0 } of evidence.filter(byOperator)) {
    const before = Math.max(baseAccuracy, best);
    if (examples < ENOUGH || accuracy >= before - slackOf(examples)) continue;
    return (
      `It is worse on the operator's faces: ${percent1(accuracy)} of ${examples} are recognized, ` +
      `${percent1(before)} were by ${best > baseAccuracy ? "an earlier version" : "its base"}.`
    );
  }
  const groups = [
    { whose: "the operator's faces", voices: evidence.filter(byOperator), isPrivate: false },
    {
      whose: "the clients' held-out faces",
      voices: evidence.filter((one) => !byOperator(one)),
      isPrivate: secure || noise > 0,
    },
  ];
  for (const { whose, voices, isPrivate } of groups) {
    const { bound, faces } = boundOf(tolerance, voices, maxExamples);
    const rise = middleRise(voices);
    if (faces === 0 || rise <= bound) continue;
    if (isPrivate) return `It is worse on ${whose}: their loss rose by more than is allowed.`;
    return (
      `It is worse on ${whose}: the loss rose by ${rise.toFixed(4)}, and by their number (${faces}, ` +
      `evaluated by ${voices.length}) ${bound.toFixed(4)} would do.`
    );
  }
  return null;
}
