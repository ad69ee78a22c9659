import type { DreamVerdict, Evidence } from "../guard";
import type { Member, RoundConfig, RoundState } from "../protocol";

/** What a round is at one moment: all that decides what becomes of it next. Plain data, read from wherever a round is kept. */
export interface RoundLife {
  number: number;
  state: RoundState;
  /** What its clients were promised. */
  config: RoundConfig;
  /** Unix times in milliseconds, as all times here. */
  openedAt: number;
  /** When the cohort is drawn from those who wait; null until enough do. */
  selectAt: number | null;
  trainingAt: number | null;
  /** Until when updates are taken. */
  deadline: number | null;
  /** Since when its updates are averaged. */
  aggregatingAt: number | null;
  evaluateUntil: number | null;
  endedAt: number | null;
  /** Version of the checkpoint that it has made. */
  candidate: number | null;
  /** Why it ended as it did, in words. */
  reason: string | null;
  /** Clients that wait to be drawn, while it selects. */
  waiting: number;
  /** Clients of which its cohort was drawn; null before the draw, and in async rounds. */
  drawnFrom: number | null;
  /** How many of its members are in each state. */
  tally: MemberCounts;
  /** What is known of the candidate, while it is evaluated. */
  evidence: readonly Evidence[];
  /** How the candidate answers on dreamed faces; null where nobody has looked. */
  dreams: DreamVerdict | null;
}

export type MemberState = Member["state"];
export type MemberCounts = Readonly<Record<MemberState, number>>;

/** A client's place in a round. */
export interface RoundMember {
  id: string;
  state: MemberState;
  /** Where it counts: in an async series perhaps another round than the open one. */
  round: number;
}

export const NO_MEMBERS: MemberCounts = { training: 0, uploaded: 0, counted: 0, dropped: 0, dead: 0 };

/** The longest that the averaging of a round may take: whatever fails for so long will not work any more. */
const AGGREGATING_MS = 600_000;

/** A new round: it waits for clients, or in async rounds takes them at once. */
export function beginRound(number: number, config: RoundConfig, now: number): RoundLife {
  const isAsync = config.mode === "async";
  return {
    number,
    state: isAsync ? "training" : "selecting",
    config,
    openedAt: now,
    selectAt: null,
    trainingAt: isAsync ? now : null,
    deadline: isAsync ? now + config.deadlineSeconds * 1000 : null,
    aggregatingAt: null,
    evaluateUntil: null,
    endedAt: null,
    candidate: null,
    reason: null,
    waiting: 0,
    drawnFrom: null,
    tally: NO_MEMBERS,
    evidence: [],
    dreams: null,
  };
}

export const isOver = ({ state }: Pick<RoundLife, "state">): boolean =>
  state === "published" || state === "rejected" || state === "abandoned";

/** When a round that waits for clients is given up. */
export const waitsUntil = ({ openedAt, config }: RoundLife): number => openedAt + config.waitSeconds * 1000;

/** When a round whose updates cannot be averaged is given up. */
export const aggregatesUntil = ({ aggregatingAt, config }: RoundLife): number =>
  (aggregatingAt ?? 0) + AGGREGATING_MS + (config.secure ? 3000 * config.secureStepSeconds : 0);

/** When the clock alone moves a round on; null once it is over. Every other state has such a time. */
export function dueAt(life: RoundLife): number | null {
  switch (life.state) {
    case "selecting":
      return Math.min(waitsUntil(life), life.selectAt ?? Infinity);
    case "training":
      return life.deadline;
    case "aggregating":
      return aggregatesUntil(life);
    case "evaluating":
      return life.evaluateUntil;
    default:
      return null;
  }
}

/** Clients that a round waits for: then it can be drawn. */
export const wantedClients = ({ goalCount, fraction }: Pick<RoundConfig, "goalCount" | "fraction">): number =>
  Math.ceil(goalCount / fraction);

/** Of a cohort, or of the updates at the deadline: fewer than half of the goal make no round. */
export const quorumOf = ({ goalCount }: Pick<RoundConfig, "goalCount">): number => Math.ceil(goalCount / 2);

/** Evaluations that a candidate waits for: those that were asked for, or what its cohort can give where that is less. */
export const wantedEvaluations = ({ config, tally }: Pick<RoundLife, "config" | "tally">): number =>
  Math.min(config.evaluators, Math.max(1, tally.counted));

/** Clients that may be at work for an async round at once. */
export const mostAtWork = ({ goalCount, overSelection }: Pick<RoundConfig, "goalCount" | "overSelection">): number =>
  Math.ceil(goalCount * overSelection);

/** Since when a client must have begun to count as at work: who is silent for half of a round keeps nobody out any more. */
export const atWorkSince = ({ deadlineSeconds }: Pick<RoundConfig, "deadlineSeconds">, now: number): number =>
  now - deadlineSeconds * 500;
