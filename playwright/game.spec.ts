import type { Page } from "@playwright/test";
import { expect, openCamera, playTake, storedFaces, test } from "./stage";
import { violationsOf } from "./accessible";
import { bytesUntilUsable } from "./first-load";

/** The scores that this browser has noted. */
const storedTakes = (page: Page): Promise<{ prompt: number; score: number; show?: string }[]> =>
  page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const open = indexedDB.open("best-actor");
        open.onerror = () => reject(new Error("The database does not open."));
        open.onsuccess = () => {
          const all = open.result.transaction("takes").objectStore("takes").getAll();
          all.onsuccess = () => {
            open.result.close();
            resolve(all.result as { prompt: number; score: number; show?: string }[]);
          };
        };
      }),
  );

test("a show of seven ends in a final score, a card to share, and progress", async ({ page, stage }) => {
  await page.goto(stage.url);
  await page.getByRole("link", { name: "Play the show" }).click();
  await page.getByRole("button", { name: "Open the camera" }).click();
  await expect(page.getByRole("button", { name: "Action!" })).toBeEnabled();
  const scores: number[] = [];
  for (let i = 0; i < 7; i++) {
    scores.push(await playTake(page, i < 6 ? "Next role" : "Read the reviews"));
    await page.getByRole("button", { name: i < 6 ? "Next role" : "Read the reviews" }).click();
  }
  await page.getByRole("button", { name: "No, just play" }).click();
  const takes = await storedTakes(page);
  expect(new Set(takes.map(({ prompt }) => prompt)).size).toBe(7);
  expect(takes.map(({ score }) => score)).toEqual(scores);
  const final = Math.round(scores.reduce((a, b) => a + b, 0) / 7);
  await expect(page.getByTestId("final-score")).toHaveText(`${final}%`);

  await page.getByRole("button", { name: "Share…" }).click();
  const face = page.getByRole("checkbox", { name: "Show my face on the card" });
  await expect(face).not.toBeChecked();
  const card = (): Promise<string> =>
    page
      .getByRole("dialog")
      .locator("canvas")
      .evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  const drawn = await card();
  await face.check();
  await expect.poll(card).not.toBe(drawn);
  await face.uncheck();
  await expect.poll(card).toBe(drawn);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download" }).click();
  expect((await download).suggestedFilename()).toBe("best-actor.png");
  await page.getByRole("button", { name: "Close" }).click();

  await page.getByRole("link", { name: "See my progress" }).click();
  await expect(page.getByRole("heading", { name: "Your progress" })).toBeVisible();
  await expect(page.getByText(`${final}%`).first()).toBeVisible();
  expect(await storedFaces(page)).toHaveLength(0);
  await page.getByRole("button", { name: "Clear my progress…" }).click();
  await page.getByRole("button", { name: "Clear it" }).click();
  await expect(page.getByText("No takes yet")).toBeVisible();
  expect(await storedTakes(page)).toEqual([]);
});

test("the coach says what to move, a party has a winner and leaves nothing behind", async ({ page, stage }) => {
  await openCamera(page, stage.url);
  await page.getByRole("radio", { name: "Practice" }).check();
  await expect(page.getByTestId("coach")).toContainText(/I see|right way|That is it|You had it/);
  await page.getByRole("radio", { name: "Party" }).check();
  await page.getByRole("textbox", { name: "Player 1" }).fill("Ada");
  await page.getByRole("button", { name: "Add a player" }).click();
  await page.getByRole("button", { name: "Remove player 3" }).click();
  await page.getByLabel("Takes for each").selectOption("1");
  await page.getByRole("button", { name: "Start the party" }).click();
  await page.getByRole("button", { name: "I am Ada, ready" }).click();
  await playTake(page);
  await page.getByRole("button", { name: "Next role" }).click();
  await page.getByRole("button", { name: "I am Player 2, ready" }).click();
  await playTake(page, "Read the reviews");
  await page.getByRole("button", { name: "Read the reviews" }).click();
  await expect(page.getByText(/wins!|A tie!/)).toBeVisible();
  await expect(page.getByRole("row", { name: /Ada/ })).toBeVisible();
  expect(await storedTakes(page)).toEqual([]);
});

