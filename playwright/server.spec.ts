import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "@playwright/test";
import sharp from "sharp";
import { drawFaces } from "../src/data/drawn";
import { NOTEBOOK_ROUND } from "../src/federation/default-round";
import type { History, Round, Task } from "../src/federation/protocol";
import { EXAMPLE, PICTURE_EXAMPLE } from "../src/federation/tasks/example";
import type { TaskRequest } from "../src/federation/tasks/request";
import { decodeCheckpoint } from "../src/model/checkpoint";
import { HeadlessClient, learnTask, randomDelta } from "../tools/headless";
import { serve } from "../tools/serve.mjs";
import { root } from "../tools/setup.mjs";

/** An own server, as an operator runs it. */
const TASK = "expressions-compact";

async function withEdge(
  use: (edge: { url: string; adminToken: string }) => Promise<void>,
  bindings: Record<string, string> = {},
): Promise<void> {
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-server-"));
  const edge = await serve({ port: 0, stateFolder, bindings });
  try {
    await use(edge);
  } finally {
    await edge.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  }
}

/** Every command of a guide that calls the edge, as it is printed. */
function commandsOf(guide: string): string[] {
  const text = readFileSync(join(root, guide), "utf8");
  return [...text.matchAll(/^```\w*\n([\s\S]*?)^```/gm)]
    .map(([, code]) => code ?? "")
    .filter((code) => /\bcurl /.test(code));
}

/** A file of drawn faces, as the contest has its own. @returns its path */
function facesFile(folder: string, count: number): string {
  const { pixels, labels } = drawFaces(count, 7);
  const rows = [...labels].map((label, i) => `${label},${pixels.subarray(i * 2304, (i + 1) * 2304).join(" ")}`);
  const file = join(folder, "faces.csv");
  writeFileSync(file, ["emotion,pixels", ...rows].join("\n"));
  return file;
}

test("every call that a guide prints runs as it is printed", async () => {
  const guides = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)];
  const commands = guides.filter((name) => name.endsWith(".md")).flatMap(commandsOf);
  expect(commands.length).toBeGreaterThan(0);
  await withEdge(({ url, adminToken }) => {
    for (const command of commands) {
      const script = command.replaceAll("curl ", "curl --silent --show-error --fail-with-body ");
      execFileSync("bash", ["-euc", script], { env: { ...process.env, URL: url, ADMIN_TOKEN: adminToken } });
    }
    return Promise.resolve();
  });
});

test("machines without browsers train on faces of their own, evaluate, and are told apart from random ones", async () => {
  test.setTimeout(180_000);
  const folder = mkdtempSync(join(tmpdir(), "best-actor-machines-"));
  const data = facesFile(folder, 60);
  await withEdge(async ({ url, adminToken }) => {
    const told = ["--url", url, "--task", TASK, "--data", data, "--clients", "2"];
    const machines = spawn(process.execPath, [join(root, "tools/client.mjs"), ...told], { stdio: "pipe" });
    let said = "";
    for (const stream of [machines.stdout, machines.stderr]) stream.on("data", (text) => (said += String(text)));
    const ended = once(machines, "exit");
    try {
      await fetch(`${url}/api/tasks/${TASK}/rounds`, {
        method: "POST",
        headers: { authorization: `Bearer ${adminToken}` },
        // Drawn faces are no photographs: steps so small flip nothing of what the checkpoint says of them, and nobody keeps them back.
        body: JSON.stringify({
          goalCount: 2,
          selectionSeconds: 0,
          learningRate: 1e-5,
          evaluators: 2,
          tolerance: null,
          codec: "int8",
        }),
      });
      expect(await ended, said).toEqual([0, null]);
    } finally {
      machines.kill();
      rmSync(folder, { recursive: true, force: true });
    }
    expect(said).toContain("2 clients train on 24 faces each");
    const round = (await (await fetch(`${url}/api/tasks/${TASK}/rounds/1`)).json()) as Round;
    expect(round, said).toMatchObject({ state: "published", evidence: { cohort: { clients: 2, examples: 12 } } });
    expect(round.cohort).toHaveLength(2);
    for (const { backend, examples, initialLoss, norm } of round.cohort) {
      expect({ backend, examples, initialLoss }).toEqual({ backend: "wasm", examples: 24, initialLoss: null });
      expect(norm).toBeGreaterThan(0);
    }
  });
});

