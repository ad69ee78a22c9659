import fc from "fast-check";
import { expect, test } from "vitest";
import type { Label } from "../model/expressions";
import { finalScore, nextPrompt, ranking, turnsOf } from "./show";

test("the next prompt is one of the seven, never the last one, and each of the others can come", () => {
  fc.assert(
    fc.property(
      fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
      fc.double({ min: 0, max: 0.999999, noNaN: true }),
      (last, random) => {
        const label = nextPrompt(last as Label | undefined, () => random);
        expect(label).toBeGreaterThanOrEqual(0);
        expect(label).toBeLessThanOrEqual(6);
        expect(label).not.toBe(last);
      },
    ),
  );
  const drawn = new Set(Array.from({ length: 6 }, (_, i) => nextPrompt(3, () => (i + 0.5) / 6)));
  expect([...drawn].sort()).toEqual([0, 1, 2, 4, 5, 6]);
});

test("in a show every player acts the same different roles, in turns", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 7 }), (players, takes) => {
      const turns = turnsOf(players, takes);
      expect(turns).toHaveLength(players * takes);
      const roles = (player: number): Label[] =>
        turns.filter((turn) => turn.player === player).map(({ prompt }) => prompt);
      expect(new Set(roles(0)).size).toBe(takes);
      for (let player = 0; player < players; player++) expect(roles(player)).toEqual(roles(0));
      turns.forEach(({ player }, i) => expect(player).toBe(i % players));
    }),
  );
});

test("no takes, no score", () => {
  expect(finalScore([])).toBe(0);
});

test("the ranking counts each player's own takes, and equal scores share a place", () => {
  const turns = turnsOf(3, 2);
  expect(ranking(turns, [50, 90, 60, 70, 70, 60])).toEqual([
    { player: 1, score: 80, place: 1 },
    { player: 0, score: 60, place: 2 },
    { player: 2, score: 60, place: 2 },
  ]);
});
