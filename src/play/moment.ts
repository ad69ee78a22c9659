import type { Sighting } from "../../workers/vision/api";

/** A sighting and when its picture was taken, in milliseconds of one clock. */
export interface Seen<S = Sighting> {
  at: number;
  sighting: S;
}

/** So much of a take's end is looked at, and so long is the moment of it that counts. */
export const ENDING_MS = 1500;
const MOMENT_MS = 500;

/** A face with what the model says of it. */
export interface Moment {
  /** The frame of the moment that shows the role best. */
  pixels: Uint8Array<ArrayBuffer>;
  /** Means over the moment. */
  probabilities: number[];
}

/**
 * The half second of a take in which its role is shown best: a blink, or a frame without a face, costs nothing.
 * @param seen what was seen at the take's end, the oldest first
 * @returns null where no face was seen, or no model looked
 */
export function bestMoment(seen: readonly Seen[], prompt: number): Moment | null {
  const faces = seen.flatMap(({ at, sighting }) =>
    sighting.face && sighting.probabilities
      ? [{ at, pixels: sighting.pixels, probabilities: sighting.probabilities }]
      : [],
  );
  // A moment that began before the ending would be judged by fewer frames.
  const from = (faces[0]?.at ?? 0) + MOMENT_MS;
  const ends = faces.map(({ at }) => at).filter((at, i) => at >= from || i === faces.length - 1);
  let best: Moment | null = null;
  for (const end of ends) {
    const frames = faces.filter(({ at }) => at > end - MOMENT_MS && at <= end);
    const clearest = frames.reduce((a, b) => ((b.probabilities[prompt] ?? 0) > (a.probabilities[prompt] ?? 0) ? b : a));
    const probabilities = clearest.probabilities.map(
      (_, i) => frames.reduce((sum, frame) => sum + (frame.probabilities[i] ?? 0), 0) / frames.length,
    );
    if (!best || (probabilities[prompt] ?? 0) > (best.probabilities[prompt] ?? 0)) {
      best = { pixels: clearest.pixels, probabilities };
    }
  }
  return best;
}
