import { expect, openCamera, playTake, test } from "./stage";

// Of the large network a download can be cut in the middle.
test.use({ serviceWorkers: "allow", task: "expressions" });

test("a download of the model that breaks off goes on from there, and then the game needs no server", async ({
  page,
  stage,
}) => {
  await page.goto(stage.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  stage.breaks = { path: "/api/checkpoints/", bytes: 4_000_000 };
  await page.getByRole("link", { name: "Play", exact: true }).first().click();
  await expect(page.getByRole("alert")).toContainText("broke off");
  stage.breaks = undefined;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByText("version 0")).toBeVisible();
  const [whole, rest] = stage.requests.filter(({ path }) => path.startsWith("/api/checkpoints/"));
  expect(whole).toMatchObject({ status: 200, range: undefined });
  expect(rest?.status).toBe(206);
  // What the browser had not handed over yet when the connection broke is lost with it: how much that is, nobody promises.
  expect(Number(/^bytes=(\d+)-$/.exec(rest?.range ?? "")?.[1])).toBeGreaterThan(0);
  await openCamera(page, stage.url);
  await playTake(page);

  stage.cut = true;
  await openCamera(page, stage.url);
  await playTake(page);
  await page.getByRole("link", { name: "Progress", exact: true }).first().click();
  await expect(page.getByRole("heading", { name: "By expression" })).toBeVisible();
  await page.goto(stage.url);
  await expect(page.getByText("The server cannot be reached now.")).toBeVisible();
});

test("a new version waits until it is asked for, and then takes over", async ({ page, stage }) => {
  await page.goto(stage.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await expect(page.getByText("A new version is ready.")).toBeHidden();
  stage.added.push({ path: "/sw.js", text: "\n// Another version.\n" });
  await page.evaluate(async () => (await navigator.serviceWorker.ready).update());
  await expect(page.getByText("A new version is ready.")).toBeVisible();
  const loaded = page.waitForEvent("load");
  await page.getByRole("button", { name: "Reload" }).click();
  await loaded;
  await expect(page.getByText("A new version is ready.")).toBeHidden();
  await expect(page.getByRole("link", { name: "Play the show" })).toBeVisible();
});
