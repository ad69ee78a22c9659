import { EXPRESSIONS, type Expression, type Label } from "../model/expressions";

export const REGIONS = ["brows", "eyes", "nose", "mouth"] as const;
export type Region = (typeof REGIONS)[number];

/**
 * The action units of FACS (Ekman and Friesen 1978) that make each expression, by the part of the face that moves: the prototypes
 * of Du, Tao and Martinez 2014 (PNAS 111 (15), table 1), with those that only some people use where they are plain to see.
 */
const UNITS: Record<Expression, Partial<Record<Region, readonly number[]>>> = {
  angry: { brows: [4], eyes: [7], mouth: [23, 24] },
  disgust: { nose: [9], mouth: [10, 17] },
  fear: { brows: [1, 2, 4], eyes: [5], mouth: [20, 25] },
  happy: { eyes: [6], mouth: [12, 25] },
  sad: { brows: [1, 4], mouth: [15] },
  surprise: { brows: [1, 2], eyes: [5], mouth: [25, 26] },
  neutral: {},
};

/** The parts of the face in which two expressions differ, the most different first. */
export function differences(wanted: Expression, seen: Expression): Region[] {
  const distance = (region: Region): number => {
    const [a, b] = [UNITS[wanted][region] ?? [], UNITS[seen][region] ?? []];
    const both = a.filter((unit) => b.includes(unit)).length;
    const either = a.length + b.length - both;
    return either === 0 ? 0 : 1 - both / either;
  };
  return REGIONS.filter((region) => distance(region) > 0).sort((a, b) => distance(b) - distance(a));
}

/** Whether an expression moves a part of the face, or leaves it at rest. */
export const moves = (expression: Expression, region: Region): boolean => UNITS[expression][region] !== undefined;

export type Advice =
  /** The model sees something else: this part of the face should change. */
  | { kind: "move"; seen: Expression; region: Region }
  /** It has become more convincing within the last second. */
  | { kind: "closer" }
  /** It is convincing: it should stay for as long again as `left` of {@link HOLD_MS}. */
  | { kind: "hold"; left: number }
  | { kind: "held" };

/** What the coach knows of one role. Times are milliseconds of one clock. */
export interface Coaching {
  /** The probabilities over the last moments, smoothed. */
  smooth: readonly number[];
  at: number;
  /** Smoothed probabilities of the role within {@link TREND_MS}, the oldest first. */
  trail: readonly { at: number; share: number }[];
  advice: Advice;
  /** Since when that advice stands. */
  since: number;
  goodSince: number | null;
}

/** How long the face must convince. */
export const HOLD_MS = 1500;
/** A time constant that a player does not feel, but under which the model's nerves settle. */
const SMOOTH_MS = 400;
const TREND_MS = 1000;
const RISE = 0.06;
/** An advice stands for so long that one can follow it; after that the next part of the face gets its turn. */
const STAND_MS = 3500;

/**
 * Watches one more sighting of a role.
 * @param score what the smoothed probabilities would score, 0 to 100
 * @param good the score that convinces
 */
export function watch(
  last: Coaching | undefined,
  probabilities: readonly number[],
  prompt: Label,
  at: number,
  score: (smooth: readonly number[]) => number,
  good: number,
): Coaching {
  const weight = last ? 1 - Math.exp(-(at - last.at) / SMOOTH_MS) : 1;
  const smooth = probabilities.map((share, i) => {
    const before = last?.smooth[i] ?? share;
    return before + (share - before) * weight;
  });
  const share = smooth[prompt] ?? 0;
  const trail = [...(last?.trail ?? []).filter((one) => at - one.at <= TREND_MS), { at, share }];
  const goodSince = score(smooth) >= good ? (last?.goodSince ?? at) : null;
  const advice = adviceOf();
  const stays = last !== undefined && sameAdvice(last.advice, advice);
  return { smooth, at, trail, advice, since: stays ? last.since : at, goodSince };

  function adviceOf(): Advice {
    if (last?.advice.kind === "held") return last.advice;
    if (goodSince !== null) {
      const left = 1 - (at - goodSince) / HOLD_MS;
      return left <= 0 ? { kind: "held" } : { kind: "hold", left };
    }
    if (share - (trail[0]?.share ?? share) >= RISE) return { kind: "closer" };
    const wanted = EXPRESSIONS[prompt];
    const others = smooth.map((one, i) => (i === prompt ? -1 : one));
    const seen = EXPRESSIONS[others.indexOf(Math.max(...others))] ?? "neutral";
    const regions = differences(wanted, seen);
    const before = last?.advice.kind === "move" ? last.advice : undefined;
    const [first = "mouth"] = regions;
    if (!before) return { kind: "move", seen, region: first };
    const stood = at - (last?.since ?? at);
    if (stood < STAND_MS) return before;
    // The same face for long: another part of it may help.
    const next = before.seen === seen ? regions[(regions.indexOf(before.region) + 1) % regions.length] : first;
    return { kind: "move", seen, region: next ?? first };
  }
}

const sameAdvice = (a: Advice, b: Advice): boolean =>
  a.kind === b.kind && (a.kind !== "move" || b.kind !== "move" || (a.seen === b.seen && a.region === b.region));
