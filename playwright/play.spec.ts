import sharp from "sharp";
import { violationsOf } from "./accessible";
import { expect, playTake, openCamera, storedFaces, test } from "./stage";
import { photoPath } from "./webcam";

test.describe("a stranger", () => {
  test.use({ hasPlayed: false });
  test("plays one easy role with the camera before there is a choice, and keeps nothing without consent", async ({
    page,
    stage,
  }) => {
    await page.goto(stage.url);
    await page.getByRole("link", { name: "Play your first role" }).click();
    await expect(page.getByRole("heading", { name: "Happy" })).toBeVisible();
    const choices = page.getByRole("radiogroup", { name: "How do you want to play?" });
    const consent = page.getByRole("button", { name: "No, just play" });
    await openCamera(page, stage.url);
    await expect(choices.or(consent)).toHaveCount(0);
    expect(await violationsOf(page)).toEqual([]);
    await playTake(page);
    await expect(choices).toBeVisible();
    await consent.click();
    await page.getByRole("button", { name: "Next role" }).click();
    await expect(page.getByRole("button", { name: "Another role" })).toBeVisible();
    await playTake(page);
    expect(await storedFaces(page)).toHaveLength(0);
    // Whoever has played is not led again.
    await page.reload();
    await expect(choices).toBeVisible();
    await page.goto(stage.url);
    await expect(page.getByRole("link", { name: "Play the show" })).toBeVisible();
  });

  test("may skip that, and is not led where a link has called", async ({ page, stage }) => {
    const choices = page.getByRole("radiogroup", { name: "How do you want to play?" });
    for (const path of ["/play?mode=daily", "/play?mode=show&roles=0123456&score=50", "/play#invited"]) {
      await page.goto("about:blank");
      await page.goto(stage.url + path);
      await expect(choices).toBeVisible();
    }
    await page.goto("about:blank");
    await page.goto(`${stage.url}/play`);
    await page.getByRole("button", { name: "Skip to all ways to play" }).click();
    await expect(choices).toBeVisible();
    await expect(page.getByRole("button", { name: "Open the camera" })).toBeFocused();
    await page.reload();
    await expect(choices).toBeVisible();
  });
});

test("a photo stands in for a camera that is denied", async ({ page, stage, context }) => {
  await context.clearPermissions();
  await page.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("denied", "NotAllowedError"));
  });
  await page.goto(`${stage.url}/play`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  await expect(page.getByRole("alert")).toContainText("The camera is not allowed");
  await page.getByLabel("No camera? Act in a photo").setInputFiles(photoPath("sample6.jpg"));
  await expect(page.getByTestId("score")).toBeVisible();
  // What was judged is what is seen, not the closed curtain that asks for the camera.
  const stageOf = page.getByRole("region", { name: "Camera" });
  await expect(stageOf.locator("canvas")).toBeVisible();
  await expect(stageOf.getByRole("button")).toHaveCount(0);
  await page.getByRole("button", { name: "Next role" }).click();
  await expect(stageOf.getByRole("button", { name: "Try the camera again" })).toBeVisible();
});

