import { expect, test } from "vitest";
import { STRATEGIES } from "../federation/strategies/registry";
import { en } from "../ui/messages/developer/en";
import { optionFields, SWEPT } from "./settings";

test("the form asks for every option of every strategy, in words, and a sweep for each once", () => {
  const options = [...STRATEGIES.keys()].map((name) => [name, optionFields(name).map(({ key }) => key)] as const);
  expect(Object.fromEntries(options)).toMatchObject({
    fedavg: [],
    ditto: ["lambda"],
    feddyn: ["alpha"],
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
  const swept = SWEPT.flatMap(({ fields }) => fields);
  expect(new Set(swept.map(({ key }) => key)).size).toBe(swept.length);
  const isOpen = (key: string, strategy: string | null): boolean =>
    swept.some((field) => field.key === key && field.when?.({ strategy }) === true);
  expect(isOpen("strategyOptions.personalLayers", "fedper")).toBe(true);
  expect(isOpen("strategyOptions.personalLayers", "fedrep")).toBe(true);
  expect(isOpen("strategyOptions.personalLayers", "moon")).toBe(false);
  expect(isOpen("strategyOptions.mu", null)).toBe(false);
});
