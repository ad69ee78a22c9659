import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { ENGINES, hasEngine, openEngine, type Engine, type EngineName } from "../tools/engines.mjs";
import { servePage } from "../tools/harness/open.mjs";
import { root } from "../tools/setup.mjs";
import type { History } from "../src/federation/protocol";
import type { Rung } from "../workers/tf/rungs";
import { expect, test as base } from "./stage";
import { SCENES, scenePath, WEBCAM } from "./webcam";

const TASK = "expressions-compact";
const PAGES = ["/progress", "/faces", "/train", "/rounds", "/lab", "/privacy", "/play", "/", "/draw"];

/** A test with the harness's page served, which drives the app's own workers, and with engines that are closed after it. */
const test = base.extend<{ harnessUrl: string; open: typeof openEngine }>({
  // eslint-disable-next-line no-empty-pattern
  harnessUrl: async ({}, use) => {
    const served = await servePage();
    await use(served.url);
    await served.close();
  },
  // eslint-disable-next-line no-empty-pattern
  open: async ({}, use) => {
    const opened: Engine[] = [];
    await use(async (...given) => {
      const engine = await openEngine(...given);
      opened.push(engine);
      return engine;
    });
    for (const engine of opened) await engine.close();
  },
});

/** CI has all three; elsewhere one may be missing, and setup says so. */
function needs(name: EngineName): void {
  test.skip(!hasEngine(name) && !process.env["CI"], `There is no ${name} here.`);
}

/** What a player reads. */
const text = (engine: Engine): Promise<string> => engine.evaluate(() => document.body.innerText);
const see = async (engine: Engine, wanted: string | RegExp, timeout = 60_000): Promise<void> =>
  expect
    .poll(() => text(engine), { timeout })
    .toMatch(wanted instanceof RegExp ? wanted : new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));

/** Presses the first link or button of a name, once it is there and can be pressed. */
async function press(engine: Engine, name: string): Promise<void> {
  const pressed = (): Promise<boolean> =>
    engine.evaluate((name) => {
      const all = [...document.querySelectorAll<HTMLElement>("button:enabled, a[href]")];
      const found = all.find((one) => one.innerText.trim() === name && one.checkVisibility());
      found?.click();
      return found !== undefined;
    }, name);
  await expect.poll(pressed, { message: `press ${name}` }).toBe(true);
}

/** Plays takes by photo until the device keeps `count` faces; consents at the first. */
async function collect(engine: Engine, url: string, count: number): Promise<void> {
  await engine.goto(url);
  // Leaving a page in the middle of its loading is an error to Firefox.
  await engine.errors();
  await press(engine, "Play");
  for (let i = 0; i < count; i++) {
    await expect.poll(() => engine.evaluate(() => document.querySelector("input[type=file]") !== null)).toBe(true);
    await engine.upload("input[type=file]", scenePath(i % SCENES.length));
    if (i === 0) await press(engine, "Keep my faces on this device");
    await see(engine, "Kept on this device,");
    // The roles are drawn, and most takes fail: then the player says that they show what they were to show.
    await engine.evaluate(() => {
      const all = [...document.querySelectorAll("button")];
      all.find((one) => one.innerText.startsWith("Yes, this is my"))?.click();
    });
    await see(engine, /Kept on this device, (for training|to test)/);
    await press(engine, "Next role");
  }
}

const batchesDone = (engine: Engine): Promise<number> =>
  engine.evaluate(() => {
    const terms = [...document.querySelectorAll("dt")];
    const value = terms.find((term) => term.innerText.trim() === "Batch")?.nextElementSibling;
    return Number.parseInt(value?.textContent ?? "0") || 0;
  });

