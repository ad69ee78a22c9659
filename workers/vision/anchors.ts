/**
 * BlazeFace's output (Bazarevsky et al. 2019, arXiv 1907.05047): on a 128 x 128 picture a 16 x 16 grid of cells with two
 * anchors each, then an 8 x 8 grid with six, all of them points; each row is a centre relative to its anchor, then width
 * and height, in pixels of that picture.
 */
export const DETECTOR_SIZE = 128;

/** x, y of each of the 896 anchors, in pixels. */
export const ANCHORS: readonly (readonly [number, number])[] = [
  { cells: 16, perCell: 2 },
  { cells: 8, perCell: 6 },
].flatMap(({ cells, perCell }) => {
  const stride = DETECTOR_SIZE / cells;
  return Array.from({ length: cells * cells * perCell }, (_, i) => {
    const cell = Math.floor(i / perCell);
    return [((cell % cells) + 0.5) * stride, (Math.floor(cell / cells) + 0.5) * stride] as const;
  });
});

export interface Detection {
  /** Centre and size in pixels of the 128 x 128 picture. */
  x: number;
  y: number;
  width: number;
  height: number;
  confidence: number;
  /** Another face is in view, at least half as wide. */
  hasCompany: boolean;
}

/**
 * The detection that is surest, or null below `threshold`.
 * @param scores logits of the anchors
 * @param boxes 16 numbers an anchor: x, y, width, height, and six landmarks
 */
export function bestDetection(
  scores: ArrayLike<number>,
  boxes: ArrayLike<number>,
  threshold: number,
): Detection | null {
  let best = 0;
  for (let i = 1; i < ANCHORS.length; i++) {
    if ((scores[i] ?? -Infinity) > (scores[best] ?? -Infinity)) best = i;
  }
  const confidence = 1 / (1 + Math.exp(-(scores[best] ?? -Infinity)));
  if (confidence < threshold) return null;
  const boxAt = (i: number): { x: number; y: number; width: number; height: number } => {
    const [anchorX, anchorY] = ANCHORS[i] ?? [0, 0];
    const at = (place: number): number => boxes[i * 16 + place] ?? 0;
    return { x: anchorX + at(0), y: anchorY + at(1), width: at(2), height: at(3) };
  };
  const face = boxAt(best);
  const least = Math.log(threshold / (1 - threshold));
  const hasCompany = ANCHORS.some((_, i) => {
    if ((scores[i] ?? -Infinity) < least) return false;
    const other = boxAt(i);
    const isApart =
      Math.abs(other.x - face.x) > (other.width + face.width) / 2 ||
      Math.abs(other.y - face.y) > (other.height + face.height) / 2;
    return isApart && other.width >= face.width / 2;
  });
  return { ...face, confidence, hasCompany };
}
