import { PICTURE_EXAMPLE } from "../src/federation/tasks/example";
import { expect, MOUTHS, test } from "./stage";

/**
 * How each page looks, on a phone and on a desk, in both themes, beside pictures that are kept in looks/ and shown in docs/.
 * `npx playwright test -c playwright/playwright.config.ts looks.spec -u all` makes them anew: look at each before it is committed.
 */

test.use({ task: null });

const PAGES = {
  home: "/",
  play: "/play",
  show: "/play?mode=show",
  progress: "/progress",
  faces: "/faces",
  train: "/train",
  rounds: "/rounds",
  lab: "/lab",
  privacy: "/privacy",
  nowhere: "/nowhere",
  // The last: whoever opens one plays its first task from then on, be it drawn, held before the camera or acted.
  draw: "/draw",
  pictures: "/pictures",
  act: "/act",
};

/** Tasks that are added before pages are opened that have none else. */
const ADDED: Record<string, object> = {
  pictures: PICTURE_EXAMPLE,
  act: { ...MOUTHS, model: "compact" },
};

test.skip(process.platform !== "linux", "The pictures are of Linux's way to draw letters.");

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [390, 1280]) {
    test.describe(() => {
      test.use({
        colorScheme,
        contextOptions: { reducedMotion: "reduce" },
        viewport: { width, height: width === 390 ? 844 : 800 },
      });
      test(`every page looks as it did, ${colorScheme}, ${width} px`, async ({ page, stage }) => {
        // The same role for everybody.
        await page.addInitScript(() => {
          Math.random = () => 0.8;
        });
        for (const [name, path] of Object.entries(PAGES)) {
          const added = ADDED[name];
          if (added) expect((await stage.admin(`of-${name}`, "PUT", "", added)).status).toBe(201);
          await page.goto(stage.url + path);
          await page.waitForLoadState("networkidle");
          // What a socket tells is no request that is waited for.
          if (name === "rounds") await expect(page.getByText("Live", { exact: true })).toBeVisible();
          await expect.soft(page).toHaveScreenshot(`${name}-${width}-${colorScheme}.png`);
        }
      });
    });
  }
}
