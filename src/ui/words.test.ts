import { expect, test } from "vitest";
import { scaled, timeParts } from "./words";

test.each([
  [0, { value: 0, unit: 0, digits: 0 }],
  [999, { value: 999, unit: 0, digits: 0 }],
  [20_411_164, { value: 20.411164, unit: 2, digits: 1 }],
  [999_999, { value: 0.999999, unit: 2, digits: 1 }],
  [250_000_000, { value: 250, unit: 2, digits: 0 }],
])("%d bytes are so many of a unit", (count, expected) => {
  const { value, ...rest } = scaled(count);
  expect(value).toBeCloseTo(expected.value, 9);
  expect(rest).toEqual({ unit: expected.unit, digits: expected.digits });
});

test.each([
  [0.4, [[0, "second"]]],
  [59.4, [[59, "second"]]],
  [
    185,
    [
      [3, "minute"],
      [5, "second"],
    ],
  ],
  [
    7800,
    [
      [2, "hour"],
      [10, "minute"],
    ],
  ],
])("%d seconds are said in one or two units", (seconds, parts) => {
  expect(timeParts(seconds)).toEqual(parts);
});
