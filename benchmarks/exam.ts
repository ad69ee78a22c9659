import { EXPRESSIONS, type Label } from "../src/model/expressions";

/** The columns of FER+'s votes (Barsoum et al. 2016, arXiv 1608.01041) in this project's files. */
export const VOTE_COLUMNS = [...EXPRESSIONS, "contempt", "unknown", "not_a_face"] as const;

/** How often people named each of {@link VOTE_COLUMNS} for a face; all zero where nobody was asked. */
export type Votes = readonly number[];

/**
 * The votes of a file, one face a row.
 * @throws Error where the header is another, or a row does not hold ten whole numbers or ten empty cells
 */
export function parseVotes(csv: string): Votes[] {
  const [header = "", ...lines] = csv.trim().split(/\r?\n/);
  if (header !== VOTE_COLUMNS.join()) {
    throw new Error(`The votes' first line is not ${VOTE_COLUMNS.join()}.`);
  }
  return lines.map((line, i) => {
    const cells = line.split(",");
    const counts = cells.map(Number);
    if (cells.length !== VOTE_COLUMNS.length || !counts.every((count) => Number.isInteger(count) && count >= 0)) {
      throw new Error(`The votes' line ${i + 2} does not hold ten counts: ${line}`);
    }
    return counts;
  });
}

/** The expression that more people name than anything else; null where there is none: a tie, another answer, no votes. */
export function majorityOf(votes: Votes): Label | null {
  const most = Math.max(...votes);
  const winner = votes.indexOf(most);
  const clear = most > 0 && votes.lastIndexOf(most) === winner && winner < EXPRESSIONS.length;
  return clear ? (winner as Label) : null;
}

/** How the votes for the seven expressions divide; null where fewer than half of the votes are for any of them. */
export function sharesOf(votes: Votes): number[] | null {
  const seven = votes.slice(0, EXPRESSIONS.length);
  const sum = seven.reduce((a, b) => a + b, 0);
  const cast = votes.reduce((a, b) => a + b, 0);
  return sum > 0 && 2 * sum > cast ? seven.map((count) => count / sum) : null;
}

export interface Agreement {
  faces: number;
  accuracy: number;
}

export interface Marks extends Agreement {
  /** Of each expression's faces, the share that was recognized; null of one without faces. */
  recall: (number | null)[];
  /** Rows are the expressions, columns the answers. */
  confusion: number[][];
  /** Expected calibration error over ten bins (Guo et al. 2017, arXiv 1706.04599), 0..1. */
  calibrationError: number;
}

/** How answers, seven probabilities a face, compare with one right expression a face; faces without one do not count. */
export function mark(answers: readonly (readonly number[])[], right: readonly (number | null)[]): Marks {
  const confusion = EXPRESSIONS.map(() => EXPRESSIONS.map(() => 0));
  const bins = Array.from({ length: 10 }, () => ({ confidence: 0, right: 0 }));
  let faces = 0;
  answers.forEach((answer, i) => {
    const label = right[i];
    if (label === null || label === undefined) return;
    const confidence = Math.max(...answer);
    const guess = answer.indexOf(confidence);
    const row = confusion[label];
    const bin = bins[Math.min(9, Math.floor(confidence * 10))];
    if (!row || !bin) throw new Error(`${label} is not one of the seven expressions.`);
    row[guess] = (row[guess] ?? 0) + 1;
    bin.confidence += confidence;
    bin.right += Number(guess === label);
    faces += 1;
  });
  const hits = confusion.map((row, i) => row[i] ?? 0);
  const counts = confusion.map((row) => row.reduce((a, b) => a + b, 0));
  return {
    faces,
    accuracy: hits.reduce((a, b) => a + b, 0) / Math.max(1, faces),
    recall: hits.map((hit, i) => (counts[i] ? hit / counts[i] : null)),
    confusion,
    calibrationError: bins.reduce((sum, bin) => sum + Math.abs(bin.confidence - bin.right), 0) / Math.max(1, faces),
  };
}

/** Mean cross-entropy of answers against how people's votes divide, in nats; faces without shares do not count. */
export function crossEntropy(
  answers: readonly (readonly number[])[],
  shares: readonly (readonly number[] | null)[],
): number {
  let sum = 0;
  let faces = 0;
  answers.forEach((answer, i) => {
    const share = shares[i];
    if (!share) return;
    faces += 1;
    sum -= share.reduce((a, part, k) => a + (part > 0 ? part * Math.log(Math.max(1e-7, answer[k] ?? 0)) : 0), 0);
  });
  return sum / Math.max(1, faces);
}

/** From how many of ten votes for the winner on a group of faces begins. */
export const AGREEMENTS = { "10 of 10": 10, "8 or 9": 8, "6 or 7": 6, fewer: 0 } as const;

/** Accuracy by how far people agree, on the faces that have a majority. */
export function byAgreement(
  answers: readonly (readonly number[])[],
  votes: readonly Votes[],
): Record<keyof typeof AGREEMENTS, Agreement> {
  const groups = Object.entries(AGREEMENTS).map(([name, least], i, all) => {
    const most = all[i - 1]?.[1] ?? Infinity;
    const right = votes.map((row) => {
      const share = (10 * Math.max(...row)) / row.reduce((a, b) => a + b, 0);
      return share >= least && share < most ? majorityOf(row) : null;
    });
    const { faces, accuracy } = mark(answers, right);
    return [name, { faces, accuracy }] as const;
  });
  return Object.fromEntries(groups) as Record<keyof typeof AGREEMENTS, Agreement>;
}