test("a take, a new label and a round without a mouse", async ({ page, stage }) => {
  /** Goes on with Tab until the focus is on what has this name, as somebody without a mouse would. */
  const tabTo = async (name: string | RegExp): Promise<void> => {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      const text = await page.evaluate(() => {
        const { activeElement: node } = document;
        const label = node?.closest("label")?.textContent ?? "";
        return node === document.body
          ? ""
          : `${node?.getAttribute("aria-label") ?? ""} ${label} ${node?.textContent ?? ""}`;
      });
      if (typeof name === "string" ? text.includes(name) : name.test(text)) return;
    }
    throw new Error(`Tab never came to ${String(name)}.`);
  };
  await page.goto(`${stage.url}/play`);
  await tabTo("Open the camera");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Action!" })).toBeEnabled();
  const judged = page.getByRole("button", { name: "Next role" });
  while (!(await judged.isVisible())) {
    await tabTo("Action!");
    await page.keyboard.press("Enter");
    await expect(judged.or(page.getByText("No face was in view, so"))).toBeVisible();
  }
  await tabTo("Keep my faces on this device");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Kept on this device,")).toBeVisible();
  const [before] = await storedFaces(page);
  await tabTo(/^ *My faces/);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "My faces" })).toBeVisible();
  await tabTo("What this face shows");
  await page.keyboard.press(before?.label === 0 ? "ArrowDown" : "ArrowUp");
  await expect
    .poll(async () => (await storedFaces(page))[0]?.label)
    .toBe((before?.label ?? 0) + (before?.label === 0 ? 1 : -1));

  await page.goto(`${stage.url}/rounds`);
  await tabTo(/Start a round/);
  await page.keyboard.press("Enter");
  await tabTo(/Admin token/);
  await page.keyboard.type(stage.adminToken);
  await page.keyboard.press("Enter");
  await expect(page.getByText(/Round 1/).first()).toBeVisible();
});

for (const { locale, dir, scheme } of [
  { locale: "en", dir: "ltr", scheme: "light" },
  { locale: "ar", dir: "rtl", scheme: "dark" },
] as const) {
  test.describe(() => {
    test.use({ locale, colorScheme: scheme });
    test(`no page has a violation that axe knows, ${scheme}, ${dir}`, async ({ page, stage }) => {
      const routes = [
        "/",
        "/play?mode=show",
        "/play?mode=party",
        "/progress",
        "/faces",
        "/train",
        "/rounds",
        "/lab",
        "/privacy",
        "/nowhere",
        "/draw",
        "/pictures",
        "/act",
      ];
      for (const route of routes) {
        await page.goto(stage.url + route);
        await expect(page.locator("main h1").first()).toBeAttached();
        await expect(page.locator("html")).toHaveAttribute("dir", dir);
        expect(await violationsOf(page), route).toEqual([]);
      }
    });
  });
}

test("the page speaks the language that is chosen, and remembers it", async ({ page, stage }) => {
  await page.goto(stage.url);
  await page.getByRole("button", { name: "Settings" }).click();
  for (const [tag, name] of [
    ["de", "Spielen"],
    ["zh-CN", "开始"],
    ["ar", "العب"],
  ] as const) {
    await page.getByRole("dialog").getByRole("combobox").first().selectOption(tag);
    await expect(page.locator("html")).toHaveAttribute("lang", tag);
    await expect(page.locator("header nav a").first()).toHaveText(name);
  }
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  await expect(page.locator("header nav a").first()).toHaveText("العب");
  // The pages for developers have texts of their own, which come with them and follow the language too.
  await page.goto(`${stage.url}/rounds`);
  const title = page.locator("#start-title");
  await expect(title).toHaveText("بدء الجولات");
  await page.getByRole("button", { name: "الإعدادات" }).click();
  await page.getByRole("dialog").getByRole("combobox").first().selectOption("de");
  await expect(title).toHaveText("Runden starten");
});

test("the first page can be used after at most 100 KB", async ({ page, stage }) => {
  const bytes = await bytesUntilUsable(page, stage.url);
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThan(100_000);
});
