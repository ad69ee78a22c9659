import { devices, type Browser, type Page } from "@playwright/test";
import { expect, test } from "./stage";
import { scenePath } from "./webcam";

/** Which model a device begins with: a phone the small one, until its player or an invitation says otherwise. */

const COMPACT = "expressions-compact";
const SEED = "expressions";
const { defaultBrowserType: _, ...PHONE } = devices["Pixel 7"];
const { defaultBrowserType: __, ...TABLET } = devices["Galaxy Tab S4"];

/** A browser that does not say what it runs on, as Firefox and Safari. */
const WITHOUT_NAME = "delete Navigator.prototype.userAgentData";

async function opened(browser: Browser, profile: typeof PHONE | null, script?: string): Promise<Page> {
  const context = await browser.newContext({ ...profile, serviceWorkers: "block" });
  if (script) await context.addInitScript(script);
  return context.newPage();
}

/** The task that a page's first take by photo is judged with. */
async function taskOf(page: Page, url: string): Promise<string> {
  const asked = page.waitForRequest(/\/api\/tasks\/[^/]+$/);
  await page.goto(url);
  // A new page loads its model from the first sign of a person on.
  await page.getByLabel("No camera? Act in a photo").setInputFiles(scenePath(0));
  return new URL((await asked).url()).pathname.split("/").at(-1) ?? "";
}

for (const [name, profile, script, expected] of [
  ["a phone", PHONE, undefined, COMPACT],
  ["a phone whose browser does not say so", PHONE, WITHOUT_NAME, COMPACT],
  ["a tablet whose browser does not say so", TABLET, WITHOUT_NAME, SEED],
  ["a desktop", null, undefined, SEED],
  ["a desktop whose browser does not say so", null, WITHOUT_NAME, SEED],
] as const) {
  test(`${name} begins with ${expected}`, async ({ browser, stage }) => {
    const page = await opened(browser, profile, script);
    expect(await taskOf(page, `${stage.url}/play`)).toBe(expected);
    await page.context().close();
  });
}

test("on a phone an invitation's task wins, and the player's own choice stays", async ({ browser, stage }) => {
  const page = await opened(browser, PHONE);
  expect(await taskOf(page, `${stage.url}/play?task=${SEED}`)).toBe(SEED);
  await page.goto(`${stage.url}/train`);
  const select = page.getByLabel("Model");
  await expect(select).toHaveValue(COMPACT);
  await select.selectOption(SEED);
  expect(await taskOf(page, `${stage.url}/play`)).toBe(SEED);
  await page.context().close();
});
