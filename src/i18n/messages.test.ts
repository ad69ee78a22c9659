import { expect, test } from "vitest";
import { ar } from "../messages/ar";
import { de } from "../messages/de";
import { en } from "../messages/en";
import { zhCN } from "../messages/zh-CN";
import { bestLanguage } from "./languages";

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

test.each([
  ["de", de],
  ["zh-CN", zhCN],
  ["ar", ar],
  ["en", en],
])("%s has every text, every plural, and every value", (tag, texts) => {
  const [english, others] = [flat(en), flat(texts)];
  const bases = (keys: Iterable<string>): string[] =>
    [...new Set([...keys].map((key) => key.replace(PLURAL, "")))].sort();
  expect(bases(others.keys())).toEqual(bases(english.keys()));
  for (const [key, text] of others) {
    expect(text.trim(), key).not.toBe("");
    const model = english.get(key) ?? english.get(key.replace(PLURAL, "_other")) ?? "";
    // A plural of one or two may say the number in words.
    if (!/_(zero|one|two)$/.test(key)) expect(names(text), key).toEqual(names(model));
  }
  const forms = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
  const plurals = new Set([...others.keys()].filter((key) => PLURAL.test(key)).map((key) => key.replace(PLURAL, "")));
  expect(plurals.size).toBeGreaterThan(0);
  for (const base of plurals)
    for (const form of forms) expect(others.has(`${base}_${form}`), `${base}_${form}`).toBe(true);
});

test("the browser's languages choose ours: by the whole tag, by its language, else English", () => {
  expect(bestLanguage(["zh-TW", "de"])).toBe("zh-CN");
  expect(bestLanguage(["ar-EG"])).toBe("ar");
  expect(bestLanguage(["fr", "DE-at"])).toBe("de");
  expect(bestLanguage(["", "fr"])).toBe("en");
});
