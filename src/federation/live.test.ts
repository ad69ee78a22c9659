import fc from "fast-check";
import { expect, test } from "vitest";
import { DEFAULT_ROUND } from "./default-round";
import { afterEvent, applied, differenceOf } from "./live";
import type { Member, Round, Task } from "./protocol";

const member = fc.record({
  client: fc.string({ maxLength: 8 }),
  state: fc.constantFrom("training", "uploaded", "counted", "dropped", "dead"),
  staleness: fc.nat(5),
  norm: fc.option(fc.nat(9)),
  uploadedAt: fc.option(fc.nat(9)),
}) as unknown as fc.Arbitrary<Member>;
const round = fc.record({
  number: fc.constant(7),
  state: fc.constantFrom("selecting", "training", "published"),
  reason: fc.option(fc.string({ maxLength: 5 })),
  waiting: fc.nat(9),
  trainLoss: fc.option(fc.nat(9)),
  refused: fc.dictionary(fc.constantFrom("truncated", "wrong-base"), fc.nat(3)),
  config: fc.constant(DEFAULT_ROUND),
  cohort: fc.array(member, { maxLength: 4 }),
}) as unknown as fc.Arbitrary<Round>;

/** Members are never fewer than before. */
const later = fc.tuple(round, round).map(([before, after]) => ({
  before,
  after: { ...after, cohort: [...after.cohort, ...before.cohort.slice(after.cohort.length)] },
}));

test("what a watcher puts together is the round as it is, and a difference that comes twice changes nothing", () => {
  fc.assert(
    fc.property(later, ({ before, after }) => {
      const difference = differenceOf(before, after);
      const told = difference ? applied(before, difference) : before;
      expect(told).toEqual(after);
      if (difference) expect(applied(told, difference)).toEqual(after);
      expect(differenceOf(after, after)).toBeUndefined();
    }),
  );
});

test("a watcher learns of new rounds in their order, and not of changes to rounds it does not know", () => {
  const task = { task: "expressions" } as Task;
  const of = (number: number): Round => ({ number, cohort: [] }) as unknown as Round;
  const one = afterEvent({ rounds: [] }, { type: "history", history: { task, rounds: [of(3)] } });
  const two = one && afterEvent(one, { type: "round", round: of(4), task });
  expect(two?.rounds.map(({ number }) => number)).toEqual([3, 4]);
  const change = { number: 9, fields: { waiting: 1 }, cohort: [] };
  expect(two && afterEvent(two, { type: "change", change })?.rounds).toEqual(two?.rounds);
  expect(afterEvent({ rounds: [] }, { type: "change", change })).toBeUndefined();
});