test("a show that is left in the middle goes on after Back and Forward, and is kept for whoever agrees at its end", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/play?mode=show`);
  const photo = page.getByLabel("No camera? Act in a photo");
  const act = async (): Promise<void> => {
    await photo.setInputFiles(photoPath("sample6.jpg"));
    await expect(page.getByTestId("score")).toBeVisible();
  };
  await act();
  await page.getByRole("button", { name: "Next role" }).click();
  await act();
  const score = await page.getByTestId("score").innerText();
  await page.getByRole("link", { name: "Progress" }).click();
  await expect(page.getByRole("heading", { name: "Progress", level: 1 })).toBeVisible();
  await page.goBack();
  const takes = page.getByRole("list", { name: "Take 3 of 7" }).getByRole("listitem");
  await expect(takes.nth(1)).toHaveText(score);
  await expect(takes.nth(2)).toHaveText("");
  for (let take = 3; take <= 7; take++) {
    await act();
    // Nobody is asked in the middle of a show.
    await expect(page.getByRole("button", { name: "Keep my faces on this device" })).toHaveCount(0);
    await page.getByRole("button", { name: take === 7 ? "Read the reviews" : "Next role" }).click();
  }
  await page.getByRole("button", { name: "Keep my faces on this device" }).click();
  await expect.poll(async () => (await storedFaces(page)).length).toBe(7);
});

test("a show of three has a replay, which another decoder reads take by take, and is no whole show", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/play?mode=show`);
  await page.getByRole("radio", { name: "Three" }).check();
  for (let take = 1; take <= 3; take++) {
    await expect(page.getByRole("list", { name: `Take ${take} of 3` })).toBeVisible();
    await page.getByLabel("No camera? Act in a photo").setInputFiles(photoPath("sample6.jpg"));
    await page.getByRole("button", { name: take === 3 ? "Read the reviews" : "Next role" }).click();
  }
  await page.getByRole("button", { name: "Watch the replay" }).click();
  await page.getByRole("button", { name: "Pause" }).click();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save it" }).click();
  const gif = await (await download).path();
  const picture = { format: "gif", width: 480, pageHeight: 600, pages: 4, delay: [1000, 1000, 1000, 2000], loop: 0 };
  expect(await sharp(gif, { animated: true }).metadata()).toMatchObject(picture);
  // Each take lies on its role's colour, as the page has it.
  const colors = await page
    .locator(".reel li")
    .evaluateAll((all) => all.map((one) => getComputedStyle(one).borderBlockStartColor.match(/\d+/g)?.map(Number)));
  expect(new Set(colors.map(String)).size).toBe(3);
  for (const [page, color] of colors.entries()) {
    const corner = sharp(gif, { page }).extract({ left: 4, top: 300, width: 1, height: 1 }).removeAlpha().raw();
    for (const [i, level] of (await corner.toBuffer()).entries())
      expect(Math.abs(level - (color?.[i] ?? NaN))).toBeLessThan(9);
  }
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("link", { name: "See my progress" }).click();
  await expect(page.getByText("No show of seven finished yet.")).toBeVisible();
});

