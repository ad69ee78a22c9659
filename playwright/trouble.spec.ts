import { collectFaces, expect, openCamera, playTake, storedFaces, test } from "./stage";

/** What goes wrong in people's hands: each ends in words that help, and nothing is lost. */

test("a camera that is unplugged is missed, and works again once it is back", async ({ page, stage }) => {
  await openCamera(page, stage.url);
  await page.evaluate(() => {
    const [track] = (document.querySelector("video")?.srcObject as MediaStream).getVideoTracks();
    // What a page sees of a pulled plug.
    track?.stop();
    track?.dispatchEvent(new Event("ended"));
  });
  await expect(page.getByText("The camera has gone")).toBeVisible();
  await page.getByRole("button", { name: "Try the camera again" }).click();
  await playTake(page);
});

test("a browser that keeps nothing plays on, and says that it keeps nothing", async ({ page, stage }) => {
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("A private window.", "SecurityError");
    };
  });
  await openCamera(page, stage.url);
  await playTake(page);
  await page.getByRole("button", { name: "Keep my faces on this device" }).click();
  await expect(page.getByText("does not let us keep faces on this device").first()).toBeVisible();
  await page.getByRole("button", { name: "Next role" }).click();
  await playTake(page);
  await page.goto(`${stage.url}/faces`);
  await expect(page.getByText("does not let us keep faces on this device").first()).toBeVisible();
  await page.goto(`${stage.url}/lab`);
  await expect(page.getByRole("alert").first()).toContainText("does not let the lab keep anything on this device");
});

test("a full device keeps the faces that it has, and says what to do", async ({ page, stage }) => {
  await collectFaces(page, stage.url, 1);
  await openCamera(page, stage.url);
  await page.evaluate(() => {
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const add = IDBObjectStore.prototype.add;
    IDBObjectStore.prototype.add = function (this: IDBObjectStore, ...values) {
      if (this.name === "faces") throw new DOMException("Full.", "QuotaExceededError");
      return add.apply(this, values);
    };
  });
  await playTake(page);
  await expect(page.getByText("This device has no room left. Delete some faces")).toBeVisible();
  await page.getByRole("button", { name: "Next role" }).click();
  await playTake(page);
  expect(await storedFaces(page)).toHaveLength(1);
});

test("after a deployment the old page's parts are gone: it says that there is a new version, and offers it", async ({
  browser,
  stage,
}) => {
  // Without the service worker, which keeps all parts of its version.
  const page = await (await browser.newContext({ serviceWorkers: "block" })).newPage();
  await page.goto(stage.url);
  await expect(page.getByRole("link", { name: "Progress" })).toBeVisible();
  await page.route("**/assets/Progress-*.js", (route) => route.fulfill({ status: 404, body: "" }));
  await page.getByRole("link", { name: "Progress" }).click();
  await expect(page.getByRole("alert")).toContainText("Check the connection");
  // The same, once the server has an app with other parts.
  const deployed = await (await fetch(stage.url)).text();
  const isPage = (url: URL): boolean => url.pathname === "/";
  await page.route(isPage, (route) =>
    route.fulfill({ contentType: "text/html", body: deployed.replace(/index-[\w-]+\.js/, "index-of-tomorrow.js") }),
  );
  await page.goto(`${stage.url}/faces`);
  await page.getByRole("link", { name: "Progress" }).click();
  await expect(page.getByRole("alert")).toContainText("There is a new version of the app");
  await expect(page.getByText("A new version is ready.")).toBeVisible();
  await page.unrouteAll();
  await page.getByRole("button", { name: "Reload" }).click();
  await expect(page.getByRole("heading", { name: "Progress" })).toBeVisible();
  await page.context().close();
});

test("faces that a newer version of the app keeps are not blamed on the browser", async ({ page, stage }) => {
  await page.goto(`${stage.url}/robots.txt`);
  await page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        indexedDB.open("best-actor", 1000).onsuccess = ({ target }) => {
          (target as IDBOpenDBRequest).result.close();
          resolve();
        };
      }),
  );
  for (const path of ["/faces", "/privacy", "/train"]) {
    await page.goto(stage.url + path);
    await expect(page.getByText("A newer version of this page keeps your faces").first()).toBeVisible();
  }
});

test("a clock that is a year off, an edge that goes, a tab that is closed in mid-upload: the update still counts once", async ({
  page,
  stage,
  context,
}) => {
  await context.addInitScript(() => {
    localStorage.setItem("best-actor-task", "expressions-compact");
    const year = 365 * 24 * 60 * 60 * 1000;
    const now = Date.now.bind(Date);
    const Ahead = class extends Date {
      constructor(...values: []) {
        // Dates that are made from something stay what they are.
        if ((values as unknown[]).length === 0) super(now() + year);
        else super(...values);
      }
      static override now(): number {
        return now() + year;
      }
    } as DateConstructor;
    Object.assign(globalThis, { Date: Ahead });
  });
  await collectFaces(page, stage.url, 5);
  const config = { goalCount: 1, fraction: 1, epochs: 8, batchSize: 1, learningRate: 0.001, deadlineSeconds: 600 };
  const started = await fetch(`${stage.url}/api/tasks/expressions-compact/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${stage.adminToken}` },
    body: JSON.stringify({ ...config, rounds: 1 }),
  });
  expect(started.status).toBe(201);

  let uploads = 0;
  await page.route("**/updates/**", () => {
    // It never gets there.
    uploads += 1;
  });
  await page.goto(`${stage.url}/train`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("faces/s")).toBeVisible();
  const second = await context.newPage();
  await second.goto(`${stage.url}/train`);
  await expect(second.getByText("Another tab of this browser takes part")).toBeVisible();
  await expect.poll(() => uploads).toBe(1);
  stage.cut = true;
  await page.close();
  await expect(second.getByText("The server is away")).toBeVisible();
  stage.cut = false;
  await expect(second.getByText("accepted", { exact: true })).toBeVisible({ timeout: 120_000 });
  // The tab that took over signs by its own clock until the edge tells it that it is wrong, which any answer may have done before.
  const answers = stage.requests.filter(({ method }) => method === "PUT").map(({ status }) => status);
  expect(answers.filter((status) => status !== 401)).toEqual([202]);
  expect(answers.length).toBeLessThanOrEqual(2);
  const { rounds } = (await (await fetch(`${stage.url}/api/tasks/expressions-compact/rounds`)).json()) as {
    rounds: { cohort: { uploadedAt: number | null }[] }[];
  };
  expect(rounds[0]?.cohort.filter(({ uploadedAt }) => uploadedAt !== null)).toHaveLength(1);
});
