import { EXPRESSIONS, type Label } from "../model/expressions";
import type { Level } from "../faces/kept";
import { LEVELS } from "./level";
import type { Turn } from "./show";

/** The roles that somebody played, and what they scored: all that is in a challenge's link. */
export interface Challenge {
  roles: Label[];
  /** 0 to 100. */
  score: number;
  level: Level;
}

/** The address that challenges to play the same show. */
export function challengeLink(origin: string, { roles, score, level }: Challenge): string {
  const asked = new URLSearchParams({ mode: "show", roles: roles.join(""), score: String(score) });
  if (level !== "normal") asked.set("level", level);
  return `${origin}/play?${asked}`;
}

/** The challenge of an address; undefined where there is none, or one that nobody's game has made. */
export function challengeOf(search: URLSearchParams): Challenge | undefined {
  const roles = search.get("roles") ?? "";
  const score = search.get("score") ?? "";
  const labels = Array.from(roles, (role) => Number(role) as Label);
  const isShow = /^[0-6]{7}$/.test(roles) && new Set(labels).size === EXPRESSIONS.length;
  const level = LEVELS.find((one) => one === (search.get("level") ?? "normal"));
  if (!isShow || !level || !/^\d{1,3}$/.test(score) || Number(score) > 100) return undefined;
  return { roles: labels, score: Number(score), level };
}

export const challengeTurns = ({ roles }: Challenge): Turn[] => roles.map((prompt) => ({ player: 0, prompt }));
