/** About how many bytes a value takes: its buffers, two for each character of a text, and eight for anything else in it. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return value.length * 2;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (value instanceof ArrayBuffer) return value.byteLength;
  if (value === null || typeof value !== "object") return 8;
  const inside: unknown[] = value instanceof Map ? [...value].flat() : Object.values(value);
  return inside.reduce<number>((sum, one) => sum + sizeOf(one), 0);
}