/** Plays a show of three by photos, looks at its replay take by take, and has the file made. */
async function replay(engine: Engine): Promise<void> {
  for (const choice of ["show", "three"]) {
    const chosen = (): Promise<boolean> =>
      engine.evaluate((value) => {
        const radio = document.querySelector<HTMLInputElement>(`input[type=radio][value=${value}]`);
        if (radio && !radio.checked) radio.click();
        return radio?.checked ?? false;
      }, choice);
    await expect.poll(chosen, { message: choice }).toBe(true);
  }
  for (let take = 1; take <= 3; take++) {
    await expect.poll(() => engine.evaluate(() => document.querySelector("input[type=file]") !== null)).toBe(true);
    await engine.upload("input[type=file]", scenePath(take));
    await press(engine, take < 3 ? "Next role" : "Read the reviews");
  }
  await press(engine, "Watch the replay");
  await see(engine, "Save it");
  await press(engine, "Pause");
  /** What is seen: its words, and whether the picture is what they say, a role's colour around a face or the curtain at the end. */
  const frame = (): Promise<{ words: string; corner: string }> =>
    engine.evaluate(() => {
      const seen = document.querySelector("[data-testid=replay]");
      const corner = seen?.querySelector("canvas")?.getContext("2d")?.getImageData(4, 300, 1, 1).data;
      const hex = [...(corner ?? [])].slice(0, 3).map((level) => level.toString(16).padStart(2, "0"));
      return { words: seen?.getAttribute("aria-label") ?? "", corner: `#${hex.join("")}` };
    });
  const seen = new Map<string, string>();
  for (let step = 0; step < 4; step++) {
    const { words, corner } = await frame();
    seen.set(words, corner);
    await press(engine, "›");
    await expect.poll(async () => (await frame()).words).not.toBe(words);
  }
  expect([...seen.keys()].filter((words) => words.startsWith("Take"))).toHaveLength(3);
  // Three roles have three colours, as the page's reel has them.
  const reel = await engine.evaluate(() =>
    [...document.querySelectorAll(".reel li")].map((one) => getComputedStyle(one).borderBlockStartColor),
  );
  const rgb = (hex: string): string =>
    `rgb(${[1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(", ")})`;
  const takes = [...seen].filter(([words]) => words.startsWith("Take")).sort();
  expect(takes.map(([, corner]) => rgb(corner))).toEqual(reel);
  await press(engine, "Close");
}

/** The whole of it in Chromium is what all other specs are about. */
const OTHERS = ENGINES.filter((name) => name !== "chromium");

for (const name of OTHERS) {
  test(`${name}: a photo is played, kept and trained on, a reload loses nothing, the next game has the new model, and a show its replay`, async ({
    stage,
    open,
  }) => {
    needs(name);
    const engine = await open(name, { webcam: WEBCAM });
    // The choice of the small model stays with the browser.
    await engine.goto(stage.url);
    await engine.evaluate((task) => localStorage.setItem("best-actor-task", task), TASK);
    await collect(engine, stage.url, 5);
    const response = await fetch(`${stage.url}/api/tasks/${TASK}/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${stage.adminToken}` },
      body: JSON.stringify({
        goalCount: 1,
        fraction: 1,
        epochs: 100,
        batchSize: 1,
        learningRate: 0.00001,
        // Who trains on four faces a hundred times would be told that the others lose by it.
        deadlineSeconds: 600,
        rounds: 1,
        evaluators: 0,
      }),
    });
    expect(response.status).toBe(201);

    await press(engine, "Train");
    await press(engine, "Take part in rounds");
    await expect.poll(() => batchesDone(engine), { intervals: [100] }).toBeGreaterThan(20);
    const reached = await batchesDone(engine);
    expect(await engine.errors()).toEqual([]);
    await engine.goto(`${stage.url}/train`);
    await expect.poll(() => batchesDone(engine), { intervals: [50] }).toBeGreaterThan(0);
    // A snapshot is taken after every epoch, of four batches here; one more may have been under way.
    expect(await batchesDone(engine)).toBeGreaterThanOrEqual(reached - 8);
    await see(engine, "accepted", 240_000);
    expect(stage.requests.filter(({ method }) => method === "PUT").map(({ status }) => status)).toEqual([202]);

    const history = async (): Promise<History> =>
      (await (await fetch(`${stage.url}/api/tasks/${TASK}/rounds`)).json()) as History;
    await expect.poll(async () => (await history()).rounds[0]?.state).toBe("published");
    await press(engine, "Play");
    await see(engine, "version 1");
    await replay(engine);
    for (const page of PAGES) {
      /** Where one is, and what stands there while that is no page yet: it is told if none comes. */
      const arrived = (): Promise<string> =>
        engine.evaluate((path) => {
          document.querySelector<HTMLElement>(`a[href="${path}"]`)?.click();
          const main = document.querySelector<HTMLElement>("main");
          return location.pathname + (main?.querySelector("h1, h2") ? "" : `: ${main?.innerText ?? "no page"}`);
        }, page);
      await expect.poll(arrived).toBe(page);
    }
    expect(await engine.errors()).toEqual([]);
  });
}

