import { readdirSync, readFileSync } from "node:fs";
import { chromium } from "@playwright/test";
import { NOTEBOOK_ROUND } from "../src/federation/default-round";
import type { History } from "../src/federation/protocol";
import { findBrowser } from "../tools/setup.mjs";
import { collectFaces, expect, storedFaces, test } from "./stage";

/** Where the large network trains: long enough to be interrupted. */
const LARGE = "/train?task=expressions";

async function startRound(
  url: string,
  token: string,
  config: Record<string, number>,
  task = "expressions",
): Promise<void> {
  const response = await fetch(`${url}/api/tasks/${task}/rounds`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({
      // What it did to the faces of one device is to be seen.
      ...NOTEBOOK_ROUND,
      goalCount: 1,
      ...config,
    }),
  });
  expect(response.status).toBe(201);
}

/** The GPU processes of every Chromium that runs here. */
function gpuProcesses(): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=gpu-process");
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

test("one training step on WebGPU gives WASM's losses", async ({ stage }) => {
  test.setTimeout(600_000);
  const executablePath = findBrowser();
  // A software adapter where the machine has no GPU: slow, and right.
  const browser = await chromium.launch({
    ...(executablePath ? { executablePath } : {}),
    args: ["--enable-unsafe-webgpu"],
  });
  const page = await browser.newPage();
  // The faces' networks are held against PyTorch in exactness.spec.ts.
  await page.goto(`${stage.url}/train?task=digits`);
  await page.getByRole("button", { name: "Test this device" }).click();
  const row = (backend: string) => page.locator(`tr[data-backend=${backend}]`);
  await expect(row("wasm")).toContainText("the reference");
  await expect(row("webgpu").getByText("agrees", { exact: true })).toBeVisible({ timeout: 480_000 });
  const loss = async (backend: string, which: string): Promise<number> =>
    Number(await row(backend).locator(`[data-${which}]`).innerText());
  for (const which of ["loss", "loss-after"]) {
    const [wasm, webgpu] = [await loss("wasm", which), await loss("webgpu", which)];
    expect(wasm).toBeGreaterThan(0.1);
    expect(Math.abs(wasm - webgpu), which).toBeLessThan(1e-3);
  }
  for (const backend of ["wasm", "webgpu"]) {
    await expect(row(backend).locator("[data-tensors-left]")).toHaveText("0");
  }
  await browser.close();
});

test("a reload in mid-training loses nothing: faces, place and update are still there", async ({ page, stage }) => {
  await collectFaces(page, stage.url, 5, "drawn");
  const before = await storedFaces(page);
  const epochs = 15;
  // With nobody asked the model is published: one held-out face says too little.
  await startRound(stage.url, stage.adminToken, { epochs, learningRate: 0.001, evaluators: 0 });
  await page.goto(stage.url + LARGE);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  const batch = page.locator("dt:has-text('Batch') + dd");
  const done = async (): Promise<number> => Number.parseInt(await batch.innerText());
  await expect.poll(done).toBeGreaterThan(4);
  const reached = await done();

  await page.reload();
  expect(await storedFaces(page)).toEqual(before);
  await expect(batch).toBeVisible();
  const resumed = await done();
  expect(resumed).toBeGreaterThanOrEqual(reached - 1);
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 240_000 });
  expect(stage.requests.filter(({ method }) => method === "PUT").map(({ status }) => status)).toEqual([202]);

  // The player reads what came of it: of one who trained alone the published model has learned the faces.
  await expect(page.getByText("You taught the model 4 faces in round 1.")).toBeVisible();
  await expect(
    page.getByText(/On your own test faces it was right for [01] of 1 before, and for [01] of 1/),
  ).toBeVisible();
  const judges = page.getByText("The show's judges after round 1");
  await expect(judges).toContainText(
    /version 0 of the shared model recognized \d of your 5 faces, version 1 recognizes \d\. It was trained on 4 of them\./,
  );
  // And sees it: in the picture the bars of the roles add up to what the sentence says.
  const [, , right] = /recognized (\d) of your 5 faces, version 1 recognizes (\d)/.exec(await judges.innerText()) ?? [];
  const picture = page.getByRole("table", { name: "What the model recognizes, before and now" });
  await expect(picture.getByRole("row", { name: "All your faces" })).toContainText(`${right} of 5`);
  const cells = await picture.locator("tbody tr:not(.all) td:nth-of-type(2)").allInnerTexts();
  const counts = cells.map((text) => text.match(/\d+/g)?.map(Number) ?? []);
  const sumOf = (column: number): number => counts.reduce((sum, row) => sum + (row[column] ?? NaN), 0);
  expect([sumOf(0), sumOf(1)]).toEqual([Number(right), 5]);
  const [, sureBefore, sureAfter] = / (\d+)% before, and gives it (\d+)% now/.exec(await judges.innerText()) ?? [];
  expect(Number(sureAfter)).toBeGreaterThan(Number(sureBefore));
  // After a reload nothing is known any more of the training itself, but of the models that are here.
  const said = await judges.innerText();
  await page.reload();
  await expect(judges).toHaveText(said);
  await expect(page.getByText("You taught the model")).toHaveCount(0);
});