test("clients without browsers take part in a task that was added while the edge runs", async () => {
  await withEdge(async ({ url, adminToken }) => {
    const machines = (): Promise<{ stdout: string }> =>
      promisify(execFile)(process.execPath, [
        ...[join(root, "tools/client.mjs"), "--url", url, "--task", "shapes", "--clients", "2"],
      ]);
    await expect(machines()).rejects.toThrow(
      "--task: there is no task shapes; there are expressions, expressions-compact, digits.",
    );
    const call = async (method: string, path: string, body: object): Promise<number> => {
      const headers = { authorization: `Bearer ${adminToken}` };
      return (await fetch(`${url}/api/tasks/shapes${path}`, { method, headers, body: JSON.stringify(body) })).status;
    };
    expect(await call("PUT", "", EXAMPLE)).toBe(201);
    expect(await call("POST", "/rounds", { ...NOTEBOOK_ROUND, goalCount: 2, selectionSeconds: 0 })).toBe(201);
    const { stdout: said } = await machines();
    expect(said).toContain("round 1: accepted");
    const ended = async (): Promise<string> =>
      ((await (await fetch(`${url}/api/tasks/shapes/rounds/1`)).json()) as Round).state;
    await expect.poll(ended).toBe("published");
  });
});

/** Pictures in three colours of one luma, 40 x 48, which only who sees colour tells apart. @returns the folder */
async function colouredFolder(folder: string): Promise<string> {
  const colours = { "1": [200, 38, 90], green: [40, 110, 90], blue: [76, 79, 150] } as const;
  for (const [name, [r, g, b]] of Object.entries(colours)) {
    for (let i = 0; i < 12; i++) {
      const raw = Buffer.alloc(40 * 48 * 3);
      for (let at = 0; at < raw.length; at += 3) raw.set([r + ((at + i) % 20), g + (at % 17), b + (at % 13)], at);
      const place = join(folder, "pets", i < 9 ? "train" : "test", name);
      mkdirSync(place, { recursive: true });
      await sharp(raw, { raw: { width: 40, height: 48, channels: 3 } }).toFile(join(place, `${i}.png`));
    }
  }
  return join(folder, "pets");
}

