import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { HeadlessClient, randomDelta, RefusalError } from "../tools/headless";
import { root } from "../tools/setup.mjs";
import { decodeCheckpoint } from "../src/model/checkpoint";
import { NOTEBOOK_ROUND } from "../src/federation/default-round";
import type { History, Round, RoundConfig } from "../src/federation/protocol";

const TASK = "expressions-compact";
const TOKEN = "faults";
/** Fifty with `npm run test:soak`. */
const KILLS = process.env["SOAK"] ? 50 : 10;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The edge in a process group of its own: Node and the workerd that it starts. */
class Edge {
  #process: ChildProcess | undefined;

  constructor(
    readonly port: number,
    readonly stateFolder: string,
  ) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const script = `import("${join(root, "tools/serve.mjs")}").then(({ serve }) =>
      serve({ port: ${this.port}, stateFolder: ${JSON.stringify(this.stateFolder)} }))`;
    this.#process = spawn(process.execPath, ["-e", script], {
      detached: true,
      stdio: "ignore",
      env: { ...process.env, ADMIN_TOKEN: TOKEN },
    });
    for (let i = 0; i < 300; i++) {
      try {
        if ((await fetch(`${this.url}/api/tasks/${TASK}`, { signal: AbortSignal.timeout(5000) })).ok) return;
      } catch {
        // Not yet.
      }
      await pause(100);
    }
    throw new Error("The edge did not start.");
  }

  /** As pulling the plug: no process of it gets to say a word. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.#process?.once("exit", resolve));
    process.kill(-(this.#process?.pid ?? NaN), "SIGKILL");
    await ended;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The name that the dashboard has for a client in a round. */
