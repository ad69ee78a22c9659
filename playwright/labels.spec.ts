import type { Page } from "@playwright/test";
import { violationsOf } from "./accessible";
import { expect, storedFaces, test } from "./stage";
import { scenePath } from "./webcam";

const splitsOf = async (page: Page): Promise<string[]> =>
  (await storedFaces(page)).map(({ split, label, needsAnswer }) => `${split} ${label}${needsAnswer ? " ?" : ""}`);

test("a smile does not train anger unless the player says that it is", async ({ page, stage }) => {
  /** Lets the director name one role after the other until it is this one. */
  const wait = async (role: string): Promise<void> => {
    const another = page.getByRole("button", { name: "Another role" });
    while (!(await page.getByRole("heading", { name: role }).isVisible())) await another.click();
  };
  await page.goto(`${stage.url}/play`);
  await wait("Angry");
  const photo = page.getByLabel("No camera? Act in a photo");
  const next = page.getByRole("button", { name: "Next role" });
  await photo.setInputFiles(scenePath(0));
  await page.getByRole("button", { name: "Keep my faces on this device" }).click();
  await expect(page.getByText("Kept on this device, but not used yet.")).toBeVisible();
  await expect(page.getByText("A take trains by itself from a score of 60% on.")).toBeVisible();
  expect(await splitsOf(page)).toEqual(["excluded 0 ?"]);
  expect(await violationsOf(page)).toEqual([]);
  await page.getByLabel("It shows something else").selectOption("Happy");
  await expect(page.getByText("Kept on this device, for training.")).toBeVisible();
  await expect(next).toBeFocused();
  expect(await splitsOf(page)).toEqual(["train 3"]);
  // Who does not answer is asked later.
  await next.click();
  await wait("Angry");
  await photo.setInputFiles(scenePath(0));
  await expect(page.getByText("Kept on this device, but not used yet.")).toBeVisible();
  await page.goto(`${stage.url}/train`);
  await expect(page.getByText("Faces to train with: 1. To test the model with: 0. Not used: 1.")).toBeVisible();
  await page.getByRole("link", { name: "1 face waits for your word." }).click();
  await expect(page.getByRole("listitem").filter({ hasText: "as angry" })).toHaveCount(1);
  await page.getByRole("button", { name: "Yes, this is my angry face" }).click();
  await expect(page.getByText("No face matches.")).toBeVisible();
  expect(await splitsOf(page)).toEqual(["train 3", "train 0"]);
});

test("a browser with faces from before takes were questioned loses none of them, and asks", async ({ page, stage }) => {
  // The database of the last version, made by nothing of ours, before any page of ours has run.
  await page.goto(`${stage.url}/robots.txt`);
  await page.evaluate(
    () =>
      new Promise<void>((resolve, reject) => {
        const open = indexedDB.open("best-actor", 3);
        open.onerror = () => reject(new Error("The database does not open."));
        open.onupgradeneeded = () => {
          open.result.createObjectStore("faces", { keyPath: "id", autoIncrement: true });
          open.result.createObjectStore("settings");
          open.result.createObjectStore("takes", { keyPath: "id", autoIncrement: true });
        };
        open.onsuccess = () => {
          const all = open.result.transaction(["faces", "settings", "takes"], "readwrite");
          all.objectStore("settings").put({ given: true, at: 1 }, "consent");
          for (let i = 0; i < 6; i++) {
            all.objectStore("faces").add({
              pixels: Uint8Array.from({ length: 2304 }, (_, at) => (at * (i + 3)) % 256),
              label: i === 5 ? 3 : 0,
              prompted: 0,
              probabilities: i === 4 ? [0.9, 0, 0, 0.1, 0, 0, 0] : [0.01, 0, 0, 0.99, 0, 0, 0],
              capturedAt: 1000 + i,
              split: i === 4 ? "held-out" : "train",
            });
            if (i < 3) all.objectStore("takes").add({ at: 1000 + i, prompt: 0, score: 90 - 40 * i });
          }
          all.oncomplete = () => {
            open.result.close();
            resolve();
          };
        };
      }),
  );
  await page.goto(`${stage.url}/faces`);
  await expect(page.getByText("6 faces", { exact: true })).toBeVisible();
  await expect(page.getByText("2 for training", { exact: true })).toBeVisible();
  await expect(page.getByText("1 to test the model with")).toBeVisible();
  await expect(page.getByText("3 not used")).toBeVisible();
  expect(await splitsOf(page)).toEqual([
    "train 0",
    "excluded 0 ?",
    "excluded 0 ?",
    "excluded 0 ?",
    "held-out 0 ?",
    "train 3",
  ]);
  expect((await storedFaces(page)).map(({ pixels }) => pixels[1])).toEqual([3, 4, 5, 6, 7, 8]);
  expect(await violationsOf(page)).toEqual([]);
  // One after the other, without a mouse: the focus goes on to the next that waits.
  await expect(page.getByText("4 faces wait for your word.")).toBeVisible();
  await page.getByRole("button", { name: "Show them" }).click();
  const cards = page.getByRole("listitem").filter({ hasText: "Delete" });
  await expect(cards).toHaveCount(4);
  await cards.first().getByRole("button", { name: "Yes, this is my angry face" }).focus();
  for (const [left, key] of ["y", "4", "x"].entries()) {
    await page.keyboard.press(key);
    await expect(cards).toHaveCount(3 - left);
    await expect(cards.first().getByRole("button", { name: "Yes, this is my angry face" })).toBeFocused();
  }
  expect(await splitsOf(page)).toEqual(["train 0", "excluded 0 ?", "excluded 0", "train 3", "held-out 0", "train 3"]);
});
