import { expect, test } from "vitest";
import { logHalfErfc } from "./accountant";
import { addGaussian } from "./gaussian";

test("the noise is Gaussian: its distribution differs from the normal one by less than Kolmogorov and Smirnov allow", () => {
  const n = 200_001;
  const values = new Float64Array(n).fill(3);
  addGaussian(values, 2);
  const sorted = values.map((value) => (value - 3) / 2).sort();
  let most = 0;
  sorted.forEach((value, i) => {
    const expected = Math.exp(logHalfErfc(-value / Math.SQRT2));
    most = Math.max(most, Math.abs((i + 0.5) / n - expected));
  });
  // Above 2.2 / sqrt(n) it would be once in ten thousand runs.
  expect(most).toBeLessThan(2.2 / Math.sqrt(n));
});

test("no two draws are the same, and neighbours have nothing in common", () => {
  const [a, b] = [new Float64Array(100_000), new Float64Array(100_000)];
  addGaussian(a, 1);
  addGaussian(b, 1);
  expect(a).not.toEqual(b);
  let correlation = 0;
  for (let i = 1; i < a.length; i++) correlation += ((a[i] ?? 0) * (a[i - 1] ?? 0)) / a.length;
  expect(Math.abs(correlation)).toBeLessThan(5 / Math.sqrt(a.length));
});