async function labelOf(client: string, round: number): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${client}/${round}`));
  return Buffer.from(digest).toString("hex").slice(0, 8);
}

test(`killed ${KILLS} times at random moments, the edge loses no accepted update and counts none twice`, async () => {
  test.setTimeout(900_000);
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-faults-"));
  const edge = new Edge(await freePort(), stateFolder);
  const stop = new AbortController();
  try {
    await edge.start();
    const admin = (method: string, path: string, body?: unknown): Promise<Response> =>
      fetch(`${edge.url}/api/tasks/${TASK}/rounds${path}`, {
        method,
        headers: { authorization: `Bearer ${TOKEN}` },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    const start = async (topology: RoundConfig["topology"]): Promise<void> => {
      const config = { ...NOTEBOOK_ROUND, topology, goalCount: 4, selectionSeconds: 0, rounds: 10_000 };
      expect((await admin("POST", "", config)).status).toBe(201);
    };
    await start("central");

    /**
     * What each update was, by round and the client's name in it; and which of them a client knows to be accepted: the answer to
     * the last one may be lost when all is over.
     */
    const sent = new Map<string, { seed: number; examples: number }>();
    const accepted = new Set<string>();
    const isOver = (): boolean => stop.signal.aborted;
    const clients = Array.from({ length: 12 }, async (_, i) => {
      const client = new HeadlessClient(() => edge.url, TASK, stop.signal);
      for (let seed = i * 10_000; !isOver(); seed++) {
        try {
          const examples = 1 + (seed % 7);
          const assignment = await client.assignment(examples);
          const key = `${assignment.round}/${await labelOf(await client.idFor(assignment), assignment.round)}`;
          sent.set(key, { seed, examples });
          await client.send(assignment, randomDelta(client.model, seed), examples);
          accepted.add(key);
        } catch (error) {
          // The round was over: a refusal is an answer too.
          if (!(error instanceof RefusalError) && !isOver()) throw error;
        }
      }
    });
    const everyone = Promise.all(clients);
    const ask = async <T>(path: string): Promise<T> =>
      (await (await fetch(`${edge.url}/api/tasks/${TASK}${path}`)).json()) as T;
    /** All rounds, page by page, each with its members as long as those are kept. */
    const history = async (): Promise<History> => {
      const { task, ...page } = await ask<History>("/rounds");
      let { rounds } = page;
      for (let first = rounds[0]?.number ?? 1; first > 1; first = rounds[0]?.number ?? 1) {
        rounds = [...(await ask<History>(`/rounds?before=${first}`)).rounds, ...rounds];
      }
      rounds = await Promise.all(
        rounds.map(async (round) =>
          round.cohort.length < (round.tally?.selected ?? 0) ? ask<Round>(`/rounds/${round.number}`) : round,
        ),
      );
      return { task, rounds };
    };
    const finished = ({ rounds }: History): Round[] => rounds.filter(({ state }) => state === "published");
    const { model } = new HeadlessClient(() => edge.url, TASK, stop.signal);
    const weights = async (sha256: string): Promise<Float32Array> => {
      const file = await (await fetch(`${edge.url}/api/checkpoints/${sha256}`)).arrayBuffer();
      return decodeCheckpoint(new Uint8Array(file), model);
    };
    /** Holds the checkpoints of rounds, which are not kept for ever, against the sums of what their clients have sent. */
    const checkSums = async (rounds: Round[]): Promise<void> => {
      for (const round of rounds) {
        const counted = round.cohort.filter(({ state }) => state === "counted");
        const updates = counted.map(({ client, examples }) => {
          const update = sent.get(`${round.number}/${client}`);
          expect(update?.examples, `round ${round.number}, ${client}`).toBe(examples);
          return { n: update?.examples ?? NaN, delta: randomDelta(model, update?.seed ?? 0) };
        });
        const n = updates.reduce((sum, update) => sum + update.n, 0);
        const base = await weights(round.base.sha256);
        const next = await weights(round.checkpoint?.sha256 ?? "");
        let worst = 0;
        for (let i = 0; i < next.length; i++) {
          const mean = updates.reduce((sum, update) => sum + (update.n / n) * (update.delta[i] ?? NaN), 0);
          const expected = (base[i] ?? NaN) + mean;
          worst = Math.max(worst, Math.abs((next[i] ?? NaN) - expected) / Math.max(1, Math.abs(expected)));
        }
        expect(worst, `round ${round.number}`).toBeLessThan(1e-6);
      }
    };
    for (let kill = 0; kill < KILLS; kill++) {
      await Promise.race([pause(Math.random() * 2000), everyone]);
      await edge.kill();
      await edge.start();
      if (kill === KILLS / 2) {
        await expect
          .poll(async () => finished(await history()).length, { timeout: 120_000, message: "rounds with a centre" })
          .toBeGreaterThan(0);
        // From now on without a centre.
        expect((await admin("DELETE", "/current")).status).toBe(200);
        await checkSums(finished(await history()).slice(-5));
        await start("gossip");
      }
    }

    // Whatever the last kill interrupted must come to its end.
    const { rounds } = await history();
    const last = rounds.at(-1)?.number ?? 0;
    await expect
      .poll(async () => finished(await history()).some(({ number }) => number >= last), { timeout: 120_000 })
      .toBe(true);
    stop.abort();
    await everyone;

    const published = finished(await history());
    const central = published.filter(({ config }) => config.topology === "central");
    const gossiped = published.filter(({ config }) => config.topology === "gossip");
    expect(central.length).toBeGreaterThan(0);
    expect(gossiped.length).toBeGreaterThan(0);
    await checkSums(gossiped.slice(-5));
    // Every accepted update of a published round is in its sum.
    const known = published.filter(({ cohort, tally }) => cohort.length === tally?.selected);
    expect(known.length).toBeGreaterThan(0);
    const numbers = new Set(known.map(({ number }) => String(number)));
    const counted = new Set(
      known.flatMap(({ number, cohort }) =>
        cohort.filter(({ state }) => state === "counted").map(({ client }) => `${number}/${client}`),
      ),
    );
    const lost = [...accepted].filter((key) => numbers.has(key.split("/")[0] ?? "") && !counted.has(key));
    expect(lost).toEqual([]);
    console.log(
      `${central.length} central and ${gossiped.length} gossiped rounds were published between ${KILLS} kills.`,
    );
  } finally {
    stop.abort();
    await edge.kill().catch(() => undefined);
    rmSync(stateFolder, { recursive: true, force: true });
  }
});
