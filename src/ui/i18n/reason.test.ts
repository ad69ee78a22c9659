import * as v from "valibot";
import { expect, test, vi } from "vitest";
import { notedErrors } from "../report";
import { reasonOf } from "./reason";

// Which sentence it is, and not in which language.
vi.mock("./language.svelte", () => ({ t: (key: string) => key }));

const named = (name: string): Error => Object.assign(new Error(`what an engine says of ${name}`), { name });

/** What platform and libraries themselves throw, where Node has it. */
const THROWN: Record<string, () => unknown> = {
  AbortError: () => AbortSignal.abort().throwIfAborted(),
  AggregateError: () => Promise.any([]),
  CompileError: () => new WebAssembly.Module(Uint8Array.of(1)),
  DataCloneError: () => structuredClone(() => 0),
  Error: () => {
    throw new Error("Argument 'x' passed to 'conv2d' must be a Tensor or TensorLike");
  },
  InvalidCharacterError: () => atob("%"),
  RangeError: () => new Uint8Array(-1),
  SyntaxError: () => JSON.parse("{") as unknown,
  TimeoutError: () => Promise.reject(new DOMException("signal timed out", "TimeoutError")),
  TypeError: () => fetch("not an address"),
  ValiError: () => v.parse(v.string(), 1),
  GPUPipelineError: () => Promise.reject(named("GPUPipelineError")),
  InternalError: () => Promise.reject(named("InternalError")),
  QuotaExceededError: () => Promise.reject(named("QuotaExceededError")),
};

test.each(Object.entries(THROWN))(
  "%s of the machinery is kept for the report, and out of a player's words",
  async (name, throws) => {
    vi.spyOn(console, "error").mockReturnValue(undefined);
    const error: unknown = await Promise.resolve()
      .then(throws)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name });
    expect(reasonOf(error)).toBe("reasons.machinery");
    expect(notedErrors().at(-1)).toMatchObject({ name, message: (error as Error).message });
  },
);

test("what is meant for people is told, by name, by the edge's code, or as it stands", () => {
  expect(reasonOf(named("EdgeAwayError"))).toBe("reasons.errors.EdgeAwayError");
  expect(reasonOf(Object.assign(named("EdgeRefusalError"), { code: "wrong-base" }))).toBe(
    "reasons.refusals.wrong-base",
  );
  const own = named("HeadsUpError");
  expect(reasonOf(own)).toBe(own.message);
});
