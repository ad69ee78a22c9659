import { EXPRESSIONS, FACE_SIZE, type Label } from "../model/expressions";
import { blend, EYES, HEAD, linesOf, WRINKLES } from "../data/mask";

/** Width and height of a card, in pixels. */
export const CARD = { width: 1080, height: 1350 } as const;

const INK = "#21101a";
const CREAM = "#fff5f0";
const COLORS = ["#ff7a62", "#a9d15a", "#bda6ff", "#ffcf33", "#7fbaff", "#ffa4d4", "#d8c9c0"] as const;

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
  context.fillStyle = "#8d0c28";
  context.fillRect(0, 0, width, height);
  // The folds of a curtain.
  for (let x = 0; x < width; x += 108) {
    const fold = context.createLinearGradient(x, 0, x + 108, 0);
    fold.addColorStop(0, "rgb(0 0 0 / 0.3)");
    fold.addColorStop(0.5, "rgb(255 255 255 / 0.08)");
    fold.addColorStop(1, "rgb(0 0 0 / 0.3)");
    context.fillStyle = fold;
    context.fillRect(x, 0, 108, height);
  }
  const light = context.createRadialGradient(width / 2, 560, 60, width / 2, 560, 560);
  light.addColorStop(0, "rgb(255 224 130 / 0.75)");
  light.addColorStop(1, "rgb(255 224 130 / 0)");
  context.fillStyle = light;
  context.fillRect(0, 0, width, height);

  if (pixels) drawFace(context, pixels);
  else drawMask(context, label);

  context.fillStyle = CREAM;
  context.textAlign = "center";
  context.direction = direction;
  const family = getComputedStyle(document.documentElement).fontFamily;
  const write = (line: string, size: number, weight: number, y: number): void => {
    context.font = `${weight} ${size}px ${family}`;
    const fits = Math.min(1, (width - 120) / context.measureText(line).width);
    context.font = `${weight} ${Math.floor(size * fits)}px ${family}`;
    context.fillText(line, width / 2, y);
  };
  write(text.name, 54, 700, 130);
  write(text.headline, 96, 800, 1050);
  write(text.challenge, 52, 600, 1180);
}

function drawFace(context: CanvasRenderingContext2D, pixels: Uint8Array): void {
  const small = new OffscreenCanvas(FACE_SIZE, FACE_SIZE);
  const image = new ImageData(FACE_SIZE, FACE_SIZE);
  pixels.forEach((level, i) => image.data.set([level, level, level, 255], i * 4));
  small.getContext("2d")?.putImageData(image, 0, 0);
  const side = 620;
  context.save();
  context.beginPath();
  context.roundRect((CARD.width - side) / 2, 250, side, side, 60);
  context.clip();
  context.drawImage(small, (CARD.width - side) / 2, 250, side, side);
  context.restore();
}

function drawMask(context: CanvasRenderingContext2D, label: Label): void {
  const face = blend(EXPRESSIONS.map((_, i) => (i === label ? 1 : 0)));
  const lines = linesOf(face);
  context.save();
  context.translate(CARD.width / 2 - 340, 230);
  context.scale(3.4, 3.4);
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
