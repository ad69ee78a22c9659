import { ProblemError } from "./problem";

/** What a change depends on, by `If-Match` and `If-None-Match` of its request (RFC 9110, section 13.1). */
export interface Precondition {
  isAsked: boolean;
  /** @param revision of what there is; undefined where there is nothing */
  holds: (revision: number | undefined) => boolean;
}

const TAGS = /^\s*(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*\s*$/;

/** The tags of a header; null of `*`, which means any. @throws ProblemError `bad-request` */
function tagsOf(name: string, text: string): string[] | null {
  if (text.trim() === "*") return null;
  if (!TAGS.test(text))
    throw new ProblemError("bad-request", `${name} is * or revisions in quotes, as "1764460800000".`);
  return [...text.matchAll(/(?:W\/)?"[^"]*"/g)].map(([tag]) => tag);
}

/** @throws ProblemError `bad-request` where a header is none of these */
export function preconditionOf({ headers }: Request): Precondition {
  const [match, none] = ["If-Match", "If-None-Match"].map((name) => {
    const text = headers.get(name);
    return text === null ? undefined : tagsOf(name, text);
  });
  return {
    isAsked: match !== undefined || none !== undefined,
    holds(revision) {
      const has = (tags: string[] | null): boolean =>
        revision !== undefined && (tags === null || tags.includes(`"${revision}"`));
      return (match === undefined || has(match)) && (none === undefined || !has(none));
    },
  };
}
