import fc from "fast-check";
import { expect, test } from "vitest";
import type { Label } from "../model/expressions";
import { LEVELS } from "./level";
import { challengeLink, challengeOf } from "./challenge";
import { dailyScores, dailyTurns, dayBefore, dayOf, dayStreak, resultText, tryOf } from "./daily";
import type { Take } from "../faces/kept";

/** The takes of a day's show, all with one score. */
function played(day: string, score: number, takes = 7): Take[] {
  const show = tryOf(day);
  return dailyTurns(day)
    .slice(0, takes)
    .map(({ prompt }, i) => ({ id: i, at: 0, prompt, score, show }));
}

test("a day has seven roles, the same for everybody, and the days differ", () => {
  const days = Array.from({ length: 60 }, (_, i) => dayOf(new Date(2026, 10, 1 + i)));
  const orders = days.map((day) => dailyTurns(day).map(({ prompt }) => prompt));
  for (const order of orders) expect(order.toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(dailyTurns("2026-11-28")).toEqual(dailyTurns("2026-11-28"));
  // Of 5,040 orders two of sixty days may share one, not many.
  expect(new Set(orders.map(String)).size).toBeGreaterThan(55);
});

test("the first try that is finished counts, and a streak bears that today is not played yet", () => {
  const today = "2026-03-01";
  expect(dailyScores(played(today, 80, 6), today)).toBeNull();
  const takes = [...played(today, 10, 3), ...played(today, 50), ...played(today, 90)];
  expect(dailyScores(takes, today)).toEqual([50, 50, 50, 50, 50, 50, 50]);
  expect(dayBefore(today)).toBe("2026-02-28");
  const before = [...played("2026-02-27", 70), ...played("2026-02-28", 70)];
  expect(dayStreak(before, today)).toBe(2);
  expect(dayStreak([...before, ...played(today, 1)], today)).toBe(3);
  expect(dayStreak(played("2026-02-27", 70), today)).toBe(0);
});

test("a result says nothing of the roles", () => {
  expect(resultText("Best Actor", "2026-11-28", [95, 62, 31, 2, 80, 60, 29], "https://a.example/play?mode=daily")).toBe(
    "Best Actor 2026-11-28 · 51/100\n🟩🟨🟧🟥🟩🟨🟥\nhttps://a.example/play?mode=daily",
  );
});

test("a challenge's link carries roles and score there and back, and nothing else is believed", () => {
  const roles = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6] as Label[], { minLength: 7 });
  fc.assert(
    fc.property(roles, fc.integer({ min: 0, max: 100 }), fc.constantFrom(...LEVELS), (roles, score, level) => {
      const link = new URL(challengeLink("https://a.example", { roles, score, level }));
      const more = level === "normal" ? [] : ["level"];
      expect([...link.searchParams.keys()].sort()).toEqual([...more, "mode", "roles", "score"]);
      expect(challengeOf(link.searchParams)).toEqual({ roles, score, level });
    }),
  );
  for (const text of [
    "",
    "roles=0123456",
    "roles=0123455&score=50",
    "roles=0123456&score=101",
    "roles=0123457&score=1",
    "roles=0123456&score=50&level=toString",
  ]) {
    expect(challengeOf(new URLSearchParams(text))).toBeUndefined();
  }
});