for (const name of ENGINES) {
  test(`${name}: twenty starts in a row get ready, half of them beside a busy loop`, async ({ harnessUrl, open }) => {
    needs(name);
    const engine = await open(name);
    await engine.goto(harnessUrl);
    const starts = (count: number) => engine.evaluate((count) => window.harness.starts(count), count);
    const quiet = await starts(10);
    const loops: ChildProcess[] = Array.from({ length: availableParallelism() }, () =>
      // It ends with whoever has started it, too.
      spawn(process.execPath, ["-e", "const own = process.ppid; while (process.ppid === own);"]),
    );
    const busy = await starts(10).finally(() => loops.forEach((loop) => loop.kill("SIGKILL")));
    // WebKitGTK has no shared memory, and Safari no relaxed SIMD.
    const rung = name === "webkit" ? "simd-single" : "relaxed";
    for (const { started, failed } of [...quiet, ...busy]) {
      expect(failed).toEqual([]);
      expect(started?.rung).toBe(rung);
      if (name === "webkit") expect(started?.threads).toBe(1);
      else expect(started?.threads).toBe(Math.min(8, availableParallelism()));
    }
  });
}

test("chromium, firefox: the live camera opens, and the model looks through it", async ({ stage, open }) => {
  for (const name of ["chromium", "firefox"] as const) {
    needs(name);
    const engine = await open(name, { webcam: WEBCAM });
    await engine.goto(`${stage.url}/play?task=${TASK}`);
    await press(engine, "Open the camera");
    await press(engine, "Action!");
    // Firefox's fake camera shows a ball.
    await see(engine, name === "firefox" ? "No face was in view" : /Next role|No face was in view/);
    expect(await engine.errors()).toEqual([]);
  }
});

test("firefox: pictures in colour of a task of somebody's own are taken, kept and trained on", async ({
  stage,
  open,
}) => {
  needs("firefox");
  const admin = stage.admin.bind(null, "things");
  const task = {
    title: { en: "Things" },
    examples: "picture",
    input: { height: 32, width: 32, channels: 3 },
    model: "mnist-lenet",
    labels: [{ name: "cup" }, { name: "key" }],
    defaultRound: { goalCount: 1, fraction: 1, selectionSeconds: 0, learningRate: 1e-6, epochs: 1, tolerance: null },
  };
  expect((await admin("PUT", "", task)).status).toBe(201);
  const engine = await open("firefox", { webcam: WEBCAM });
  await engine.goto(`${stage.url}/play?task=things`);
  await press(engine, "Open the camera");
  for (let i = 1; i <= 5; i++) {
    await see(engine, `Picture ${i} of 5`);
    await press(engine, "Take the picture");
    if (i === 1) await press(engine, "Keep my pictures on this device");
    await see(engine, /Kept on this device, (for training|to test)/);
    if (i < 5) await press(engine, "Next picture");
  }
  expect((await admin("POST", "/rounds", {})).status).toBe(201);
  await press(engine, "Train");
  await see(engine, "Pictures to train with: 4.");
  await press(engine, "Take part in rounds");
  await see(engine, "You taught the model 4 pictures in round 1.");
  // What SCAFFOLD's server remembers comes beside the checkpoint, once it remembers something: a file that is no version.
  const remembering = { strategy: "scaffold", population: 2, rounds: 2 };
  await expect.poll(async () => (await admin("POST", "/rounds", remembering)).status).toBe(201);
  await see(engine, "You taught the model 4 pictures in round 3.");
  const history = async (): Promise<History> =>
    (await (await fetch(`${stage.url}/api/tasks/things/rounds`)).json()) as History;
  await expect.poll(async () => (await history()).rounds.map(({ state }) => state)).toEqual(Array(3).fill("published"));
  const versions = JSON.stringify(await history());
  const files = stage.requests.flatMap(({ path }) => /\/api\/checkpoints\/([0-9a-f]{64})$/.exec(path)?.[1] ?? []);
  expect(new Set(files.filter((digest) => !versions.includes(digest))).size).toBe(1);
  expect(await engine.errors()).toEqual([]);
});

