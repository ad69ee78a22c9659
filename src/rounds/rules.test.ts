import * as v from "valibot";
import { expect, test } from "vitest";
import { EXAMPLE } from "../federation/tasks/example";
import { taskRequestSchema } from "../federation/tasks/request";
import { brokenRules } from "./rules";

const broken = (description: unknown): [path: string, rule: string, taken: string][] =>
  brokenRules(v.safeParse(taskRequestSchema, description).issues ?? []).map(({ path, rule, values }) => [
    path,
    rule,
    values.taken,
  ]);
const rules = (description: unknown): string[] => broken(description).map(([path, rule]) => `${path} ${rule}`);

test("each rule that a description breaks is told by its field, with what is taken there", () => {
  expect(broken(EXAMPLE)).toEqual([]);
  expect(rules({ ...EXAMPLE, foo: 1 })).toEqual(["foo unknown"]);
  const { title: _, ...untitled } = EXAMPLE;
  expect(rules(untitled)).toEqual(["title missing"]);
  expect(rules({ ...EXAMPLE, title: { en: " ", fr: "\u200b", Deutsch: "x", de: "a\u0007" } })).toEqual([
    "title.en empty",
    "title.fr empty",
    "title.Deutsch language",
    "title.de control",
  ]);
  const labels = [{ name: "Circle!" }, { name: 3 }, { nam: "a" }];
  expect(rules({ ...EXAMPLE, labels })).toEqual([
    "labels[0].name labelName",
    "labels[1].name text",
    "labels[2].name missing",
    "labels[2].nam unknown",
  ]);
  expect(broken({ ...EXAMPLE, labels: [{ name: "a" }] })).toContainEqual(["labels", "fewOf", "2"]);
  expect(broken({ ...EXAMPLE, examples: "sound" })).toEqual([["examples", "oneOf", '"face", "drawing", "picture"']]);
  expect(broken({ ...EXAMPLE, input: { height: 97, width: 8.5, channels: 1 } })).toEqual([
    ["input.height", "most", "96"],
    ["input.width", "whole", "Invalid integer: Received 8.5"],
    ["input", "other", "drawings are square"],
    ["model", "other", "Its input is 97 x 8.5 x 1: at most 96 x 96 are taken."],
  ]);
  const twice = [
    { name: "a", words: { en: "Ball" } },
    { name: "a", words: { en: "Ball" } },
  ];
  expect(rules({ ...EXAMPLE, title: { de: "Formen" }, ask: { en: "{label}{label}" }, labels: twice })).toEqual([
    ...["title english", "ask onePlace", "labels sameNames", "labels sameWords"],
  ]);
  expect(rules(3)).toEqual([" object"]);
});

test("a network is one of the list, or an object whose own fields are told", () => {
  const [path, rule, taken] = broken({ ...EXAMPLE, model: "lenet" })[0] ?? [];
  expect([path, rule]).toEqual(["model", "oneOf"]);
  expect(taken).toContain('"mnist-lenet"');
  expect(taken).not.toContain("Object");
  expect(rules({ ...EXAMPLE, model: {} })).toEqual(["model.name missing", "model.layers missing"]);
  const layers = [
    { kind: "lstm", name: "a" },
    { kind: "flatten", name: "1" },
    { kind: "dense", name: "d", units: 0 },
  ];
  expect(rules({ ...EXAMPLE, model: { name: "own", layers } })).toEqual([
    "model.layers[0].kind oneOf",
    "model.layers[1].name layerName",
    "model.layers[2].units least",
    "model.layers[2].activation missing",
  ]);
});
