/** The languages by their tags (BCP 47), each with its own name. */
export const LANGUAGES = { en: "English", "zh-CN": "简体中文", ar: "العربية", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;
const TAGS = Object.keys(LANGUAGES) as Language[];

/** The first of a person's languages that we speak: by the whole tag, else by its language alone. */
export function bestLanguage(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const found =
      TAGS.find((one) => one.toLowerCase() === tag.toLowerCase()) ??
      TAGS.find((one) => one.split("-")[0] === tag.split("-")[0]?.toLowerCase());
    if (found) return found;
  }
  return "en";
}
