import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test as base, type Page } from "@playwright/test";
import { serve } from "../tools/serve.mjs";
import { SCENES, scenePath } from "./webcam";
import { recordWire, type Wire } from "./wire";

export { expect };

interface Stage extends Wire {
  adminToken: string;
  /** The edge itself, for clients that are not looked at. */
  edgeUrl: string;
}

interface Options {
  hasPlayed: boolean;
  task: string | null;
}

/** A test with an edge of its own: app and edge in workerd, with empty state, behind a recording proxy. */
export const test = base.extend<{ stage: Stage } & Options>({
  /** Whether the page's player has played before: who has not is led to one easy role first. */
  hasPlayed: [true, { option: true }],
  /** What the page's player plays: the small network, unless the shape of the large one matters; null for what the device begins with. */
  task: ["expressions-compact", { option: true }],
  page: async ({ page, hasPlayed, task }, use) => {
    const kept: [string, string][] = [];
    if (hasPlayed) kept.push(["best-actor-settings", '{"hasPlayed":true}']);
    if (task) kept.push(["best-actor-task", task]);
    // Once: a page may erase it. A tab keeps its name.
    await page.addInitScript((kept) => {
      if (location.protocol === "about:" || window.name !== "" || kept.length === 0) return;
      window.name = "has been here";
      for (const [key, value] of kept) localStorage.setItem(key, value);
    }, kept);
    await use(page);
  },
  // Playwright reads the first parameter's pattern to know what a fixture needs.
  // eslint-disable-next-line no-empty-pattern
  stage: async ({}, use) => {
    const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-state-"));
    const edge = await serve({ port: 0, stateFolder });
    const wire = await recordWire(edge.url);
    await use(Object.assign(wire, { adminToken: edge.adminToken, edgeUrl: edge.url }));
    await wire.close();
    await edge.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  },
});

/** Opens the camera on the play page and waits until a face is seen and judged. */
export async function openCamera(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/play`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  await expect(page.getByRole("button", { name: "Action!" })).toBeEnabled();
  await expect(page.getByRole("list", { name: "What the model sees" })).toContainText("%");
}

/** Plays one take with the camera open, after which a button of that name leads on; gives its score in per cent. */
export async function playTake(page: Page, after = "Next role"): Promise<number> {
  const next = page.getByRole("button", { name: after });
  for (;;) {
    await page.getByRole("button", { name: "Action!" }).click();
    // Between two scenes of the webcam there may be no face: then the app says so, and the player tries again.
    await expect(next.or(page.getByText("No face was in view, so"))).toBeVisible();
    if (await next.isVisible()) break;
  }
  const score = Number.parseInt(await page.getByTestId("score").innerText());
  expect(score).toBeGreaterThanOrEqual(0);
  expect(score).toBeLessThanOrEqual(100);
  return score;
}

/**
 * Plays takes until this browser has `count` faces to train and test with, consenting at the first: that one with the camera, the
 * others as photos. The roles are drawn, so that most takes fail: then the player says that they show what they were to show.
 */
export async function collectFaces(page: Page, url: string, count: number): Promise<void> {
  await openCamera(page, url);
  for (let i = 0; i < count; i++) {
    if (i === 0) {
      await playTake(page);
      await page.getByRole("button", { name: "Keep my faces on this device" }).click();
    } else await page.getByLabel("No camera? Act in a photo").setInputFiles(scenePath(i % SCENES.length));
    await expect(page.getByText("Kept on this device,")).toBeVisible();
    const yes = page.getByRole("button", { name: "Yes, this is my" });
    if (await yes.isVisible()) await yes.click();
    await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
    await page.getByRole("button", { name: "Next role" }).click();
  }
}

interface StoredFace {
  pixels: number[];
  label: number;
  split: string;
  score: number | null;
  needsAnswer: boolean;
}

/** The faces or drawings in this browser's IndexedDB, once the page has made its database: it must not be made here, without a store. */
export async function storedFaces(page: Page, store = "faces"): Promise<StoredFace[]> {
  const isMade = (): Promise<boolean> =>
    page.evaluate(async () => (await indexedDB.databases()).some(({ name }) => name === "best-actor"));
  await expect.poll(isMade).toBe(true);
  return page.evaluate(
    (store) =>
      new Promise((resolve, reject) => {
        const open = indexedDB.open("best-actor");
        open.onerror = () => reject(new Error("The database does not open."));
        open.onsuccess = () => {
          const all = open.result.transaction(store).objectStore(store).getAll();
          all.onsuccess = () => {
            open.result.close();
            resolve(
              (all.result as (Omit<StoredFace, "pixels"> & { pixels: Uint8Array })[]).map((face) => ({
                ...face,
                pixels: [...face.pixels],
              })),
            );
          };
        };
      }),
    store,
  );
}
