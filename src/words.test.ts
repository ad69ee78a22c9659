import { expect, test } from "vitest";
import { bytes, duration, percent } from "./words";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [20_411_164, "20.4 MB"],
  [999_999, "1.0 MB"],
  [250_000_000, "250 MB"],
])("%d bytes read %s", (count, words) => {
  expect(bytes(count)).toBe(words);
});

test.each([
  [0.4, "0 s"],
  [59.4, "59 s"],
  [185, "3 min 05 s"],
  [7800, "2 h 10 min"],
])("%d seconds read %s", (seconds, words) => {
  expect(duration(seconds)).toBe(words);
});

test("shares read as per cent", () => {
  expect(percent(0.256)).toBe("26 %");
});
