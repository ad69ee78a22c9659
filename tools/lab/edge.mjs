/** The clients of a configuration against a real edge: each checks in, trains and sends its update over HTTP. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "../setup.mjs";
import { lab, startOf } from "./node.mjs";
import { DataError } from "./strategy-file.mjs";

/** An edge of our own on any free port, with empty state. */
async function ownEdge() {
  if (!existsSync(join(root, "dist/best_actor/wrangler.json")) && run("npm", ["run", "-s", "build"]) !== 0) {
    throw new DataError("The edge could not be built.");
  }
  const { serve } = await import("../serve.mjs");
  const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-lab-"));
  const { url, adminToken: token, stop } = await serve({ port: 0, stateFolder });
  return {
    url,
    token,
    stop: async () => {
      await stop();
      rmSync(stateFolder, { recursive: true, force: true });
    },
  };
}

/**
 * Runs a configuration's rounds on an edge, and the same rounds as a simulation.
 * @param {{ url?: string, token?: string }} where an edge that runs already; without it, one is started
 * @returns the largest difference of a weight between the edge's last checkpoint and the simulation's, and how the former does
 */
export async function againstEdge(config, { data, pool, url, token }) {
  const task = lab.taskOf(config.model);
  if (!task || config.start !== "shipped") {
    throw new DataError(
      "An edge trains the model of a task (seed, compact, mnist-cnn) from the shipped checkpoint: choose one, and start shipped.",
    );
  }
  if (config.mode === "async" || config.topology === "gossip") {
    throw new DataError(
      "Real clients in the terminal go from round to round together: choose mode sync and topology central.",
    );
  }
  if (config.strategy !== null && !lab.LIVE_NAMES.includes(config.strategy)) {
    throw new DataError(
      `The strategy ${config.strategy} runs in the lab alone; live rounds take ${lab.LIVE_NAMES.slice(1).join(", ")}.`,
    );
  }
  const strategy =
    config.strategy === null
      ? {}
      : {
          strategy: config.strategy,
          ...lab.asRoundSays(config.strategy, config.strategyOptions),
          population: config.clients,
        };
  const edge = url ? { url, token, stop: async () => undefined } : await ownEdge();
  const model = lab.summarize(lab.MODELS[config.model]);
  const shares = lab.shareOut(config, data.train);
  const stop = new AbortController();
  try {
    const clients = shares.train.map(() => new lab.HeadlessClient(() => edge.url, task, stop.signal));
    const ask = async (path, init = {}) => {
      const headers = { authorization: `Bearer ${edge.token}`, "content-type": "application/json" };
      const request = () => fetch(`${edge.url}/api/tasks/${task}${path}`, { ...init, headers });
      // A connection that the edge has closed while this process trained: who only asks may ask again.
      const response = await (init.method ? request() : request().catch(request));
      const answer = await response.json();
      if (!response.ok) throw new DataError(`The edge refused: ${answer.detail}`);
      return answer;
    };
    const undreamed = lab.taskNamed(task).dreams === null && { agreement: 0 };
    const before = (await ask("")).checkpoint.version;
    const everybody = lab.roundOf({ ...config, fraction: 1 }, config, config.clients);
    await ask("/rounds", {
      method: "POST",
      // Nobody evaluates, and nobody hurries.
      body: JSON.stringify({
        ...everybody,
        ...strategy,
        rounds: config.rounds,
        deadlineSeconds: 3600,
        tolerance: null,
        ...undreamed,
      }),
    });
    /** What each client keeps of a strategy's rounds. */
    const kept = clients.map(() => undefined);
    for (let round = 1; round <= config.rounds; round++) {
      await Promise.all(
        clients.map(async (client, i) => {
          const examples = shares.train[i].length;
          const assignment = await client.assignment(examples);
          const { remembered } = assignment;
          const weights = lab.decodeCheckpoint(await client.checkpoint(assignment.checkpoint), model);
          const run = lab.liveRunOf(assignment.plan, model);
          const trained = await pool.train({
            weights,
            train: shares.train[i],
            heldOut: new Uint32Array(),
            plan: assignment.plan,
            norms: null,
            seed: lab.clientSeed(config.seed, round, i),
            strategy: lab.toldOf(run, kept[i], remembered?.rounds, await client.memory(assignment)),
          });
          const { delta, loss, accuracy } = trained;
          const now = run && { choice: assignment.plan, vectors: trained.strategy.state, round: assignment.round };
          kept[i] = now && lab.keptAfter(now, kept[i], remembered?.rounds);
          await client.send(assignment, delta, examples, { loss, accuracy });
        }),
      );
      for (let version = before; version < before + round;) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        version = (await ask("")).checkpoint.version;
      }
      console.log(`  round ${round}: the edge has published version ${before + round}`);
    }
    const [first] = clients;
    const theirs = lab.decodeCheckpoint(await first.checkpoint((await ask("")).checkpoint), model);
    const simulated = await lab.runLab({ config: { ...config, fraction: 1 }, data, pool, start: startOf(config) });
    let difference = 0;
    theirs.forEach((value, i) => {
      difference = Math.max(difference, Math.abs(value - simulated.weights[i]) / Math.max(1, Math.abs(value)));
    });
    const examples = Uint32Array.from({ length: data.test.labels.length }, (_, i) => i);
    const { accuracy, loss } = await pool.evaluate({ weights: theirs, of: "test", examples });
    return { rounds: config.rounds, difference, accuracy, loss };
  } finally {
    stop.abort();
    await edge.stop();
  }
}
