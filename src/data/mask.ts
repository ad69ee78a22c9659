import { EXPRESSIONS, type Expression } from "../model/expressions";

/** The drawn face: what its brows, eyes and mouth do, each a number that blends linearly with those of other faces. */
export interface Features {
  /** How far the inner and outer ends of the brows stand above their place; negative is below. */
  browInner: number;
  browOuter: number;
  /** 1 is the eye at rest. */
  eyeOpen: number;
  /** How far the corners of the mouth stand above its middle. */
  smile: number;
  mouthOpen: number;
  mouthWidth: number;
  /** 0 to 1. */
  noseWrinkle: number;
}

const FEATURES: Record<Expression, Features> = {
  angry: { browInner: -13, browOuter: 7, eyeOpen: 0.75, smile: -7, mouthOpen: 4, mouthWidth: 44, noseWrinkle: 0.35 },
  disgust: { browInner: -8, browOuter: -2, eyeOpen: 0.45, smile: -12, mouthOpen: 13, mouthWidth: 46, noseWrinkle: 1 },
  fear: { browInner: 15, browOuter: 3, eyeOpen: 1.5, smile: -8, mouthOpen: 15, mouthWidth: 58, noseWrinkle: 0 },
  happy: { browInner: 4, browOuter: 5, eyeOpen: 0.7, smile: 20, mouthOpen: 22, mouthWidth: 70, noseWrinkle: 0 },
  sad: { browInner: 12, browOuter: -8, eyeOpen: 0.65, smile: -15, mouthOpen: 2, mouthWidth: 42, noseWrinkle: 0 },
  surprise: { browInner: 17, browOuter: 17, eyeOpen: 1.6, smile: 0, mouthOpen: 42, mouthWidth: 32, noseWrinkle: 0 },
  neutral: { browInner: 0, browOuter: 0, eyeOpen: 1, smile: 0, mouthOpen: 2, mouthWidth: 46, noseWrinkle: 0 },
};

/** The face between faces: each feature's mean, weighted by the probabilities of the expressions. */
export function blend(probabilities: readonly number[]): Features {
  const total = probabilities.reduce((a, b) => a + b, 0) || 1;
  const mixed: Features = {
    browInner: 0,
    browOuter: 0,
    eyeOpen: 0,
    smile: 0,
    mouthOpen: 0,
    mouthWidth: 0,
    noseWrinkle: 0,
  };
  EXPRESSIONS.forEach((expression, i) => {
    const share = (probabilities[i] ?? 0) / total;
    for (const key of Object.keys(mixed) as (keyof Features)[]) mixed[key] += share * FEATURES[expression][key];
  });
  return mixed;
}

/** The lines of a drawn face on a square of 200, as SVG path data. */
export function linesOf(face: Features): { brows: [string, string]; mouth: string } {
  const brow = (side: 1 | -1): string => {
    const inner = 100 + side * 18;
    const outer = 100 + side * 62;
    const [a, b] = [68 - face.browInner, 68 - face.browOuter];
    return `M${inner} ${a} Q${(inner + outer) / 2 + side * 4} ${Math.min(a, b) - 6} ${outer} ${b}`;
  };
  const [left, right] = [100 - face.mouthWidth / 2, 100 + face.mouthWidth / 2];
  const corners = 142 - face.smile * 0.55;
  const middle = 142 + face.smile * 0.55;
  const [top, bottom] = [middle - face.mouthOpen * 0.6, middle + face.mouthOpen];
  return {
    brows: [brow(-1), brow(1)],
    mouth: `M${left} ${corners} Q100 ${top} ${right} ${corners} Q100 ${bottom} ${left} ${corners}Z`,
  };
}

/** The outline of the head, and the wrinkles of the nose. */
export const HEAD = "M100 10c52 0 84 26 84 78 0 62-42 104-84 104S16 150 16 88c0-52 32-78 84-78Z";
export const WRINKLES = "M86 104 l8 6 M114 104 l-8 6 M88 114 l7 4 M112 114 l-7 4";

/** The eyes at rest: centres and radius. */
export const EYES = { x: [60, 140], y: 92, radius: 11 } as const;
