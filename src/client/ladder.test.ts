import "fake-indexeddb/auto";
import { beforeEach, expect, test, vi } from "vitest";

const named = (name: string): Error => Object.assign(new Error("as the engine says it"), { name });

/** The ladder of a visit: what it has kept in IndexedDB stays for the next. */
async function visit(agent: string): Promise<typeof import("./ladder")> {
  vi.resetModules();
  vi.stubGlobal("navigator", { userAgent: agent });
  return import("./ladder");
}

beforeEach(async () => {
  vi.spyOn(console, "warn").mockReturnValue(undefined);
  await (await visit("a browser")).forget();
});

test("what does not compile here is left out; a network that is away leaves out nothing", async () => {
  const { noteFailed, rungsToTry } = await visit("a browser");
  expect(await rungsToTry()).toEqual(["relaxed", "simd", "relaxed-single", "simd-single"]);
  expect(await noteFailed("relaxed", named("TypeError"))).toBe(false);
  expect(await noteFailed("relaxed", "no error at all")).toBe(false);
  expect(await rungsToTry()).toHaveLength(4);
  expect(await noteFailed("relaxed", named("CompileError"))).toBe(true);
  expect(await rungsToTry()).toEqual(["simd", "relaxed-single", "simd-single"]);
});

test.each(["ThreadStartError", "WorkerSilentError"])("%s leaves out threads, whatever they compute", async (name) => {
  const { noteFailed, rungsToTry } = await visit("a browser");
  await noteFailed("relaxed", named(name));
  expect(await rungsToTry()).toEqual(["relaxed-single", "simd-single"]);
});

test("the last rung is tried always, and silence at work says nothing against one thread", async () => {
  const { noteFailed, noteSilent, noteStarted, rungsToTry } = await visit("a browser");
  await noteStarted({ rung: "relaxed-single", threads: 1, active: 1, startMs: 1 });
  await noteSilent(named("WorkerSilentError"));
  expect(await rungsToTry()).toHaveLength(4);
  for (const rung of ["relaxed", "simd", "relaxed-single", "simd-single"] as const) {
    await noteFailed(rung, named("RuntimeError"));
  }
  expect(await rungsToTry()).toEqual(["simd-single"]);
});

test("it is remembered for this version of the browser, until it is forgotten", async () => {
  await (await visit("a browser")).noteFailed("relaxed", named("LinkError"));
  const again = await visit("a browser");
  expect((await again.learned()).failed).toEqual([{ rung: "relaxed", why: "LinkError: as the engine says it" }]);
  expect(await (await visit("its next version")).rungsToTry()).toHaveLength(4);
  await again.forget();
  expect(await (await visit("a browser")).rungsToTry()).toHaveLength(4);
});
