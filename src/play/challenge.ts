import { EXPRESSIONS, type Label } from "../model/expressions";
import type { Turn } from "./show";

/** The roles that somebody played, and what they scored: all that is in a challenge's link. */
export interface Challenge {
  roles: Label[];
  /** 0 to 100. */
  score: number;
}

/** The address that challenges to play the same show. */
export function challengeLink(origin: string, { roles, score }: Challenge): string {
  return `${origin}/play?${new URLSearchParams({ mode: "show", roles: roles.join(""), score: String(score) })}`;
}

/** The challenge of an address; undefined where there is none, or one that nobody's game has made. */
export function challengeOf(search: URLSearchParams): Challenge | undefined {
  const roles = search.get("roles") ?? "";
  const score = search.get("score") ?? "";
  const labels = Array.from(roles, (role) => Number(role) as Label);
  const isShow = /^[0-6]{7}$/.test(roles) && new Set(labels).size === EXPRESSIONS.length;
  if (!isShow || !/^\d{1,3}$/.test(score) || Number(score) > 100) return undefined;
  return { roles: labels, score: Number(score) };
}

export const challengeTurns = ({ roles }: Challenge): Turn[] => roles.map((prompt) => ({ player: 0, prompt }));
