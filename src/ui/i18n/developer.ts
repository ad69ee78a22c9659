import { addTexts } from "./language.svelte";

// Before a page that imports this is drawn.
await addTexts("developer", {
  en: async () => (await import("../messages/developer/en")).en,
  "zh-CN": async () => (await import("../messages/developer/zh-CN")).zhCN,
  ar: async () => (await import("../messages/developer/ar")).ar,
  de: async () => (await import("../messages/developer/de")).de,
});

export { developerText as d } from "./language.svelte";