test("a thread that never comes ends its rung: the game plays on one thread, remembers why, and says so", async ({
  stage,
  open,
}) => {
  const assets = readdirSync(join(root, "dist/client/assets"));
  const thread = assets.find((file) => /^thread-.*\.js$/.test(file)) ?? "";
  stage.added.push({ path: `/assets/${thread}`, text: "\nfor (;;);" });
  const engine = await open("chromium");
  await engine.goto(`${stage.url}/play?task=${TASK}`);
  await engine.upload("input[type=file]", scenePath(0));
  await see(engine, "Keep my faces on this device", 90_000);
  await press(engine, "Train");
  const line = (): Promise<string> =>
    engine.evaluate(() => document.querySelector("[data-rung]")?.closest("details")?.textContent ?? "");
  await expect.poll(line).toContain("WebAssembly runs here with relaxed SIMD on one thread.");
  expect(await line()).toMatch(/Did not work here[^.]*relaxed SIMD on all threads, SIMD on all threads/);
  // It is not tried again: a thread that would come is not asked for.
  const asked = (): number => stage.requests.filter(({ path }) => path === `/assets/${thread}`).length;
  const before = asked();
  await engine.goto(`${stage.url}/play?task=${TASK}`);
  await engine.upload("input[type=file]", scenePath(0));
  await see(engine, "Keep my faces on this device");
  expect(asked()).toBe(before);
});

test("webkit: of two pages that share what one still waits for, the second comes whole", async ({ stage, open }) => {
  needs("webkit");
  // The texts of both come late.
  const texts = readdirSync(join(root, "dist/client/assets")).filter((file) => /^en-.*\.js$/.test(file));
  expect(texts).not.toEqual([]);
  for (const file of texts) {
    stage.added.push({ path: `/assets/${file}`, text: "\nawait new Promise((resolve) => setTimeout(resolve, 1500));" });
  }
  const engine = await open("webkit");
  await engine.goto(stage.url);
  await press(engine, "Rounds");
  await press(engine, "Lab");
  await see(engine, "npm run lab");
  await press(engine, "Rounds");
  await see(engine, "Wall view");
  expect(await engine.errors()).toEqual([]);
});

test("a browser that cannot read the app gets a page of words", async ({ stage, open }) => {
  const html = readFileSync(join(root, "dist/client/index.html"), "utf8");
  const entry = /<script type="module"[^>]* src="([^"]+)"/.exec(html)?.[1] ?? "";
  const engine = await open("chromium");
  await engine.goto(stage.url);
  await see(engine, "Play");
  expect(await text(engine)).not.toContain("too old");
  // As a syntax is to a browser that came before it.
  stage.added.push({ path: entry, text: "\nlet let = ;" });
  const older = await open("chromium");
  await older.goto(stage.url);
  await see(older, "this browser may be too old. Best Actor needs Chrome or Edge 119");
});

test("webkit with shared memory, as Safari has it, starts on all threads; firefox without it plays on one", async ({
  harnessUrl,
  open,
}) => {
  for (const [name, sharedMemory] of [
    ["webkit", true],
    ["firefox", false],
  ] as const) {
    needs(name);
    const engine = await open(name, { sharedMemory });
    await engine.goto(harnessUrl);
    const [{ started, failed } = { started: undefined, failed: [] }] = await engine.evaluate(() =>
      window.harness.starts(1),
    );
    expect(failed).toEqual([]);
    if (sharedMemory) expect(started?.threads).toBeGreaterThan(1);
    else expect(started).toMatchObject({ rung: "relaxed-single", threads: 1 });
  }
});

test("from equal weights, faces, plan and seed every engine trains the same delta", async ({ harnessUrl, open }) => {
  const train = async (name: EngineName, without: Rung[]) => {
    const engine = await open(name);
    await engine.goto(harnessUrl);
    const update = await engine.evaluate((without) => window.harness.compactUpdate(without), without);
    const delta = new Float32Array(new Uint8Array(Buffer.from(update.delta, "base64")).buffer);
    return { name, delta, loss: update.loss, rung: update.started?.rung };
  };
  for (const name of ENGINES) needs(name);
  const fused = await train("chromium", []);
  const plain = await train("chromium", ["relaxed", "simd", "relaxed-single"]);
  expect([fused.rung, plain.rung]).toEqual(["relaxed", "simd-single"]);
  const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const apart = (a: Float32Array, b: Float32Array): number =>
    norm(a.map((value, i) => value - (b[i] ?? NaN))) / norm(a);
  expect(fused.delta).toHaveLength(328_439);
  expect(norm(fused.delta)).toBeGreaterThan(0.001);
  for (const { name, delta, loss, rung } of [plain, await train("firefox", []), await train("webkit", [])]) {
    const same = rung?.startsWith("relaxed") ? fused : plain;
    expect(apart(same.delta, delta), `${name} beside Chromium on ${rung}`).toBe(0);
    expect(loss).toBe(same.loss);
    expect(apart(fused.delta, delta), name).toBeLessThan(1e-4);
    expect(Math.abs(loss - fused.loss), name).toBeLessThan(1e-5);
  }
});
