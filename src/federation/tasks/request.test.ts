import * as v from "valibot";
import { expect, test } from "vitest";
import { EXAMPLE, PICTURE_EXAMPLE } from "./example";
import { summarize } from "../../model/model";
import { addedTaskSchema, descriptionOf, isSameTask, readableTasksSchema } from "./description";
import { fit, networkOf } from "./network";
import { findTask, noteTask, showsExpressions, taskNamed, UnknownTaskError } from "./registry";
import { taskRequestSchema } from "./request";

const fieldsOf = (description: object): (string | null)[] =>
  (v.safeParse(taskRequestSchema, description).issues ?? []).map((issue) => v.getDotPath(issue));

test("the form's examples are right as they are, and its network has a unit for each label", () => {
  const task = descriptionOf(v.parse(taskRequestSchema, EXAMPLE));
  const { classes, inputs, parameters } = summarize(fit(task));
  // As Keras counts them: 832 + 51,264 + 1,606,144 + 513 * 3.
  expect([classes, inputs, parameters]).toEqual([3, 784, 1_659_779]);
  expect(fieldsOf(PICTURE_EXAMPLE)).toEqual([]);
  expect(task.words).toMatchObject({ ask: { en: "Draw a {label}" } });
  expect(task.words?.how?.map((how) => how?.en)).toContain("Three sides.");
  // What is kept of it is read again, and is the same.
  const { state: _, ...added } = v.parse(taskRequestSchema, { ...EXAMPLE, state: "open" });
  expect(v.parse(addedTaskSchema, JSON.parse(JSON.stringify(added)))).toEqual(added);
});

test("faces are the expressions, whatever network learns them, or others of which it is said how they are acted", () => {
  const labels = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"].map((name) => ({ name }));
  const faces = {
    ...EXAMPLE,
    examples: "face",
    model: "compact",
    input: { height: 48, width: 48, channels: 1 },
    labels,
  };
  expect(fieldsOf(faces)).toEqual([]);
  expect(showsExpressions(descriptionOf(v.parse(taskRequestSchema, faces)))).toBe(true);
  const acted = labels.toReversed().map((label) => ({ ...label, how: { en: "As you like." } }));
  expect(fieldsOf({ ...faces, labels: acted })).toEqual([]);
  expect(showsExpressions(descriptionOf(v.parse(taskRequestSchema, { ...faces, labels: acted })))).toBe(false);
  expect(fieldsOf({ ...faces, labels: labels.toReversed() })).toEqual(["labels"]);
  expect(fieldsOf({ ...faces, labels: acted.with(2, { name: "wink" } as (typeof acted)[number]) })).toEqual(["labels"]);
  // After four poolings nothing is left of 28 x 28, either.
  expect(fieldsOf({ ...faces, input: EXAMPLE.input })).toEqual(["input", "model"]);
});

test("a task is known once it is noted, by what is newest, and no built-in one is ever another", () => {
  expect(() => taskNamed("noted")).toThrow(UnknownTaskError);
  const task = descriptionOf(v.parse(taskRequestSchema, EXAMPLE));
  noteTask("noted", task, 2);
  const network = networkOf("noted");
  // The same again changes nothing that was computed of it; something older is not believed.
  noteTask("noted", { ...task }, 3);
  noteTask("noted", { ...task, labels: ["a", "b"] }, 1);
  expect(networkOf("noted")).toBe(network);
  noteTask("noted", { ...task, labels: ["a", "b"] }, 4);
  expect(summarize(networkOf("noted")).classes).toBe(2);
  noteTask("digits", task, 9);
  expect(findTask("digits")?.labels).toHaveLength(10);
  expect(findTask("constructor")).toBeUndefined();
});

