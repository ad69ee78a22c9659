/** How long it takes from opening a link until a first take by photo is judged, on a phone far from the server. */
import puppeteer, { KnownDevices, PredefinedNetworkConditions } from "puppeteer-core";
import { findBrowser } from "../tools/setup.mjs";

/** A processor this much slower, and Chromium's "Fast 4G": 8.1 Mbit/s, 165 ms there and back. */
const SLOWDOWN = 4;
const NETWORK = PredefinedNetworkConditions["Fast 4G"];

/**
 * Opens the game in a browser that has nothing yet, chooses a photo as soon as one can be chosen, and waits for its score.
 * @param {string} url of the game
 * @param {string} photo a picture with a face
 * @returns milliseconds until the photo can be chosen, and until the take is judged; what came when, by file
 */
export async function firstTake(url, photo) {
  const browser = await puppeteer.launch({
    executablePath: findBrowser(),
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    const page = await browser.newPage();
    await page.emulate(KnownDevices["Pixel 5"]);
    const loads = [];
    let begun = 0;
    const listen = (client) => {
      const names = new Map();
      client.on("Network.requestWillBeSent", ({ requestId, request }) =>
        names.set(requestId, { name: new URL(request.url).pathname, from: Math.round(performance.now() - begun) }),
      );
      client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
        const to = Math.round(performance.now() - begun);
        if (names.has(requestId)) loads.push({ ...names.get(requestId), to, bytes: encodedDataLength });
      });
    };
    // Its workers' loads come through the page's slow network too; their threads cannot be slowed down.
    page.on("workercreated", ({ client }) => {
      listen(client);
      client.send("Network.enable").catch(() => undefined);
    });
    await page.emulateNetworkConditions(NETWORK);
    await page.emulateCPUThrottling(SLOWDOWN);
    const client = await page.createCDPSession();
    await client.send("Network.enable");
    listen(client);
    begun = performance.now();
    await page.goto(url, { waitUntil: "domcontentloaded" });
    const input = await page.waitForSelector("input[type=file]", { timeout: 120_000 });
    const chosenMs = performance.now() - begun;
    await input.uploadFile(photo);
    await page.waitForSelector("[data-testid=score]", { timeout: 120_000 });
    return { chosenMs: Math.round(chosenMs), judgedMs: Math.round(performance.now() - begun), loads };
  } finally {
    await browser.close();
  }
}
