import fc from "fast-check";
import { expect, test } from "vitest";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { differences, HOLD_MS, moves, watch, type Coaching } from "./coach";

const GOOD = 60;
const bare = (prompt: Label) => (smooth: readonly number[]) => 100 * (smooth[prompt] ?? 0);
/** All probability on one expression. */
const pure = (label: number): number[] => EXPRESSIONS.map((_, i) => (i === label ? 1 : 0));

/** What the coach says to a face that changes every so many milliseconds. */
function session(prompt: Label, faces: readonly number[][], step = 100): Coaching[] {
  const all: Coaching[] = [];
  faces.forEach((face, i) => all.push(watch(all.at(-1), face, prompt, i * step, bare(prompt), GOOD)));
  return all;
}

test("fear that looks like surprise is told the mouth or the brows, and never what both share", () => {
  expect(differences("fear", "surprise")).toEqual(["mouth", "brows"]);
  expect(differences("surprise", "fear")).toEqual(["mouth", "brows"]);
  expect(differences("happy", "neutral")).toEqual(["eyes", "mouth"]);
});

test("any two expressions differ somewhere, and the advice is about a part in which they do", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 6 }), (prompt, seen) => {
      fc.pre(prompt !== seen);
      const [{ advice }] = session(prompt as Label, [pure(seen)]) as [Coaching];
      if (advice.kind !== "move") throw new Error("The coach says nothing of a wrong face.");
      expect(advice.seen).toBe(EXPRESSIONS[seen]);
      const wanted = EXPRESSIONS[prompt] ?? "neutral";
      expect(differences(wanted, advice.seen)).toContain(advice.region);
      expect(moves(wanted, advice.region) || moves(advice.seen, advice.region)).toBe(true);
    }),
  );
});

test("a face that becomes right is cheered, must be held, and then has been held", () => {
  const faces = [...Array.from({ length: 5 }, () => pure(6)), ...Array.from({ length: 40 }, () => pure(3))];
  const kinds = session(3, faces).map(({ advice }) => advice.kind);
  expect([...new Set(kinds)]).toEqual(["move", "closer", "hold", "held"]);
  const hold = kinds.indexOf("hold");
  expect((kinds.indexOf("held") - hold) * 100).toBeGreaterThanOrEqual(HOLD_MS);
});

test("a face that slips away in the middle has to be held anew", () => {
  const faces = [...Array.from({ length: 10 }, () => pure(3)), ...Array.from({ length: 10 }, () => pure(4))];
  expect(session(3, faces).at(-1)?.advice).toMatchObject({ kind: "move", seen: "sad" });
});

test("an advice stands long enough to be followed, then another part gets its turn", () => {
  const said = session(
    2,
    Array.from({ length: 100 }, () => pure(5)),
  ).map(({ advice }) => (advice.kind === "move" ? advice.region : advice.kind));
  expect(said.slice(0, 35).every((region) => region === "mouth")).toBe(true);
  expect(said).toContain("brows");
});
