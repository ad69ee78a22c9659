import { expect, test } from "vitest";
import type { Take } from "../faces/kept";
import { EXPRESSIONS, type Label } from "../model/expressions";
import { badgesOf } from "./badges";
import { firstWeekdayOf, longestRun, monthAfter, weeksOf } from "./calendar";
import { dailyDays } from "./daily";

test("a month lies in its weeks as calendars have it", () => {
  // February 2027 begins on a Monday and has four whole weeks; 2026's November begins on a Sunday.
  expect(weeksOf("2027-02", 1)).toHaveLength(4);
  expect(weeksOf("2027-02", 1)[0]?.[0]).toBe("2027-02-01");
  expect(weeksOf("2026-11", 1)[0]).toEqual([null, null, null, null, null, null, "2026-11-01"]);
  expect(weeksOf("2026-11", 0)[0]?.[0]).toBe("2026-11-01");
  expect(weeksOf("2028-02", 1).flat().filter(Boolean).at(-1)).toBe("2028-02-29");
});

test("months go over the year's end, in both directions", () => {
  expect(monthAfter("2026-12", 1)).toBe("2027-01");
  expect(monthAfter("2026-01", -1)).toBe("2025-12");
  expect(monthAfter("2026-11", -23)).toBe("2024-12");
});

test("weeks begin as people are used to", () => {
  expect([0, 1]).toContain(firstWeekdayOf("en"));
  expect(firstWeekdayOf("de")).toBe(1);
});

test("the longest run of days crosses months and leap days", () => {
  expect(longestRun([])).toBe(0);
  expect(longestRun(["2028-02-28", "2028-03-01", "2028-02-29", "2028-03-05"])).toBe(3);
});

test("badges tell how far somebody has come", () => {
  let id = 0;
  const take = (prompt: number, score: number, show?: string): Take => {
    id += 1;
    return { id, at: id, prompt: prompt as Label, score, ...(show !== undefined && { show }) };
  };
  const show = (name: string, score: number): Take[] => EXPRESSIONS.map((_, i) => take(i, score, name));
  const doneOf = (takes: Take[]): Record<string, string> =>
    Object.fromEntries(badgesOf(takes).map(({ name, done, needed }) => [name, `${done}/${needed}`]));
  expect(doneOf([])).toMatchObject({ firstTake: "0/1", allSeven: "0/7", week: "0/7" });
  const takes = [take(3, 59), take(3, 60), ...show("daily/2026-11-27/a", 95), ...show("daily/2026-11-28/b", 40)];
  expect(doneOf(takes)).toEqual({
    firstTake: "1/1",
    firstShow: "1/1",
    allSeven: "7/7",
    goodRow: "8/10",
    goldShow: "1/1",
    week: "2/7",
    hundredTakes: "16/100",
    month: "2/30",
  });
  expect([...dailyDays(takes)]).toEqual([
    ["2026-11-27", 95],
    ["2026-11-28", 40],
  ]);
});
