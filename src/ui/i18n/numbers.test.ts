import { expect, test } from "vitest";
import { bytesText, durationText, secondsText } from "./language.svelte";

test("units are words, in the number that they are of", () => {
  expect([0, 1, 2, 999].map(bytesText)).toEqual(["0 bytes", "1 byte", "2 bytes", "999 bytes"]);
  expect([1000, 20_411_164].map(bytesText)).toEqual(["1.0 kB", "20.4 MB"]);
  expect([0, 1, 4, 185, 7800].map(durationText)).toEqual([
    ...["0 seconds", "1 second", "4 seconds", "3 minutes 5 seconds", "2 hours 10 minutes"],
  ]);
  expect([1, 6.3].map(secondsText)).toEqual(["1 second", "6.3 seconds"]);
});
