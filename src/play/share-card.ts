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

  if (pixels) drawFace(context, pixels, { x: (width - 620) / 2, y: 250, side: 620 });
  else drawMask(context, label, { x: width / 2 - 340, y: 230, side: 680 });

  const line = { color: CREAM, direction, x: width / 2, widest: width - 120 };
  writeLine(context, text.name, { ...line, size: 54, weight: 700, y: 130 });
  writeLine(context, text.headline, { ...line, size: 96, weight: 800, y: by ? 1010 : 1050 });
  writeLine(context, text.challenge, { ...line, size: 52, weight: 600, y: by ? 1120 : 1180 });
  if (!by) return;
  if (by.nickname === "") {
    drawAvatar(context, by.avatar, { x: width / 2 - 70, y: 1172, side: 140 });
    return;
  }
  // Mask and name stand beside one another in the middle, whatever the name's length and the language's direction.
  const [side, gap] = [140, 28];
  const name: Line = { ...line, size: 60, weight: 800, y: 1262, widest: width - 120 - side - gap };
  const wide = side + gap + widthOf(context, by.nickname, name);
  const left = (width - wide) / 2;
  const isLtr = direction === "ltr";
  drawAvatar(context, by.avatar, { x: isLtr ? left : left + wide - side, y: 1172, side });
  writeLine(context, by.nickname, {
    ...name,
    x: isLtr ? left + (wide + side + gap) / 2 : left + (wide - side - gap) / 2,
  });
}
