/** The operator's evaluator: candidates of rounds on labelled examples that the operator has. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { facesAsSeen } from "../benchmarks/people.mjs";
import { fail } from "./faces.mjs";
import { lab, startPool } from "./lab/node.mjs";
import { examplesOf } from "./task-data.mjs";

const POLL_MS = 2000;

/**
 * The labelled examples of a file or of a folder of pictures; those that it keeps for training are left out. Of FER2013's folder they are
 * PublicTest's, by what most people see in them where FER+'s votes lie beside it.
 */
async function labelled(task, path, said) {
  const exam = join(path, "publictest.u8.gz");
  const votes = join(path, "ferplus-publictest.csv");
  const isExam = lab.showsExpressions(task) && existsSync(exam);
  const examples = isExam
    ? facesAsSeen(exam, existsSync(votes) ? votes : undefined)
    : await examplesOf(task, path, said);
  const labels = [];
  const pictures = [];
  for await (const [label, pixels, usage] of examples) {
    if (usage === "train") continue;
    labels.push(label);
    pictures.push(pixels);
  }
  if (labels.length === 0) fail(`--evaluate: ${path} holds no ${task.examples} to evaluate on.`);
  return { pixels: new Uint8Array(Buffer.concat(pictures)), labels: Uint8Array.from(labels) };
}

/** @throws Error with the edge's own words when it refuses */
async function ask(url, init) {
  const response = await fetch(url, init);
  if (response.ok) return response;
  const { detail, title } = await response.json().catch(() => ({}));
  throw new Error(`${url} answers ${response.status}: ${detail ?? title ?? ""}`);
}

/**
 * Evaluates the candidate of every round that waits for one, until it is stopped. While the edge is away it tries again.
 * @param {{ url: string, task: string, evaluate: string, labels?: string, column?: string, token?: string }} options
 * @param {AbortSignal} signal
 */
export async function evaluateCandidates({ url, task, evaluate, token, ...said }, signal) {
  if (!token) fail("--evaluate needs --token, the administrator's: anybody else's word counts as a client's.");
  const known = await lab.learnTask(url, task, signal).catch((error) => fail(`--task: ${error.message}`));
  const test = await labelled(known, evaluate, said);
  const model = lab.networkOf(task);
  const { pool, stop } = await startPool({ model }, { train: test, test });
  const examples = Uint32Array.from(test.labels, (_, i) => i);
  const judge = async ({ sha256 }) => {
    const response = await ask(`${url}/api/checkpoints/${sha256}`, { signal });
    const file = await lab.verified(new Uint8Array(await response.arrayBuffer()), sha256);
    const weights = lab.decodeCheckpoint(file, lab.summarize(model));
    return pool.evaluate({ weights, of: "test", examples });
  };
  console.log(
    `Waits for candidates of ${task}, to evaluate them on ${examples.length} ${known.examples}s. Ctrl+C stops it.`,
  );
  let last = 0;
  try {
    while (!signal.aborted) {
      try {
        const { rounds } = await (await ask(`${url}/api/tasks/${task}/rounds?limit=1`, { signal })).json();
        const round = rounds.at(-1);
        if (round?.state === "evaluating" && round.number > last && round.checkpoint) {
          const [base, after] = [await judge(round.base), await judge(round.checkpoint)];
          const said = {
            examples: examples.length,
            loss: after.loss,
            accuracy: after.accuracy,
            baseLoss: base.loss,
            baseAccuracy: base.accuracy,
          };
          const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
          const path = `${url}/api/tasks/${task}/rounds/${round.number}/evaluation`;
          await ask(path, { method: "PUT", headers, body: JSON.stringify(said), signal });
          last = round.number;
          console.log(JSON.stringify({ round: last, ...said }));
        }
      } catch (error) {
        if (signal.aborted) break;
        console.error(error instanceof Error ? error.message : String(error));
      }
      await pause(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await stop();
  }
}