test("machines learn a task of pictures in colour with labels of its own, and the operator's own say how it does", async () => {
  const folder = mkdtempSync(join(tmpdir(), "best-actor-pictures-"));
  const data = await colouredFolder(folder);
  const layers = [
    { kind: "conv2d", name: "conv", filters: 8, size: 3, padding: "same" },
    { kind: "maxPool", name: "pool", window: 2 },
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "last", units: 3, activation: "softmax" },
  ];
  const pets = {
    title: { en: "Colours" },
    examples: "picture",
    input: { height: 24, width: 20, channels: 3 },
    model: { name: "tiny", layers },
    labels: [{ name: "red" }, { name: "green" }, { name: "blue" }],
  };
  await withEdge(async ({ url, adminToken }) => {
    const call = async (method: string, path: string, body: object): Promise<number> => {
      const headers = { authorization: `Bearer ${adminToken}` };
      return (await fetch(`${url}/api/tasks/colours${path}`, { method, headers, body: JSON.stringify(body) })).status;
    };
    expect(await call("PUT", "", pets)).toBe(201);
    const run = (...args: string[]) => {
      const task = ["--url", url, "--task", "colours", ...args];
      const child = spawn(process.execPath, [join(root, "tools/client.mjs"), ...task], { stdio: "pipe" });
      const machine = { child, said: "", ended: once(child, "exit") };
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (machine.said += String(text)));
      return machine;
    };
    const labels = ["--labels", "1=red,green=green,blue=blue"];
    const misspelt = run("--data", data, "--labels", "1=rde");
    const evaluator = run("--evaluate", data, "--token", adminToken, ...labels);
    const machines = run("--data", data, ...labels, "--clients", "2");
    try {
      const training = { ...NOTEBOOK_ROUND, epochs: 20, batchSize: 5, optimizer: "adam", learningRate: 0.01 };
      const round = { goalCount: 2, selectionSeconds: 0, evaluators: 2, tolerance: 0.1, awaitOperator: true };
      expect(await call("POST", "/rounds", { ...training, ...round })).toBe(201);
      expect(await misspelt.ended).toEqual([1, null]);
      expect(misspelt.said).toContain("--labels: the task has no label rde; it has red, green, blue.");
      expect(await machines.ended, machines.said).toEqual([0, null]);
      expect(machines.said).toContain(
        "20 x 24 in colour; labels taken as 1 = red (12), blue = blue (12), green = green (12)",
      );
      const ended = async (): Promise<Round> =>
        (await (await fetch(`${url}/api/tasks/colours/rounds/1`)).json()) as Round;
      await expect.poll(async () => (await ended()).state, { message: evaluator.said }).toBe("published");
      const { evidence, cohort } = await ended();
      expect(evidence).toMatchObject({ operator: { examples: 9, accuracy: 1 } });
      expect(cohort.map(({ backend }) => backend)).toEqual(["wasm", "wasm"]);
    } finally {
      for (const { child } of [evaluator, machines, misspelt]) child.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

test("a task that begins with random weights learns where nobody says how", async () => {
  test.setTimeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), "best-actor-scratch-"));
  const data = await colouredFolder(folder);
  await withEdge(async ({ url, adminToken }) => {
    const call = async (method: string, path: string, body: object): Promise<number> => {
      const headers = { authorization: `Bearer ${adminToken}` };
      return (await fetch(`${url}/api/tasks/hands${path}`, { method, headers, body: JSON.stringify(body) })).status;
    };
    expect(await call("PUT", "", PICTURE_EXAMPLE)).toBe(201);
    const rounds = 4;
    expect(await call("POST", "/rounds", { rounds, goalCount: 2, selectionSeconds: 0 })).toBe(201);
    const labels = ["--labels", "1=rock,green=paper,blue=scissors"];
    const told = [
      "--url",
      url,
      "--task",
      "hands",
      "--data",
      data,
      ...labels,
      "--clients",
      "2",
      "--rounds",
      String(rounds),
    ];
    const { stdout: said } = await promisify(execFile)(process.execPath, [join(root, "tools/client.mjs"), ...told]);
    const history = (await (await fetch(`${url}/api/tasks/hands/rounds`)).json()) as History;
    const published = Array.from({ length: rounds }, () => "published by 2");
    expect(
      history.rounds.map(({ state, cohort }) => `${state} by ${cohort.length}`),
      said,
    ).toEqual(published);
    const losses = history.rounds.map(({ cohort }) => cohort.map(({ trainLoss }) => trainLoss ?? Infinity));
    // Who guesses one of three has a loss of ln 3.
    expect(Math.max(...(losses.at(-1) ?? [])), said).toBeLessThan(Math.log(3) - 0.1);
  });
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Two people's CSV: of the same pictures, bright ones are `yes` to the one and `no` to the other. No model that is one for both has a loss
 * below ln 2 on them, since half of what it says of each is wrong; two models can.
 */
function contraryFile(folder: string): string {
  const rows = Array.from({ length: 40 }, (_, i) => {
    const bright = i % 2 === 0;
    const pixels = Array.from({ length: 64 }, (_, at) => (bright ? 200 : 20) + ((at * 7 + i) % 40)).join(" ");
    return [0, 1].map((who) => `${bright === (who === 0) ? "yes" : "no"},person${who},${pixels}`);
  });
  const file = join(folder, "contrary.csv");
  writeFileSync(file, ["label,client,pixels", ...rows.flat()].join("\n"));
  return file;
}

test("machines keep what a strategy leaves them from round to round, and the server publishes nothing of it, whoever lies", async () => {
  test.setTimeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), "best-actor-own-"));
  const data = contraryFile(folder);
  const layers = [
    { kind: "flatten", name: "flat" },
    { kind: "dense", name: "body", units: 8, activation: "relu" },
    { kind: "dense", name: "head", units: 2, activation: "softmax" },
  ] as const;
  const contrary: TaskRequest = {
    title: { en: "Contrary" },
    examples: "picture",
    input: { height: 8, width: 8, channels: 1 },
    model: { name: "tiny", layers: [...layers] },
    labels: [{ name: "yes" }, { name: "no" }],
  };
  await withEdge(async ({ url, adminToken }) => {
    const call = async (method: string, path: string, body: object): Promise<number> => {
      const headers = { authorization: `Bearer ${adminToken}` };
      return (await fetch(`${url}/api/tasks/contrary${path}`, { method, headers, body: JSON.stringify(body) })).status;
    };
    expect(await call("PUT", "", contrary)).toBe(201);
    const signal = new AbortController().signal;
    await learnTask(url, "contrary", signal);
    const liar = new HeadlessClient(() => url, "contrary", signal);
    const { parameters, tensors } = liar.model;
    const isHead = (i: number): boolean => i >= parameters - (8 * 2 + 2);
    expect(tensors.at(-2)).toMatchObject({ name: "head/kernel", offset: parameters - 18 });
    const weights = async (): Promise<Float32Array> => {
      const task = (await (await fetch(`${url}/api/tasks/contrary`)).json()) as Task;
      return decodeCheckpoint(await liar.checkpoint(task.checkpoint), liar.model);
    };
    const round = async (number: number): Promise<Round> =>
      (await (await fetch(`${url}/api/tasks/contrary/rounds/${number}`)).json()) as Round;
    const training = { ...NOTEBOOK_ROUND, epochs: 80, learningRate: 0.1, clipNorm: 5, selectionSeconds: 0 };
    const rounds = 2;
    const machines = async (rounds: number): Promise<string> => {
      const told = ["--url", url, "--task", "contrary", "--data", data, "--clients", "2", "--rounds", String(rounds)];
      return (await promisify(execFile)(process.execPath, [join(root, "tools/client.mjs"), ...told])).stdout;
    };

    const before = await weights();
    const own = { strategy: "fedper", goalCount: 3, overSelection: 1, evaluators: 2, rounds };
    expect(await call("POST", "/rounds", { ...training, ...own })).toBe(201);
    const lie = async (): Promise<void> => {
      for (let done = 0; done < rounds; done++) {
        const assignment = await liar.assignment(8);
        // All of it lies where the others have their own layers.
        await liar.send(
          assignment,
          Float32Array.from({ length: parameters }, (_, i) => (isHead(i) ? 1e4 : 0)),
          8,
        );
      }
    };
    const [said] = await Promise.all([machines(rounds), lie()]);
    const after = await weights();
    expect((await round(rounds)).state, said).toBe("published");
    expect([...after.filter((_, i) => isHead(i))]).toEqual([...before.filter((_, i) => isHead(i))]);
    expect(after.some((value, i) => !isHead(i) && value !== before[i])).toBe(true);
    // With the head that it has kept each is right about what no model that is one for both can be right about to more than a half.
    const { evaluation } = await round(rounds);
    expect(evaluation?.clients, said).toBe(2);
    expect(evaluation?.accuracy, said).toBeGreaterThan(0.75);

    expect(await call("POST", "/rounds", { ...training, strategy: "ditto", lambda: 0.01, goalCount: 2 })).toBe(201);
    const theirs = await machines(1);
    expect((await round(rounds + 1)).state, theirs).toBe("published");
    const correct = [...theirs.matchAll(/its own model: ([\d.]+) % of 8 held out/g)].map(([, percent]) =>
      Number(percent),
    );
    expect(correct, theirs).toHaveLength(2);
    expect(Math.min(...correct), theirs).toBeGreaterThan(75);
  });
  rmSync(folder, { recursive: true, force: true });
});

