import i18next, { type TFunction } from "i18next";
import type { en as developer } from "../messages/developer/en";
import { en } from "../messages/en";
import { numberFormat, scaled, timeParts } from "../words";
import { bestLanguage, type Language } from "./languages";

declare module "i18next" {
  interface CustomTypeOptions {
    resources: { translation: typeof en; developer: typeof developer };
    returnNull: false;
  }
}

type Texts = Record<Language, () => object | Promise<object>>;

/** By namespace. English is there at once; another language's texts come when it is chosen. */
const TEXTS: Record<string, Texts> = {
  translation: {
    en: () => en,
    "zh-CN": async () => (await import("../messages/zh-CN")).zhCN,
    ar: async () => (await import("../messages/ar")).ar,
    de: async () => (await import("../messages/de")).de,
  },
};

const KEY = "best-actor-language";

let current = $state<Language>("en");

export const language = {
  get current(): Language {
    return current;
  },
};

const isArabic = (tag: Language): boolean => tag === "ar";

async function load(tag: Language): Promise<void> {
  for (const [namespace, texts] of Object.entries(TEXTS)) {
    if (!i18next.hasResourceBundle(tag, namespace)) i18next.addResourceBundle(tag, namespace, await texts[tag]());
  }
}

async function show(tag: Language): Promise<void> {
  await load(tag);
  await i18next.changeLanguage(tag);
  document.documentElement.lang = tag;
  document.documentElement.dir = isArabic(tag) ? "rtl" : "ltr";
  current = tag;
}

let starting: Promise<void> | undefined;

/** Loads the texts of the language that was chosen here, or else of the browser's. */
export const startLanguage = (): Promise<void> => (starting ??= start());

async function start(): Promise<void> {
  // Svelte escapes what it puts into the page.
  await i18next.init({ fallbackLng: false, interpolation: { escapeValue: false }, resources: {} });
  await show(bestLanguage([localStorage.getItem(KEY) ?? "", ...navigator.languages]));
}

/** Loads texts that only some pages need, in the language of now and in those that will be chosen. */
export async function addTexts(namespace: string, texts: Texts): Promise<void> {
  TEXTS[namespace] = texts;
  // Which language it is may not be known yet.
  await starting;
  await load(current);
}

/** Changes the page's language, for good. */
export async function chooseLanguage(tag: Language): Promise<void> {
  await show(tag);
  localStorage.setItem(KEY, tag);
}

/** A text that has no values in it is taken as it stands: what i18next does to find none is slow on a phone's first page. */
function translate(namespace: string, key: string, options?: object): unknown {
  const plain: unknown = options ? undefined : i18next.getResource(current, namespace, key);
  if (typeof plain === "string") return plain;
  return Reflect.apply(i18next.t, i18next, [key, { ...options, ns: namespace, lng: current }]);
}

/** A text of the pages for developers in the language of the page: src/ui/i18n/developer.ts has loaded it. */
export const developerText = ((key: string, options?: object) =>
  translate("developer", key, options)) as TFunction<"developer">;

/** A text in the language of the page; where it is used in a component, it follows that language. */
export const t = ((key: string, options?: object) => translate("translation", key, options)) as typeof i18next.t;

/** A whole number of per cent, as the language writes it. */
export const percentText = (whole: number): string => shareText(whole / 100);

/** A share of one in per cent, as the language writes it. */
export const shareText = (share: number, digits = 0): string =>
  numberFormat(current, {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(share);

/** A number, grouped and with so many digits behind the point, as the language writes it. */
export const numberText = (value: number, digits = 0): string =>
  numberFormat(current, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

/** A number at an axis: of four digits at most, as the language writes it. */
export const tickText = (value: number): string =>
  numberFormat(current, { maximumSignificantDigits: 4, useGrouping: false }).format(value);

/** A number with the unit's symbol. */
const unitText = (value: number, unit: string, digits = 0): string =>
  numberFormat(current, {
    style: "unit",
    unit,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);

/** A number with the unit as a word, in the number that the language wants. */
const inWords = (value: number, unit: string, digits: Intl.NumberFormatOptions = {}): string =>
  numberFormat(current, { style: "unit", unit, unitDisplay: "long", ...digits }).format(value);

/** Seconds in the one or two units that people would say: `3 minutes 5 seconds`, `3 Minuten 5 Sekunden`. */
export const durationText = (seconds: number): string =>
  timeParts(seconds)
    .map(([value, unit]) => inWords(value, unit))
    .join(" ");

/** What was measured in seconds: few with two digits, `6.3 seconds`, else as {@link durationText} has them. */
export const secondsText = (seconds: number): string =>
  seconds < 10 ? inWords(seconds, "second", { maximumSignificantDigits: 2 }) : durationText(seconds);

/** Milliseconds as they are while they are few, else as {@link durationText} has them. */
export const millisecondsText = (ms: number): string =>
  ms < 10_000 ? unitText(ms, "millisecond") : durationText(ms / 1000);

const BYTES = ["kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Bytes in a decimal unit, as the language writes them: `12 bytes`, `20.4 MB`, `20,4 MB`. */
export function bytesText(count: number): string {
  const { value, unit, digits } = scaled(count);
  const larger = BYTES[unit - 1];
  return larger ? unitText(value, larger, digits) : inWords(value, "byte");
}
