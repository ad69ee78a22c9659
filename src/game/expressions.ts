import { EXPRESSIONS, type Expression, type Label } from "../core/expressions";

/** What a person reads about each expression: its name, and how to act it (after the action units of FACS, Ekman 1978). */
export const WORDS: Record<Expression, { name: string; how: string }> = {
  angry: { name: "Angry", how: "Pull the brows down and together, stare, and press the lips tight." },
  disgust: { name: "Disgust", how: "Wrinkle the nose and raise the upper lip, as at a bad smell." },
  fear: { name: "Fear", how: "Raise the brows and draw them together, widen the eyes, stretch the lips." },
  happy: { name: "Happy", how: "Raise the corners of the mouth and let the smile reach the eyes." },
  sad: { name: "Sad", how: "Raise the inner ends of the brows and let the corners of the mouth drop." },
  surprise: { name: "Surprise", how: "Throw the brows up, open the eyes wide, and let the jaw drop." },
  neutral: { name: "Neutral", how: "Relax the whole face: no brow, no lip, nothing." },
};

export const nameOf = (label: Label): string => WORDS[EXPRESSIONS[label]].name;

/** Draws the next expression to act, never the same twice in a row. */
export function nextPrompt(last: Label | undefined, random: () => number = Math.random): Label {
  const others = EXPRESSIONS.map((_, label) => label as Label).filter((label) => label !== last);
  return others[Math.floor(random() * others.length)] ?? 0;
}

/** Score of a take in whole per cent: the probability that the model gives to what was asked for. */
export const scoreOf = (probabilities: readonly number[], prompt: Label): number =>
  Math.round(100 * (probabilities[prompt] ?? 0));

/** What the jury says about a score. */
export function verdict(score: number): string {
  if (score >= 90) return "Best actor!";
  if (score >= 70) return "A standing ovation.";
  if (score >= 45) return "The audience believes you.";
  if (score >= 20) return "The back row is not sure.";
  return "The critics saw something else.";
}
