import type { Page } from "@playwright/test";

/**
 * What a browser that has nothing yet downloads before the first page can be used: the compressed bytes, with headers, of all that
 * it asks for before the link to the game is there. Not the typeface: until it comes, the text stands there in the system's.
 */
export async function bytesUntilUsable(page: Page, url: string): Promise<number> {
  await page.addInitScript(() => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector("main a[href^='/play']")) return;
      performance.mark("usable");
      observer.disconnect();
    }).observe(document, { childList: true, subtree: true });
  });
  await page.goto(url, { waitUntil: "networkidle" });
  return page.evaluate(() => {
    const usable = performance.getEntriesByName("usable")[0]?.startTime ?? Infinity;
    const loads = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return (loads as PerformanceResourceTiming[])
      .filter(({ name, startTime }) => startTime <= usable && !name.endsWith(".woff2"))
      .reduce((sum, { transferSize }) => sum + transferSize, 0);
  });
}
