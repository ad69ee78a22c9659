/** L2 norm of a vector. */
export function normOf(values: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] as number) ** 2;
  return Math.sqrt(squares);
}

/**
 * Scales a delta down to the clip.
 * @returns float32 numbers whose norm is not above the clip, and whether it was below it before
 */
export function clipTo(delta: Float32Array, clip: number): { delta: Float32Array<ArrayBuffer>; isBelow: boolean } {
  const norm = normOf(delta);
  // A little less than the clip, since the numbers are rounded.
  const factor = norm > clip ? (clip / norm) * (1 - 2 ** -22) : 1;
  return { delta: Float32Array.from(delta, (value) => value * factor), isBelow: norm <= clip };
}
