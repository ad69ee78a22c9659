import { expect, test } from "vitest";
import { ANCHORS, bestDetection } from "./anchors";

/** What the detector would say of faces at these anchors, each so many pixels wide and as sure as its logit. */
function outputs(faces: { anchor: number; width: number; logit: number }[]): [number[], number[]] {
  const scores = ANCHORS.map(() => -10);
  const boxes = ANCHORS.flatMap(() => Array.from({ length: 16 }, () => 0));
  for (const { anchor, width, logit } of faces) {
    scores[anchor] = logit;
    [boxes[anchor * 16 + 2], boxes[anchor * 16 + 3]] = [width, width];
  }
  return [scores, boxes];
}

test("the surest face is found, and whether another one is in view", () => {
  const [left, near, right] = [2 * (16 * 8 + 3), 2 * (16 * 8 + 4), 2 * (16 * 8 + 13)];
  const alone = bestDetection(...outputs([{ anchor: left, width: 30, logit: 3 }]), 0.6);
  expect(alone).toMatchObject({ x: 28, y: 68, width: 30, hasCompany: false });
  // The same face is found at several anchors.
  const twice = [left, near].map((anchor) => ({ anchor, width: 30, logit: 3 }));
  expect(bestDetection(...outputs(twice), 0.6)?.hasCompany).toBe(false);
  const two = [left, right].map((anchor, i) => ({ anchor, width: 30, logit: 3 - i }));
  expect(bestDetection(...outputs(two), 0.6)).toMatchObject({ x: 28, hasCompany: true });
  // Somebody small in the background, or something that is hardly a face, is no company.
  const far = [
    { anchor: left, width: 30, logit: 3 },
    { anchor: right, width: 10, logit: 3 },
  ];
  expect(bestDetection(...outputs(far), 0.6)?.hasCompany).toBe(false);
  const vague = [
    { anchor: left, width: 30, logit: 3 },
    { anchor: right, width: 30, logit: 0 },
  ];
  expect(bestDetection(...outputs(vague), 0.6)?.hasCompany).toBe(false);
  expect(bestDetection(...outputs([]), 0.6)).toBeNull();
});
