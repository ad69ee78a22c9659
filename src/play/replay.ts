import type { Label } from "../model/expressions";
import type { ReplayFrame } from "../../workers/replay/encode";
import { COLORS, CREAM, drawCurtain, drawFace, drawMask, INK, writeLine } from "./drawing";

/** Width and height of a replay, in pixels. */
export const REPLAY = { width: 480, height: 600 } as const;

/** How long a take is seen, and the score at the end, in milliseconds. */
const TAKE_MS = 1000;
const END_MS = 2000;

/** A take as a replay shows it. */
export interface Shot {
  label: Label;
  /** 48 x 48 grey levels. */
  pixels: Uint8Array;
  /** The role's name and the score, in words. */
  role: string;
  score: string;
}

/** What the last picture says. */
export interface Ending {
  label: Label;
  name: string;
  score: string;
}

/** Draws a show: one frame for each take on its role's colour, and one for how it ended. */
export function drawReplay(shots: readonly Shot[], ending: Ending, direction: "ltr" | "rtl"): ReplayFrame[] {
  const { width, height } = REPLAY;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("the browser draws no picture");
  const line = { direction, x: width / 2, widest: width - 48, weight: 800 };
  const frame = (delay: number): ReplayFrame => {
    const { data } = context.getImageData(0, 0, width, height);
    return { width, height, data, delay };
  };
  const frames = shots.map(({ label, pixels, role, score }) => {
    context.fillStyle = COLORS[label];
    context.fillRect(0, 0, width, height);
    writeLine(context, role, { ...line, color: INK, size: 54, y: 66 });
    drawFace(context, pixels, { x: 48, y: 96, side: 384 });
    writeLine(context, score, { ...line, color: INK, size: 84, y: 568 });
    // The mask lies on the corner of the face, and so that it is seen on its own colour, on a disc.
    context.fillStyle = CREAM;
    context.beginPath();
    context.arc(400, 468, 68, 0, 2 * Math.PI);
    context.fill();
    drawMask(context, label, { x: 346, y: 414, side: 108 });
    return frame(TAKE_MS);
  });
  drawCurtain(context, width, height);
  drawMask(context, ending.label, { x: 120, y: 120, side: 240 });
  writeLine(context, ending.name, { ...line, color: CREAM, size: 48, y: 76 });
  writeLine(context, ending.score, { ...line, color: CREAM, size: 120, y: 500 });
  return [...frames, frame(END_MS)];
}
