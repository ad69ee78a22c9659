import { expect, test } from "vitest";
import { en as developerEn } from "../messages/developer/en";
import { en } from "../messages/en";
import { bestLanguage, LANGUAGES } from "./languages";

/** Every language's texts, in a file by its tag that exports them and nothing else. */
type Files = Record<string, Record<string, object>>;
const players = import.meta.glob<Files[string]>("../messages/*.ts", { eager: true });
const developers = import.meta.glob<Files[string]>("../messages/developer/*.ts", { eager: true });
const textsOf = (files: Files, english: object): [string, object, object][] =>
  Object.entries(files).map(([path, exported]) => {
    const tag = /([\w-]+)\.ts$/.exec(path)?.[1] ?? "";
    return [tag, Object.values(exported)[0] ?? {}, english];
  });

const PLURAL = /_(zero|one|two|few|many|other)$/;

/** All texts by their keys. */
function flat(texts: object, prefix = ""): Map<string, string> {
  return new Map(
    Object.entries(texts).flatMap(([key, value]: [string, unknown]) =>
      typeof value === "object" && value !== null
        ? [...flat(value, `${prefix}${key}.`)]
        : [[`${prefix}${key}`, String(value)] as [string, string]],
    ),
  );
}
const names = (text: string): string[] => [...text.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name ?? "").sort();

test("each language has its texts", () => {
  for (const files of [players, developers]) {
    expect(
      textsOf(files, en)
        .map(([tag]) => tag)
        .sort(),
    ).toEqual(Object.keys(LANGUAGES).sort());
  }
});

test.each([...textsOf(players, en), ...textsOf(developers, developerEn)])(
  "%s has every text, every plural, and every value",
  (tag, texts, model) => {
    const [english, others] = [flat(model), flat(texts)];
    const bases = (keys: Iterable<string>): string[] =>
      [...new Set([...keys].map((key) => key.replace(PLURAL, "")))].sort();
    expect(bases(others.keys())).toEqual(bases(english.keys()));
    for (const [key, text] of others) {
      expect(text.trim(), key).not.toBe("");
      const same = english.get(key) ?? english.get(key.replace(PLURAL, "_other")) ?? "";
      // A plural of one or two may say the number in words.
      if (!/_(zero|one|two)$/.test(key)) expect(names(text), key).toEqual(names(same));
    }
    const forms = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
    const plurals = new Set([...others.keys()].filter((key) => PLURAL.test(key)).map((key) => key.replace(PLURAL, "")));
    expect(plurals.size).toBeGreaterThan(0);
    for (const base of plurals)
      for (const form of forms) expect(others.has(`${base}_${form}`), `${base}_${form}`).toBe(true);
  },
);

test("the browser's languages choose ours: by the whole tag, by its language, else English", () => {
  expect(bestLanguage(["zh-TW", "de"])).toBe("zh-CN");
  expect(bestLanguage(["ar-EG"])).toBe("ar");
  expect(bestLanguage(["fr", "DE-at"])).toBe("de");
  expect(bestLanguage(["", "fr"])).toBe("en");
});
