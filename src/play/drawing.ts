import { EXPRESSIONS, FACE_SIZE, type Label } from "../model/expressions";
import { avatarParts, type KnownAvatar } from "./avatar";
import { blend, EYES, HEAD, linesOf, WRINKLES } from "../data/mask";

/** What the pictures that a player may share are drawn with. A picture has one look, whatever theme the page has. */

export const INK = "#21101a";
export const CREAM = "#fff5f0";
/** By label, as app.css has them. */
export const COLORS = ["#ff7a62", "#a9d15a", "#bda6ff", "#ffcf33", "#7fbaff", "#ffa4d4", "#d8c9c0"] as const;

/** Where something lies: its left upper corner and its side, in pixels. */
interface Place {
  x: number;
  y: number;
  side: number;
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** A closed curtain with its folds. */
export function drawCurtain(context: Context, width: number, height: number): void {
  context.fillStyle = "#8d0c28";
  context.fillRect(0, 0, width, height);
  const wide = width / 10;
  for (let x = 0; x < width; x += wide) {
    const fold = context.createLinearGradient(x, 0, x + wide, 0);
    fold.addColorStop(0, "rgb(0 0 0 / 0.3)");
    fold.addColorStop(0.5, "rgb(255 255 255 / 0.08)");
    fold.addColorStop(1, "rgb(0 0 0 / 0.3)");
    context.fillStyle = fold;
    context.fillRect(x, 0, wide, height);
  }
}

/** A kept face of 48 x 48 grey levels, with round corners. */
export function drawFace(context: Context, pixels: Uint8Array, { x, y, side }: Place): void {
  const small = new OffscreenCanvas(FACE_SIZE, FACE_SIZE);
  const image = new ImageData(FACE_SIZE, FACE_SIZE);
  pixels.forEach((level, i) => image.data.set([level, level, level, 255], i * 4));
  small.getContext("2d")?.putImageData(image, 0, 0);
  context.save();
  context.beginPath();
  context.roundRect(x, y, side, side, side / 10);
  context.clip();
  context.drawImage(small, x, y, side, side);
  context.restore();
}

/** The drawn face of an expression. */
export function drawMask(context: Context, label: Label, { x, y, side }: Place): void {
  const face = blend(EXPRESSIONS.map((_, i) => (i === label ? 1 : 0)));
  const lines = linesOf(face);
  context.save();
  context.translate(x, y);
  context.scale(side / 200, side / 200);
  context.fillStyle = COLORS[label];
  context.fill(new Path2D(HEAD));
  context.fillStyle = context.strokeStyle = INK;
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = 8;
  for (const brow of lines.brows) context.stroke(new Path2D(brow));
  for (const x of EYES.x) {
    context.beginPath();
    context.ellipse(x, EYES.y, EYES.radius, EYES.radius * face.eyeOpen, 0, 0, 2 * Math.PI);
    context.fill();
  }
  context.lineWidth = 4;
  context.globalAlpha = face.noseWrinkle;
  context.stroke(new Path2D(WRINKLES));
  context.globalAlpha = 1;
  context.lineWidth = 7;
  const mouth = new Path2D(lines.mouth);
  context.fill(mouth);
  context.stroke(mouth);
  context.restore();
}

/** A player's mask. */
export function drawAvatar(context: Context, avatar: KnownAvatar, { x, y, side }: Place): void {
  context.save();
  context.translate(x, y);
  context.scale(side / 200, side / 200);
  context.lineCap = context.lineJoin = "round";
  for (const { d, fill, stroke, width = 0 } of avatarParts(avatar)) {
    const path = new Path2D(d);
    if (fill) {
      context.fillStyle = fill;
      context.fill(path);
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.stroke(path);
    }
  }
  context.restore();
}

export interface Line {
  color: string;
  direction: "ltr" | "rtl";
  /** The line's middle, and its baseline. */
  x: number;
  y: number;
  /** A longer line is written smaller. */
  widest: number;
  size: number;
  weight: number;
}

/** The font of a line that is to be no wider than it may, and how wide it then is. */
function fitted(context: Context, text: string, { widest, size, weight }: Line): { font: string; wide: number } {
  const family = getComputedStyle(document.documentElement).fontFamily;
  context.font = `${weight} ${size}px ${family}`;
  const full = context.measureText(text).width;
  const fits = Math.min(1, widest / full);
  return { font: `${weight} ${Math.floor(size * fits)}px ${family}`, wide: full * fits };
}

/** How wide {@link writeLine} writes a line, in pixels. */
export const widthOf = (context: Context, text: string, line: Line): number => fitted(context, text, line).wide;

/** A line of text in the page's typeface, in the middle of `x`. */
export function writeLine(context: Context, text: string, line: Line): void {
  context.font = fitted(context, text, line).font;
  context.fillStyle = line.color;
  context.textAlign = "center";
  context.direction = line.direction;
  context.fillText(text, line.x, line.y);
}