test("today's show counts once and is pasted as squares; a challenge plays the same roles against a score", async ({
  page,
  stage,
  context,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto(stage.url);
  await page.getByRole("link", { name: "Today's show" }).click();
  const role = page.getByRole("heading", { level: 2 }).first();
  const playShow = async (): Promise<string[]> => {
    const roles: string[] = [];
    for (let take = 1; take <= 7; take++) {
      roles.push(await role.innerText());
      await page.getByLabel("No camera? Act in a photo").setInputFiles(photoPath("sample6.jpg"));
      await page.getByRole("button", { name: take === 7 ? "Read the reviews" : "Next role" }).click();
    }
    return roles;
  };
  const roles = await playShow();
  expect(new Set(roles).size).toBe(7);
  const result = page.getByTestId("daily-result");
  await expect(result).toContainText(/^Best Actor \d{4}-\d\d-\d\d · \d+\/100\n(🟩|🟨|🟧|🟥){7}\nhttp/u);
  await page.getByRole("button", { name: "Copy the result" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(await result.innerText());
  const score = await page.getByTestId("final-score").innerText();
  await page.getByRole("button", { name: "Challenge a friend" }).click();
  await expect(page.getByText("The link is copied.")).toBeVisible();
  const link = await page.evaluate(() => navigator.clipboard.readText());

  // It counts once a day.
  await page.goto(`${stage.url}/play?mode=daily`);
  await expect(result).toBeVisible();
  await expect(page.getByLabel("No camera? Act in a photo")).toHaveCount(0);

  await page.goto(link);
  await expect(page.getByText(`Somebody scored ${score} with these seven roles.`)).toBeVisible();
  expect(await playShow()).toEqual(roles);
  await expect(page.getByText(`A tie: ${score} each.`)).toBeVisible();
});

test("Space and Enter play, wherever the focus is not, and the focus goes to what leads on", async ({
  page,
  stage,
}) => {
  await page.goto(`${stage.url}/play`);
  await expect(page.getByRole("button", { name: "Open the camera" })).toBeVisible();
  await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Action!" })).toBeEnabled();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Cut!" })).toBeFocused();
  await expect(page.getByRole("button", { name: "Next role" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("button", { name: "Action!" })).toBeFocused();
});

test("a nickname and a mask are put on by keyboard, stand where the player does, never leave, and are forgotten", async ({
  page,
  stage,
}) => {
  const name = "Sarah Bernhardt";
  await page.goto(`${stage.url}/progress`);
  await page.getByRole("button", { name: "Choose nickname and mask" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type(name);
  const dialog = page.getByRole("dialog", { name: "You on the stage" });
  expect(await violationsOf(page, "dialog")).toEqual([]);
  // One of each group has the focus, and arrows choose.
  for (const [group, last] of [
    ["mask", "Demon"],
    ["paint", "violet"],
  ] as const) {
    await page.keyboard.press("Tab");
    const wanted = dialog.getByRole("radio", { name: last });
    for (let i = 0; i < 8 && !(await wanted.isChecked()); i++) await page.keyboard.press("ArrowRight");
    await expect(dialog.getByRole("radio", { checked: true }), group).toHaveCount(2);
    await expect(wanted).toBeChecked();
  }
  await expect(dialog.getByRole("img", { name: "Demon, violet" })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("img", { name: "Demon, violet" })).toBeVisible();

  // After a reload, too.
  await page.goto(`${stage.url}/play`);
  await expect(page.getByText(`${name}, your role`)).toBeVisible();
  await page.getByLabel("No camera? Act in a photo").setInputFiles(photoPath("sample6.jpg"));
  await page.getByRole("button", { name: "Share…" }).click();
  /** How many dots of the card's lower end have the mask's paint. */
  const painted = (): Promise<number> =>
    page.locator("dialog canvas").evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext("2d")?.getImageData(0, 1060, canvas.width, 160) ?? { data: [] };
      let dots = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i] === 0xa9 && data[i + 1] === 0x8b && data[i + 2] === 0xf0) dots += 1;
      }
      return dots;
    });
  await expect.poll(painted).toBeGreaterThan(2000);
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("radio", { name: "Party" }).check();
  await expect(page.getByRole("textbox", { name: "Player 1" })).toHaveValue(name);

  await page.goto(`${stage.url}/privacy`);
  await expect(page.getByRole("row", { name: "Your nickname and your mask" })).toBeVisible();
  await page.getByRole("button", { name: "Erase everything" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Erase everything" }).click();
  await page.waitForURL(`${stage.url}/`);
  await page.goto(`${stage.url}/progress`);
  await expect(page.getByRole("button", { name: "Choose nickname and mask" })).toBeVisible();
  const sent = stage.requests.map(({ path, body }) => decodeURIComponent(path) + body.toString("latin1")).join();
  expect(sent).not.toMatch(/Sarah|Demon/i);
});

test("the page runs its own files only, and talks to its own origin only", async ({ page, stage }) => {
  await page.goto(stage.url);
  const outcome = await page.evaluate(async () => {
    const violations: string[] = [];
    document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) =>
      violations.push(effectiveDirective),
    );
    const inline = document.createElement("script");
    inline.textContent = "globalThis.intruded = true";
    document.head.append(inline);
    const blob = URL.createObjectURL(new Blob(["globalThis.intruded = true"], { type: "text/javascript" }));
    const script = document.createElement("script");
    script.src = blob;
    document.head.append(script);
    try {
      new Worker(blob);
    } catch {
      // Some browsers throw, some tell it by the event alone.
    }
    const sent = await fetch("https://example.org/", { method: "POST", body: "a face" }).catch(() => undefined);
    const compiled = await WebAssembly.compile(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0])).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    return {
      violations: [...new Set(violations)].sort(),
      intruded: "intruded" in globalThis,
      sent: sent !== undefined,
      compiled: compiled !== undefined,
      isolated: crossOriginIsolated,
    };
  });
  expect(outcome).toEqual({
    violations: ["connect-src", "script-src", "script-src-elem", "worker-src"],
    intruded: false,
    sent: false,
    compiled: false,
    isolated: true,
  });
});
