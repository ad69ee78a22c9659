import { expect, test } from "vitest";
import { STRATEGIES } from "../federation/strategies/registry";
import { en } from "../ui/messages/developer/en";
import { optionFields, SERVER, SWEPT } from "./settings";

test("the form asks for every option of every strategy, in words, and a sweep for each once", () => {
  const options = [...STRATEGIES.keys()].map((name) => [name, optionFields(name).map(({ key }) => key)] as const);
  expect(Object.fromEntries(options)).toEqual({
    fedavg: [],
    ditto: ["lambda"],
    feddyn: ["alpha"],
    fedper: ["personalLayers"],
    fedrep: ["personalLayers", "headEpochs"],
    moon: ["mu", "temperature"],
    "power-of-choice": ["choices"],
    scaffold: ["serverLearningRate"],
  });
  const texts: Record<string, object> = en.fields;
  for (const [name] of options) {
    for (const { kind, text } of optionFields(name)) {
      expect(kind).toBe("number");
      expect(Object.keys(texts[text] ?? {}), text).toEqual(["name", "help"]);
    }
  }
  // What strategies call alike, they mean alike: the sweep has one field for it.
  const alike = new Map<string, object>();
  for (const field of options.flatMap(([name]) => optionFields(name))) {
    expect(alike.get(field.key) ?? field).toEqual(field);
    alike.set(field.key, field);
  }
  const swept = SWEPT.flatMap(({ fields }) => fields);
  expect(new Set(swept.map(({ key }) => key)).size).toBe(swept.length);
  // Beside one another no two fields have one name.
  for (const [strategy] of options) {
    const names = [...optionFields(strategy), ...SERVER].map(({ text }) => en.fields[text].name);
    expect(new Set(names).size, strategy).toBe(names.length);
  }
  const isOpen = (key: string, strategy: string | null): boolean =>
    swept.some((field) => field.key === key && field.when?.({ strategy }) === true);
  expect(isOpen("strategyOptions.personalLayers", "fedper")).toBe(true);
  expect(isOpen("strategyOptions.personalLayers", "fedrep")).toBe(true);
  expect(isOpen("strategyOptions.personalLayers", "moon")).toBe(false);
  expect(isOpen("strategyOptions.mu", null)).toBe(false);
});