test("the operator's evaluator says of every candidate how it does on faces of its own, and keeps a ruined one out", async () => {
  test.setTimeout(180_000);
  const folder = mkdtempSync(join(tmpdir(), "best-actor-operator-"));
  const data = facesFile(folder, 140);
  await withEdge(async ({ url, adminToken }) => {
    const told = ["--url", url, "--task", TASK, "--evaluate", data, "--token", adminToken];
    const evaluator = spawn(process.execPath, [join(root, "tools/client.mjs"), ...told], { stdio: "pipe" });
    let said = "";
    for (const stream of [evaluator.stdout, evaluator.stderr]) stream.on("data", (text) => (said += String(text)));
    try {
      await expect.poll(() => said).toContain("to evaluate them on 140 faces");
      const client = new HeadlessClient(() => url, TASK, new AbortController().signal);
      const ended = async (delta: (random: number) => number): Promise<Round | undefined> => {
        await fetch(`${url}/api/tasks/${TASK}/rounds`, {
          method: "POST",
          headers: { authorization: `Bearer ${adminToken}` },
          body: JSON.stringify({
            ...NOTEBOOK_ROUND,
            goalCount: 1,
            selectionSeconds: 0,
            tolerance: 0.1,
            awaitOperator: true,
          }),
        });
        const assignment = await client.assignment(5);
        await client.send(assignment, randomDelta(client.model, assignment.round).map(delta), 5);
        const round = async (): Promise<Round | undefined> =>
          ((await (await fetch(`${url}/api/tasks/${TASK}/rounds`)).json()) as History).rounds.at(-1);
        await expect.poll(async () => (await round())?.state).toMatch(/published|rejected|abandoned/);
        return round();
      };
      const harmless = await ended((random) => random / 100);
      expect(harmless).toMatchObject({ state: "published", evidence: { operator: { examples: 140, clients: 1 } } });
      const ruined = await ended((random) => random * 10);
      expect(ruined?.state).toBe("rejected");
      expect(ruined?.reason).toContain("the operator's faces");
    } finally {
      evaluator.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

/** What Cloudflare's free plan takes: a Worker of 3 MB once gzipped, 20,000 static files, 25 MiB each. */
const FREE_PLAN = { workerKiB: 3072, files: 20_000, fileBytes: 25 * 2 ** 20 };

test("a deployment is rehearsed up to where an account is needed, and fits the free plan", () => {
  const outFolder = mkdtempSync(join(tmpdir(), "best-actor-deploy-"));
  try {
    const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
    const told = execFileSync(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", outFolder], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", FORCE_COLOR: "0" },
    });
    const gzipped = Number(/gzip: ([\d.]+) KiB/.exec(told)?.[1]);
    expect(gzipped, told).toBeGreaterThan(10);
    expect(gzipped).toBeLessThan(FREE_PLAN.workerKiB);
    for (const binding of ["COORDINATOR", "AGGREGATOR", "HUB", "JUDGE", "STORE", "UPDATES", "ASSETS"]) {
      expect(told).toContain(`env.${binding} `);
    }
  } finally {
    rmSync(outFolder, { recursive: true, force: true });
  }
  const assets = readdirSync(join(root, "dist/client"), { recursive: true, withFileTypes: true });
  const files = assets.filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(10);
  expect(files.length).toBeLessThan(FREE_PLAN.files);
  for (const { parentPath, name } of files) {
    expect(statSync(join(parentPath, name)).size, name).toBeLessThanOrEqual(FREE_PLAN.fileBytes);
  }
});

/** The statuses of calls with wrong admin tokens, each with other headers. */
const guesses = async (url: string, headers: (i: number) => Record<string, string>): Promise<number[]> => {
  const statuses: number[] = [];
  for (let i = 0; i < 12; i++) {
    const init = { headers: { authorization: `Bearer guess-${i}`, ...headers(i) } };
    statuses.push((await fetch(`${url}/api/tasks/${TASK}/dead-letters`, init)).status);
  }
  return statuses;
};
const LIMITED = [...Array.from({ length: 10 }, () => 401), 429, 429];

test("an address is the socket's, whatever a client writes; a proxy's word counts where the operator has named it", async () => {
  await withEdge(async ({ url }) => {
    expect(await guesses(url, (i) => ({ "cf-connecting-ip": `192.0.2.${i}` }))).toEqual(LIMITED);
  });
  await withEdge(async ({ url }) => {
    expect(await guesses(url, (i) => ({ "x-forwarded-for": `192.0.2.${i}` }))).toEqual(LIMITED);
  });
  await withEdge(
    async ({ url }) => {
      // What the client wrote comes first, what the proxy saw comes last.
      expect(await guesses(url, (i) => ({ "x-forwarded-for": `192.0.2.${i}, 198.51.100.7` }))).toEqual(LIMITED);
      expect(await guesses(url, (i) => ({ "x-forwarded-for": `198.51.100.${20 + i}` }))).not.toContain(429);
    },
    { TRUSTED_PROXIES: "127.0.0.1, ::1" },
  );
});

test("a file's end, a broken digest and a wrong number in a path have answers of their own", async () => {
  await withEdge(async ({ url }) => {
    const task = (await (await fetch(`${url}/api/tasks/${TASK}`)).json()) as Task;
    const file = `${url}/api/checkpoints/${task.checkpoint.sha256}`;
    const beyond = await fetch(file, { headers: { range: "bytes=999999999-" } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, `bytes */${task.checkpoint.bytes}`]);
    expect((await fetch(file, { headers: { range: "bytes=10-" } })).status).toBe(206);
    expect((await fetch(`${url}/api/tasks/${TASK}/rounds/x`)).status).toBe(400);
    expect((await fetch(`${url}/api/tasks/${TASK}/rounds?limit=100000`)).status).toBe(400);
    const signed = await fetch(`${url}/api/tasks/${TASK}/check-ins`, {
      method: "POST",
      body: "{}",
      headers: {
        "content-digest": `sha-256=:${"=".repeat(44)}:`,
        "signature-input": "x".repeat(60_000),
        signature: "y",
      },
    });
    expect([signed.status, ((await signed.json()) as { code: string }).code]).toEqual([401, "bad-signature"]);
  });
});

test("the objects of rounds that have ended are no more: the state does not grow by files for each", async () => {
  test.setTimeout(120_000);
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-server-"));
  const files = (ending: string): number =>
    readdirSync(join(stateFolder, "v3/do"), { recursive: true }).filter((name) => String(name).endsWith(ending)).length;
  const rounds = 12;
  let edge = await serve({ port: 0, stateFolder });
  try {
    const client = new HeadlessClient(() => edge.url, TASK, new AbortController().signal);
    await fetch(`${edge.url}/api/tasks/${TASK}/rounds`, {
      method: "POST",
      headers: { authorization: `Bearer ${edge.adminToken}` },
      body: JSON.stringify({ ...NOTEBOOK_ROUND, goalCount: 1, selectionSeconds: 0, rounds }),
    });
    for (let i = 1; i <= rounds; i++) {
      await client.send(await client.assignment(5), randomDelta(client.model, i), 5);
      await expect
        .poll(async () => ((await (await fetch(`${edge.url}/api/tasks/${TASK}`)).json()) as Task).checkpoint.version)
        .toBe(i);
    }
    // Databases that are open or hold anything: those of the two tasks, and of what is not cleared up this very moment.
    await expect.poll(() => files("-wal"), { timeout: 30_000 }).toBeLessThan(8);
    await edge.stop();
    edge = await serve({ port: 0, stateFolder });
    expect(files(".sqlite")).toBeLessThan(10);
  } finally {
    await edge.stop();
    rmSync(stateFolder, { recursive: true, force: true });
  }
});

test("npm start begins again by itself when its workerd is killed, and says so", async () => {
  test.setTimeout(240_000);
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-start-"));
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const child: ChildProcess = spawn(process.execPath, [join(root, "tools/start.mjs"), "--no-build"], {
    cwd: root,
    env: { ...process.env, PORT: String(port), STATE: stateFolder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text: Buffer) => (said += text.toString()));
  const version = async (): Promise<unknown> =>
    fetch(`http://127.0.0.1:${port}/api/health`)
      .then((answer) => answer.status)
      .catch(() => "away");
  try {
    await expect.poll(version, { timeout: 120_000 }).toBe(200);
    const children = execFileSync("ps", ["-o", "pid=,comm=", "--ppid", String(child.pid)], { encoding: "utf8" });
    const pid = Number(/^\s*(\d+)\s+workerd/m.exec(children)?.[1]);
    expect(pid).toBeGreaterThan(1);
    process.kill(pid, "SIGKILL");
    await expect.poll(() => said, { timeout: 60_000 }).toContain("workerd has ended by itself");
    await expect.poll(version, { timeout: 120_000 }).toBe(200);
  } finally {
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("exit", resolve));
    rmSync(stateFolder, { recursive: true, force: true });
  }
});