test("pictures may be of any size and in colour, faces and drawings are square and grey", () => {
  const colour = { height: 24, width: 32, channels: 3 } as const;
  const pets = { ...EXAMPLE, examples: "picture", input: colour } as const;
  expect(fieldsOf(pets)).toEqual([]);
  const task = descriptionOf(v.parse(taskRequestSchema, pets));
  // As Keras counts them: (5 * 5 * 3 + 1) * 32 + (5 * 5 * 32 + 1) * 64 + (6 * 8 * 64 + 1) * 512 + 513 * 3.
  expect(summarize(fit(task))).toMatchObject({ classes: 3, inputs: 2304, parameters: 1_628_611 });
  const wrong = v.safeParse(taskRequestSchema, { ...EXAMPLE, input: { ...EXAMPLE.input, channels: 3 } });
  expect(wrong.issues?.map(({ message }) => message)).toEqual([
    "drawings are taken in grey, channels 1: only examples of the kind picture may be in colour",
  ]);
  expect(fieldsOf({ ...EXAMPLE, input: { height: 24, width: 32, channels: 1 } })).toEqual(["input"]);
  expect(fieldsOf({ ...pets, input: { ...colour, channels: 4 } })).toEqual(["input.channels"]);
  const largest = { ...pets, model: "mnist-2nn", input: { height: 96, width: 96, channels: 3 } };
  // (96 * 96 * 3 + 1) * 200 weights are too many: so is that input for this network, and not for one that pools first.
  expect(fieldsOf(largest)).toEqual(["model"]);
  expect(fieldsOf({ ...largest, model: "compact" })).toEqual([]);
});

test("a normalization is the network's, whichever that is, and no part of an example's shape", () => {
  const normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
  const input = { height: 48, width: 48, channels: 3 } as const;
  const normalized = { ...PICTURE_EXAMPLE, input: { ...input, normalization } };
  const { layers } = fit(descriptionOf(v.parse(taskRequestSchema, PICTURE_EXAMPLE)));
  for (const model of ["compact", { name: "own", layers }] as const) {
    const task = descriptionOf(v.parse(taskRequestSchema, { ...normalized, model }));
    expect(task.input).toEqual(input);
    expect(fit(task)).toMatchObject({ normalization, inputShape: [48, 48, 3] });
  }
  const [one, other] = [normalized, PICTURE_EXAMPLE].map((given) => v.parse(addedTaskSchema, given));
  expect(one && other && isSameTask(one, other)).toBe(false);
  // JSON's way to infinity.
  const endless = JSON.parse('{ "mean": [0, 0, 0], "std": [1e999, 1, 1] }') as object;
  expect(fieldsOf({ ...normalized, input: { ...input, normalization: endless } })).toEqual([
    "input.normalization.std.0",
  ]);
});

test("a list from a later edge is read but for the tasks that this page does not understand", () => {
  const added = v.parse(addedTaskSchema, EXAMPLE);
  const known = [
    { name: "digits", state: "open", added: null, revision: 0 },
    { name: "shapes", state: "retired", added, revision: 3 },
  ];
  const newer = [
    { name: "sounds", state: "open", added: { ...added, examples: "sound" } },
    { name: "scaled", state: "open", added: { ...added, input: { ...added.input, normalization: "imagenet" } } },
    { name: "paused", state: "paused", added },
    { name: "attentive", state: "open", added: { ...added, model: { name: "vit", layers: [{ kind: "attention" }] } } },
  ];
  expect(v.parse(readableTasksSchema, { tasks: [...newer, ...known], more: 1 })).toEqual({
    tasks: known,
    leftOut: ["sounds", "scaled", "paused", "attentive"],
  });
  // An earlier edge tells of no revision.
  const { revision: _, ...old } = known[1] as (typeof known)[number];
  expect(v.parse(readableTasksSchema, { tasks: [old] }).tasks).toEqual([{ ...old, revision: 0 }]);
  for (const wrong of [{}, { tasks: {} }, { tasks: [{ state: "open" }] }, { tasks: [{ name: "../x" }] }]) {
    expect(v.safeParse(readableTasksSchema, wrong).success, JSON.stringify(wrong)).toBe(false);
  }
});
