import { expect, test } from "vitest";
import { takeRoom } from "./room";

test("an isolate keeps sixteen megabytes of updates, none of the largest, and what was given back once is there once", () => {
  expect(takeRoom(20_411_164)).toBeUndefined();
  const kept = Array.from({ length: 4 }, () => takeRoom(4_000_000));
  expect(kept.every((leave) => leave !== undefined)).toBe(true);
  expect(takeRoom(1)).toBeUndefined();
  kept[0]?.();
  kept[0]?.();
  const again = takeRoom(4_000_000);
  expect(again).toBeDefined();
  expect(takeRoom(1)).toBeUndefined();
  for (const leave of [...kept.slice(1), again]) leave?.();
});
