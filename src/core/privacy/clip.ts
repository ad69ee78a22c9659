import { addGaussian } from "./gaussian";

/** L2 norm of a vector. */
export function normOf(values: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] as number) ** 2;
  return Math.sqrt(squares);
}

/**
 * What a client does to its delta where nobody else can: scales it down to the clip, and adds its share of the noise (distributed
 * differential privacy, Kairouz et al. 2021, arXiv 2102.06387).
 * @param deviation of the noise on each number; 0 adds none
 */
export function clipAndNoise(
  delta: Float32Array,
  { clip, deviation }: { clip: number; deviation: number },
): { delta: Float32Array<ArrayBuffer>; isBelow: boolean } {
  const norm = normOf(delta);
  const factor = norm > clip ? clip / norm : 1;
  const values = Float64Array.from(delta, (value) => value * factor);
  if (deviation > 0) addGaussian(values, deviation);
  return { delta: Float32Array.from(values), isBelow: norm <= clip };
}
