import type { ContentfulStatusCode } from "hono/utils/http-status";
import { PROBLEMS, type ProblemCode } from "../../src/federation/problems";
import type { Problem } from "../../src/federation/protocol";

/** A refusal with its code; the router answers it as problem details (RFC 9457). */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  constructor(
    readonly code: ProblemCode,
    detail?: string,
  ) {
    super(detail ?? `${PROBLEMS[code].title}.`);
  }

  /** The body, status and headers of its answer. */
  toAnswer(): [string, ContentfulStatusCode, Record<string, string>] {
    const { status, title } = PROBLEMS[this.code];
    const problem: Problem = {
      type: `/api/problems#${this.code}`,
      title,
      status,
      code: this.code,
      detail: this.message,
    };
    return [JSON.stringify(problem), status, { "content-type": "application/problem+json" }];
  }
}
