import i18next from "i18next";
import { en } from "../messages/en";
import { scaled } from "../words";
import { bestLanguage, type Language } from "./languages";

declare module "i18next" {
  interface CustomTypeOptions {
    resources: { translation: typeof en };
    returnNull: false;
  }
}

/** English is there at once; another language's texts come when it is chosen. */
const TEXTS: Record<Language, () => object | Promise<object>> = {
  en: () => en,
  "zh-CN": async () => (await import("../messages/zh-CN")).zhCN,
  ar: async () => (await import("../messages/ar")).ar,
  de: async () => (await import("../messages/de")).de,
};

const KEY = "best-actor-language";

let current = $state<Language>("en");

export const language = {
  get current(): Language {
    return current;
  },
};

const isArabic = (tag: Language): boolean => tag === "ar";

async function show(tag: Language): Promise<void> {
  if (!i18next.hasResourceBundle(tag, "translation")) {
    i18next.addResourceBundle(tag, "translation", await TEXTS[tag]());
  }
  await i18next.changeLanguage(tag);
  document.documentElement.lang = tag;
  document.documentElement.dir = isArabic(tag) ? "rtl" : "ltr";
  current = tag;
}

/** Loads the texts of the language that was chosen here, or else of the browser's. */
export async function startLanguage(): Promise<void> {
  // Svelte escapes what it puts into the page.
  await i18next.init({ fallbackLng: false, interpolation: { escapeValue: false }, resources: {} });
  await show(bestLanguage([localStorage.getItem(KEY) ?? "", ...navigator.languages]));
}

/** Changes the page's language, for good. */
export async function chooseLanguage(tag: Language): Promise<void> {
  await show(tag);
  localStorage.setItem(KEY, tag);
}

const translate = (key: string, options: object): unknown => Reflect.apply(i18next.t, i18next, [key, options]);

/** A text in the language of the page; where it is used in a component, it follows that language. */
export const t = ((key: string, options?: object) => translate(key, { ...options, lng: current })) as typeof i18next.t;

const percent = $derived(new Intl.NumberFormat(current, { style: "percent" }));

/** A whole number of per cent, as the language writes it. */
export const percentText = (whole: number): string => percent.format(whole / 100);

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Bytes in a decimal unit, as the language writes them: `20.4 MB`, `20,4 MB`. */
export function bytesText(count: number): string {
  const { value, unit, digits } = scaled(count);
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(current, { style: "unit", unit: BYTES[unit] ?? "byte", ...form }).format(value);
}