test("a training after which this device's own faces are recognized worse is not sent, and the player reads why", async ({
  page,
  stage,
}) => {
  await collectFaces(page, stage.url, 5);
  // Mislabelled: what is trained on says of the held-out picture that it shows another expression than the model sees in it.
  await page.evaluate(
    () =>
      new Promise<void>((resolve, reject) => {
        const open = indexedDB.open("best-actor");
        open.onsuccess = () => {
          const transaction = open.result.transaction("faces", "readwrite");
          const store = transaction.objectStore("faces");
          const all = store.getAll();
          all.onsuccess = () => {
            const faces = all.result as { split: string; label: number; pixels: Uint8Array; probabilities: number[] }[];
            const heldOut = faces.find(({ split }) => split === "held-out");
            if (!heldOut) throw new Error("No face was held out.");
            const seen = heldOut.probabilities.indexOf(Math.max(...heldOut.probabilities));
            for (const face of faces) {
              const label = face === heldOut ? seen : (seen + 1) % heldOut.probabilities.length;
              store.put({ ...face, label, pixels: heldOut.pixels });
            }
          };
          transaction.oncomplete = () => {
            open.result.close();
            resolve();
          };
          transaction.onabort = () => reject(transaction.error ?? new Error("The faces could not be relabelled."));
        };
      }),
  );
  await startRound(stage.url, stage.adminToken, { epochs: 8, goalCount: 1 });
  await page.goto(stage.url + LARGE);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("not sent: after the training")).toBeVisible({ timeout: 240_000 });
  expect(stage.requests.filter(({ method }) => method === "PUT")).toEqual([]);
  // Its place in the round is free again: nobody waits for it.
  const response = await fetch(`${stage.url}/api/tasks/expressions/rounds`);
  const { rounds } = (await response.json()) as History;
  expect(rounds[0]?.state).not.toBe("published");
  expect(await storedFaces(page)).toHaveLength(5);
});

test("a worker that dies without a word is noticed, and the training goes on from its last place", async ({
  page,
  stage,
}) => {
  await collectFaces(page, stage.url, 5);
  await startRound(stage.url, stage.adminToken, { epochs: 12, learningRate: 0.001 });
  await page.goto(stage.url + LARGE);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  const batch = page.locator("dt:has-text('Batch') + dd");
  const done = async (): Promise<number> => Number.parseInt(await batch.innerText());
  await expect.poll(done).toBeGreaterThan(2);
  // The threads of the kernels are workers too, and never come to an end.
  for (const worker of page.workers().filter((one) => /\/index-[^/]+\.js$/.test(one.url()))) {
    // As the browser ends a worker that is out of memory: no error event, no answer.
    await worker.evaluate(() => {
      if (self.name.startsWith("trainer")) self.close();
    });
  }
  await expect(page.getByText("The training went on with the processor")).toBeVisible();
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 240_000 });
});

