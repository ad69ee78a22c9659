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
  /** What an administrator asks of a task: JSON, or a file as it is. */
  admin: (task: string, method: string, path: string, body: object) => Promise<Response>;
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
    const admin: Stage["admin"] = (task, method, path, body) =>
      fetch(`${wire.url}/api/tasks/${task}${path}`, {
        method,
        headers: { authorization: `Bearer ${edge.adminToken}` },
        body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body),
      });
    await use(Object.assign(wire, { adminToken: edge.adminToken, edgeUrl: edge.url, admin }));
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

/** In this order the fifth scene, which is held out, is an easy one, so that chance has little part in what is said of it. */
export const ORDER = [2, 4, 0, 3, 1] as const;

/**
 * Plays takes until this browser has `count` faces to train and test with, consenting at the first: all of them photos, since a model that
 * looks through a camera all the while keeps a core busy.
 * @param roles those that the photos show; or as they are drawn, most of them wrong: then the player says all the same that the face shows
 *   it, and there is much to learn
 */
export async function collectFaces(
  page: Page,
  url: string,
  count: number,
  roles: "shown" | "drawn" = "shown",
): Promise<void> {
  await page.goto(`${url}/play`);
  for (let i = 0; i < count; i++) {
    const scene = ORDER[i % ORDER.length] ?? 0;
    const role = page.getByRole("heading", { name: SCENES[scene]?.role ?? "", exact: true });
    const another = page.getByRole("button", { name: "Another role" });
    // A stranger's first role is not drawn, but an easy one: Happy, as the photo.
    await expect(another.or(role).first()).toBeVisible();
    while (roles === "shown" && !(await role.isVisible())) await another.click();
    await page.getByLabel("No camera? Act in a photo").setInputFiles(scenePath(scene));
    if (i === 0) await page.getByRole("button", { name: "Keep my faces on this device" }).click();
    await expect(page.getByText("Kept on this device,")).toBeVisible();
    const yes = page.getByRole("button", { name: "Yes, this is my" });
    if (await yes.isVisible()) await yes.click();
    await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
    await page.getByRole("button", { name: "Next role" }).click();
  }
}

/** What is acted with the face and is no expression; its network is for whoever adds it to say. */
export const MOUTHS = {
  title: { en: "Mouths" },
  ask: { en: "Make a {label} mouth" },
  examples: "face",
  input: { height: 48, width: 48, channels: 1 },
  labels: [
    { name: "open", how: { en: "As if you said ah." } },
    { name: "shut", how: { en: "Lips together." } },
  ],
} as const;

interface StoredFace {
  pixels: number[];
  label: number;
  labelName?: string;
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
