import type { Dropout } from "./layout";

/**
 * WGSL of dropout by `hash32` of src/core/random.ts: `fn factor(place: u32) -> f32` is what the number at a place is multiplied by, and
 * `fn factors(place: u32) -> vec4f` of four that follow each other.
 */
export function dropoutFactor(dropout: Dropout | null, suffix = ""): string {
  if (!dropout) return "";
  const { rate, layer } = dropout;
  const scale = wgslFloat(Math.fround(1 / (1 - rate)));
  const salt = Math.imul(layer + 1, 0x85ebca6b) >>> 0;
  return `
fn factor${suffix}(place: u32) -> f32 {
  if (step.isDropping == 0u) { return 1.0; }
  var z = (step.seed ^ ${salt}u) + (place + 1u) * 0x9e3779b9u;
  z = (z ^ (z >> 16u)) * 0x85ebca6bu;
  z = (z ^ (z >> 13u)) * 0xc2b2ae35u;
  z = z ^ (z >> 16u);
  return select(${scale}, 0.0, z < ${Math.ceil(rate * 2 ** 32)}u);
}
fn factors${suffix}(place: u32) -> vec4f {
  return vec4f(factor${suffix}(place), factor${suffix}(place + 1u), factor${suffix}(place + 2u), factor${suffix}(place + 3u));
}`;
}

/** A number as WGSL takes it for a float. */
export const wgslFloat = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(value));
