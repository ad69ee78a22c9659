import type { Round } from "./protocol";

/** The columns of a round's line, each with what stands in it. */
const COLUMNS: Record<string, (round: Round) => string | number | null> = {
  round: ({ number }) => number,
  state: ({ state }) => state,
  base_version: ({ base }) => base.version,
  version: ({ checkpoint }) => checkpoint?.version ?? null,
  selected: ({ tally }) => tally?.selected ?? null,
  counted: ({ tally }) => tally?.counted ?? null,
  refused: ({ refused, tally }) => tally && Object.values(refused).reduce((a, b) => a + b, 0),
  train_loss: ({ trainLoss }) => trainLoss,
  train_accuracy: ({ trainAccuracy }) => trainAccuracy,
  held_out_loss: ({ evalLoss }) => evalLoss,
  held_out_accuracy: ({ evalAccuracy }) => evalAccuracy,
  candidate_loss: ({ evaluation }) => evaluation?.loss ?? null,
  candidate_accuracy: ({ evaluation }) => evaluation?.accuracy ?? null,
  bytes_up: ({ tally }) => tally?.bytesUp ?? null,
  bytes_down: ({ tally }) => tally?.bytesDown ?? null,
  codec: ({ config }) => config.codec,
  opened_at: ({ openedAt }) => new Date(openedAt).toISOString(),
  seconds: ({ openedAt, endedAt }) => (endedAt === null ? null : (endedAt - openedAt) / 1000),
};

/** Rounds as CSV (RFC 4180), one in a line; what is not known is empty. */
export function roundsToCsv(rounds: readonly Round[]): string {
  const lines = rounds.map((round) =>
    Object.values(COLUMNS)
      .map((column) => column(round) ?? "")
      .join(","),
  );
  return `${[Object.keys(COLUMNS).join(","), ...lines].join("\r\n")}\r\n`;
}

/** A quantile of some numbers, between two of them by their distance; null of none. */
export function quantile(values: readonly number[], q: number): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low === undefined || high === undefined ? null : low + (at - Math.floor(at)) * (high - low);
}