test("a lost GPU ends in WASM, and the player is told", async ({ stage, launchOptions }) => {
  test.setTimeout(600_000);
  test.skip(process.platform !== "linux", "needs /proc to find the browser's GPU process");
  // A software GPU compiles this network's shaders in seconds.
  const task = {
    title: { en: "Things" },
    examples: "picture",
    input: { height: 32, width: 32, channels: 3, normalization: { mean: [0.5, 0.4, 0.4], std: [0.25, 0.25, 0.5] } },
    model: "mnist-lenet",
    labels: [{ name: "cup" }, { name: "key" }],
  };
  expect((await stage.admin("things", "PUT", "", task)).status).toBe(201);
  await startRound(stage.url, stage.adminToken, { epochs: 100, learningRate: 1e-6 }, "things");
  const others = gpuProcesses();
  const browser = await chromium.launch({
    ...launchOptions,
    args: [...(launchOptions.args ?? []), "--enable-unsafe-webgpu"],
  });
  const page = await (await browser.newContext({ permissions: ["camera"] })).newPage();
  await page.goto(`${stage.url}/play?task=things`);
  await page.getByRole("button", { name: "Open the camera" }).click();
  await page.getByRole("checkbox", { name: "Count to three first" }).uncheck();
  for (let i = 1; i <= 5; i++) {
    await expect(page.getByText(`Picture ${i} of 5`)).toBeVisible();
    await page.getByRole("button", { name: "Take the picture" }).click();
    if (i === 1) await page.getByRole("button", { name: "Keep my pictures on this device" }).click();
    await expect(page.getByText(/Kept on this device, (for training|to test)/)).toBeVisible();
    if (i < 5) await page.getByRole("button", { name: "Next picture" }).click();
  }
  await page.goto(`${stage.url}/train?task=things&backend=webgpu`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("Running on the GPU (WebGPU)")).toBeVisible({ timeout: 240_000 });
  for (const pid of gpuProcesses()) if (!others.includes(pid)) process.kill(pid, "SIGKILL");
  await expect(page.getByText("The training went on with the processor")).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText("accepted", { exact: true })).toBeVisible({ timeout: 240_000 });
  await browser.close();
});

test("leaving cancels the training at once, and an edge that is away is waited for", async ({ page, stage }) => {
  await collectFaces(page, stage.url, 5);
  await startRound(stage.url, stage.adminToken, { epochs: 100 });
  await page.goto(stage.url + LARGE);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("faces/s")).toBeVisible();
  await page.getByRole("button", { name: "Cancel and leave" }).click();
  await expect(page.getByText("Not taking part")).toBeVisible();

  stage.cut = true;
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("The server is away")).toBeVisible();
  stage.cut = false;
  // The assignment is still this client's: asking again gets it back.
  await expect(page.getByText("faces/s")).toBeVisible();
});

test("a backend that is not there is got round, and the player is told; pausing and withdrawing consent work", async ({
  page,
  stage,
}) => {
  await collectFaces(page, stage.url, 5);
  await startRound(stage.url, stage.adminToken, { epochs: 100, learningRate: 0.001 });
  await page.goto(`${stage.url}${LARGE}&backend=webgpu`);
  await page.getByRole("button", { name: "Take part in rounds" }).click();
  await expect(page.getByText("The training went on with the processor")).toBeVisible();
  const batch = page.locator("dt:has-text('Batch') + dd");
  const done = async (): Promise<number> => Number.parseInt(await batch.innerText());
  await expect.poll(done).toBeGreaterThan(2);

  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.getByText("Paused. Nothing is lost")).toBeVisible();
  await page.getByRole("button", { name: "Go on" }).click();
  await expect.poll(done).toBeGreaterThan(2);

  await page.getByRole("link", { name: "My faces" }).click();
  await page.getByRole("button", { name: "Withdraw consent" }).click();
  await page.getByRole("link", { name: "Train", exact: true }).click();
  // Who withdraws leaves the round, and is asked again before the next.
  await expect(page.getByRole("status").filter({ hasText: "Not taking part" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Keep my faces on this device" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Take part in rounds" })).toBeDisabled();
  const kept = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const open = indexedDB.open("best-actor");
        open.onsuccess = () => {
          const get = open.result.transaction("settings").objectStore("settings").get("participation");
          get.onsuccess = () => resolve(get.result);
        };
      }),
  );
  expect(kept).toBeUndefined();
  expect(stage.requests.filter(({ method }) => method === "PUT")).toHaveLength(0);
});
