import { expect, test } from "vitest";
import { DEFAULT_ROUND } from "../federation/default-round";
import type { Member, Round } from "../federation/protocol";
import { outliers, standingOf } from "./members";
import { smoothed } from "./smoothing";

test("outliers are those that Iglewicz and Hoaglin's score finds, and liars among them do not hide one another", () => {
  // NumPy's scores of the last two: 25.9 and 26.3; of all others below 1.6.
  const norms = [2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3];
  expect(outliers(norms)).toEqual(norms.map((norm) => norm > 8));
  expect(outliers([1, null, 1.1, 0.9, 1.05, 7, null])).toEqual([false, false, false, false, false, true, false]);
  expect(outliers([1, 1, 1, 1, 9])).toEqual([false, false, false, false, false]);
  expect(outliers([1, 9])).toEqual([false, false]);
});

test("a client that was killed is lost from its deadline on, whether or not its round has looked since", () => {
  const member = { state: "training", assignedAt: 1000, uploadedAt: null } as Member;
  const config = { ...DEFAULT_ROUND, deadlineSeconds: 60 };
  const round = { config, deadline: 61_000, endedAt: null } as Round;
  expect(standingOf(member, round, 60_000)).toBe("training");
  expect(standingOf(member, round, 61_001)).toBe("lost");
  // In an asynchronous series a member of an earlier round may still send.
  const later = { ...round, config: { ...config, mode: "async" }, endedAt: 5000 } as Round;
  expect(standingOf(member, later, 6000)).toBe("training");
  const dropped = { ...member, state: "dropped" } as Member;
  expect(standingOf(dropped, { ...round, endedAt: 61_500 }, 99_000)).toBe("lost");
  // The goal was reached without it.
  expect(standingOf(dropped, { ...round, endedAt: 30_000 }, 99_000)).toBe("dropped");
  expect(standingOf({ ...dropped, uploadedAt: 2000 }, { ...round, endedAt: 61_500 }, 99_000)).toBe("dropped");
  expect(standingOf({ ...member, state: "counted" }, round, 99_000)).toBe("counted");
});

test("a smoothed line is the weighted mean of what came before, which NumPy has summed term by term", () => {
  const found = smoothed([1, 3, null, 2, 8, 5], 0.6);
  [1, 2.25, null, 2.122448979591837, 4.823529411764706, 4.900069396252602].forEach((value, i) => {
    if (value === null) expect(found[i]).toBeNull();
    else expect(found[i]).toBeCloseTo(value, 12);
  });
  expect(smoothed([4, 2], 0)).toEqual([4, 2]);
});
