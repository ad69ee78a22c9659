import type { Label } from "../model/expressions";
import { CREAM, drawCurtain, drawFace, drawMask, writeLine } from "./drawing";

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

/** Draws a score on a canvas of {@link CARD}'s size: with the player's face if `pixels` are given, else with the drawn one. */
export function drawCard(
  context: CanvasRenderingContext2D,
  label: Label,
  text: CardText,
  { direction, pixels }: { direction: "ltr" | "rtl"; pixels?: Uint8Array | undefined },
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
  writeLine(context, text.headline, { ...line, size: 96, weight: 800, y: 1050 });
  writeLine(context, text.challenge, { ...line, size: 52, weight: 600, y: 1180 });
}
