import { expect, test } from "vitest";
import { LabelWords, type LabelMapping } from "./label-words";

/** Reads every word as often as it says. */
function read(words: Record<string, number>, given: LabelMapping | null = null): LabelWords {
  const labels = new LabelWords(given);
  for (const [word, count] of Object.entries(words)) for (let i = 0; i < count; i++) labels.read(word);
  return labels;
}

test("FER2013's numbers and names mean what they mean, and a slip is no question", () => {
  const labels = read({ 0: 40, 3: 60, 9: 1, Happiness: 5, holiday: 3 });
  expect(labels.isQuestion).toBe(false);
  expect(labels.table).toEqual([
    { word: "0", label: 0, count: 40 },
    { word: "3", label: 3, count: 60 },
    { word: "9", label: null, count: 1 },
    { word: "happiness", label: 3, count: 5 },
    { word: "holiday", label: null, count: 3 },
  ]);
});

test("another collection's numbers are asked for", () => {
  // RAF-DB's folders: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral, with its counts.
  const raf = { 1: 1290, 2: 281, 3: 717, 4: 4772, 5: 1982, 6: 705, 7: 2524 };
  expect(read(raf).isQuestion).toBe(true);
  // Without its last label nothing is beyond 6, and FER2013's 0 is still missing.
  expect(read({ ...raf, 7: 0 }).isQuestion).toBe(true);
  // AffectNet has contempt as 7 beside a 0.
  expect(read({ 0: 500, 1: 500, 7: 500 }).isQuestion).toBe(true);
  const said = read(raf, { 1: 5, 2: 2, 3: 1, 4: 3, 5: 4, 6: 0, 7: null });
  expect(said.isQuestion).toBe(false);
  expect([said.read("1"), said.read("6"), said.read("7"), said.read("8")]).toEqual([5, 0, null, null]);
  expect([said.isKnown("7"), said.isKnown("8")]).toEqual([true, false]);
});

test("as many words as anybody likes take no more room than a table", () => {
  const labels = new LabelWords();
  for (let i = 0; i < 10_000; i++) labels.read(`word ${i}`);
  expect(labels.table.length).toBeLessThan(100);
});
