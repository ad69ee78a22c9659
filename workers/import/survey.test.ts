import { expect, test } from "vitest";
import { FerCsvError } from "../../src/data/fer-csv";
import type { OwnQuestion } from "./api";
import { Told } from "./intake";
import { isLookedAt, Survey } from "./survey";

/** What is asked about a CSV. */
async function questionOf(csv: string, shape: { height: number; width: number } | null = null): Promise<OwnQuestion> {
  const survey = new Survey(
    { shape: shape && { ...shape, channels: 1 }, column: null },
    new Told(csv.length, () => {}),
  );
  const reader = survey.reading.csv();
  for (const row of [...reader.push(new TextEncoder().encode(csv)), ...reader.finish()]) {
    if (row instanceof FerCsvError) survey.leaveOut(row.message);
    else await survey.add();
  }
  const { question } = await survey.finish();
  if (question?.as !== "own") throw new Error("Nothing was asked.");
  return question;
}

const csv = (words: readonly string[], numbers: number): string =>
  `kind,levels\n${words.map((word) => `${word},${"7 ".repeat(numbers)}\n`).join("")}`;

test("a CSV's size is offered with everything else that so many numbers can be, and what is said is kept", async () => {
  const { shape, shapes, asksShape } = await questionOf(csv(["a", "b"], 3072));
  expect({ shape, asksShape }).toEqual({ shape: { height: 32, width: 32, channels: 3 }, asksShape: false });
  expect(shapes).toContainEqual({ height: 48, width: 64, channels: 1 });
  const said = await questionOf(csv(["a", "b"], 3072), { height: 48, width: 64 });
  expect(said.shape).toEqual({ height: 48, width: 64, channels: 1 });
});

test("of many pictures those that are looked at lie evenly among all of them", () => {
  for (const of of [1, 200, 201, 399, 35_887]) {
    const places = [...Array(of).keys()].filter((place) => isLookedAt(place, of));
    expect(places).toHaveLength(Math.min(of, 200));
    const gaps = places.slice(1).map((place, i) => place - (places[i] ?? 0));
    expect(Math.max(0, ...gaps) - Math.min(...gaps, Infinity)).toBeLessThanOrEqual(1);
    expect(places.at(-1)).toBe(of - 1);
  }
});

test("labels are asked about as they are, and many more than can be told apart are no labels", async () => {
  const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);
  const { words } = await questionOf(csv(numbered(300), 64));
  expect(words).toHaveLength(300);
  await expect(questionOf(csv(numbered(1025), 64))).rejects.toThrow("over 1024 different labels");
});

test("what else has to be said is asked together with the column", () => {
  const asked = (numbers: number, shape: OwnQuestion["shape"] | null = null) => {
    const survey = new Survey({ shape, column: null }, new Told(1, () => {}));
    const reader = survey.reading.csv();
    const file = `kind,id,levels\na,1,${"7 ".repeat(numbers)}\n`;
    expect(() => [...reader.push(new TextEncoder().encode(file)), ...reader.finish()]).toThrow("say which holds");
    const question = survey.question("It is asked for.");
    return { asksShape: question.asksShape, shape: question.shape, shapes: question.shapes?.length };
  };
  const wide = { height: 8, width: 12, channels: 1 };
  const high = { height: 12, width: 8, channels: 1 };
  expect(asked(64)).toEqual({ asksShape: false, shape: { height: 8, width: 8, channels: 1 }, shapes: 1 });
  expect(asked(96)).toEqual({ asksShape: true, shape: wide, shapes: 2 });
  expect(asked(96, high)).toEqual({ asksShape: false, shape: high, shapes: 2 });
});
