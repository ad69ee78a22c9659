import * as v from "valibot";
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

/** Checks a request's JSON body. @throws ProblemError `bad-request`, naming the fields. */
export async function readJson<S extends v.GenericSchema>(request: Request, schema: S): Promise<v.InferOutput<S>> {
  let json: unknown;
  try {
    json = await request.json();
  } catch {
    throw new ProblemError("bad-request", "The body is not JSON.");
  }
  return parse(schema, json);
}

/** Checks any value. @throws ProblemError `bad-request`, naming the fields. */
export function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value);
  if (!parsed.success) throw new ProblemError("bad-request", v.summarize(parsed.issues));
  return parsed.output;
}
