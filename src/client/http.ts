import * as v from "valibot";
import { problemSchema } from "../federation/protocol";

/** The edge could not be reached: it is away, or the device is offline. Trying again later is the thing to do. */
export class EdgeAwayError extends Error {
  override readonly name: string = "EdgeAwayError";
}

/** The edge answered, and said no. */
export class EdgeRefusalError extends Error {
  override readonly name = "EdgeRefusalError";
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** An answer that takes longer than this is not coming: seconds for a question, and for a whole update or checkpoint. */
export const PATIENCE = { question: 30, transfer: 600 };

/** How far the edge's clock is ahead of this device's, in milliseconds, as its last answer says. */
let clockAhead = 0;

/** What the edge's clock says, Unix time in milliseconds: a device's own may be years off. */
export const edgeNow = (): number => Date.now() + clockAhead;

export function noteClock(response: Response): void {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isFinite(date)) clockAhead = date - Date.now();
}

/** @throws EdgeAwayError, EdgeRefusalError, or the signal's reason. */
export async function request(path: string, init?: RequestInit, patience = PATIENCE.question): Promise<Response> {
  const timeout = AbortSignal.timeout(patience * 1000);
  const signal = init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal });
  } catch (error) {
    init?.signal?.throwIfAborted();
    throw new EdgeAwayError("The server cannot be reached.", { cause: error });
  }
  if (response.ok) return response;
  const problem = v.safeParse(problemSchema, await response.json().catch(() => undefined));
  if (problem.success && problem.output.status < 500) {
    noteClock(response);
    throw new EdgeRefusalError(problem.output.code, problem.output.status, problem.output.detail);
  }
  throw new EdgeAwayError(`The server answered with ${response.status} ${response.statusText}.`);
}
