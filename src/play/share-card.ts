import type { Label } from "../model/expressions";
import type { KnownAvatar } from "./avatar";
import { CREAM, drawAvatar, drawCurtain, drawFace, drawMask, widthOf, writeLine, type Line } from "./drawing";

/** Width and height of a card, in pixels. */
export const CARD = { width: 1080, height: 1350 } as const;

/** What a card is made of. */
export interface Shared {
  label: Label;
  score: number;
  pixels: Uint8Array | undefined;
  /** How many roles the score is of: one take's, or a show's. */
  roles: number;
}

export interface CardText {
  name: string;
  headline: string;
  challenge: string;
  /** Where the game is played. */
  address: string;
}

/** Whose card it is, as they are called and drawn on their device. */
export interface Signature {
  nickname: string;
  avatar: KnownAvatar;
}

/**
 * Draws a score on a canvas of {@link CARD}'s size: with the player's face if `pixels` are given, else with the drawn one, and signed
 * where they have a name or a mask.
 */
export function drawCard(
  context: CanvasRenderingContext2D,
  label: Label,
  text: CardText,
  { direction, pixels, by }: { direction: "ltr" | "rtl"; pixels?: Uint8Array | undefined; by?: Signature | undefined },
): void {
  const { width, height } = CARD;
  drawCurtain(context, width, height);
  const light = context.createRadialGradient(width / 2, 560, 60, width / 2, 560, 560);
  light.addColorStop(0, "rgb(255 224 130 / 0.75)");
  light.addColorStop(1, "rgb(255 224 130 / 0)");
  context.fillStyle = light;
  context.fillRect(0, 0, width, height);

  // A signature takes its room from all that is above it.
  const side = by ? 600 : 640;
  const place = { x: (width - side) / 2, y: by ? 200 : 220, side };
  if (pixels) drawFace(context, pixels, place);
  else drawMask(context, label, place);

  const line = { color: CREAM, direction, x: width / 2, widest: width - 120 };
  writeLine(context, text.name, { ...line, size: 54, weight: 700, y: 130 });
  writeLine(context, text.headline, { ...line, size: 96, weight: 800, y: by ? 935 : 1010 });
  writeLine(context, text.challenge, { ...line, size: 52, weight: 600, y: by ? 1030 : 1125 });
  if (by) drawSignature(context, by, { ...line, size: 60, weight: 800, y: 1160 });
  // An address is read from the left in every language.
  writeLine(context, text.address, { ...line, direction: "ltr", size: 50, weight: 700, y: by ? 1285 : 1260 });
}

/** Mask and name beside one another in the middle, whatever the name's length and the language's direction. */
function drawSignature(context: CanvasRenderingContext2D, { nickname, avatar }: Signature, line: Line): void {
  const { x, y, direction } = line;
  const side = 130;
  const top = y - 0.66 * side;
  if (nickname === "") {
    drawAvatar(context, avatar, { x: x - side / 2, y: top, side });
    return;
  }
  const beside = side + 28;
  const name: Line = { ...line, widest: line.widest - beside };
  const wide = beside + widthOf(context, nickname, name);
  const towards = direction === "ltr" ? 1 : -1;
  drawAvatar(context, avatar, { x: x - (towards * (wide - side)) / 2 - side / 2, y: top, side });
  writeLine(context, nickname, { ...name, x: x + (towards * beside) / 2 });
}
