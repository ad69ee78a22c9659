import { PROBLEMS, type ProblemCode } from "../../src/core/problems";
import type { Problem } from "../../src/core/protocol";

/** A refusal with its code; the router answers it as problem details (RFC 9457). */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  constructor(
    readonly code: ProblemCode,
    detail?: string,
  ) {
    super(detail ?? `${PROBLEMS[code].title}.`);
  }

  toResponse(): Response {
    const { status, title } = PROBLEMS[this.code];
    const problem: Problem = {
      type: `/api/problems#${this.code}`,
      title,
      status,
      code: this.code,
      detail: this.message,
    };
    return Response.json(problem, { status, headers: { "content-type": "application/problem+json" } });
  }
}
