import { addTexts } from "./language.svelte";

let loading: Promise<void> | undefined;

/**
 * Loads the texts of the developers' pages, before one is drawn. No top-level await does it: WebKit runs a module that waits for such a
 * one before that is done, where two imports meet (bugs.webkit.org 242740).
 */
export function loadDeveloperTexts(): Promise<void> {
  loading ??= addTexts("developer", {
    en: async () => (await import("../messages/developer/en")).en,
    "zh-CN": async () => (await import("../messages/developer/zh-CN")).zhCN,
    ar: async () => (await import("../messages/developer/ar")).ar,
    de: async () => (await import("../messages/developer/de")).de,
  }).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

export { developerText as d } from "./language.svelte";
