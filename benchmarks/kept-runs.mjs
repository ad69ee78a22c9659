/** Runs of the lab that take many sittings: what has been run stands in a file, and is not run again. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import v8 from "node:v8";
import { commit } from "../tools/commit.mjs";
import { fail } from "../tools/faces.mjs";
import { dataOf, lab, run, startPool } from "../tools/lab/node.mjs";

export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
export const deviation = (values) =>
  values.length < 2 ? 0 : Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));
export const percent = (value) => Number((100 * value).toFixed(1));

/** The names of a list, all of which there are. */
export function chosen(list, known, what) {
  const names = list.split(",");
  for (const name of names) {
    if (!(name in known)) fail(`--${what}: there is no ${name}. There are: ${Object.keys(known).join(", ")}.`);
  }
  return names;
}

/** Writes a file whole or not at all. */
function write(file, content) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.part`, content);
  renameSync(`${file}.part`, file);
}

/**
 * @param file of the runs so far, by what they were run with, but for the data: a file is of one copy of them
 * @param data path of pictures that are not part of this project
 * @param workers threads; one for each core where nothing is said
 * @param minutes after which no other run begins
 * @param say what to print of a run
 * @param goesOn whether every round's state stays in a folder beside the file: then a run that was broken off goes on behind its last
 * round, and one with fewer rounds than are asked for behind those
 */
export function keptRuns(file, { data: path, workers: count, minutes, say, goesOn = false }) {
  // Of the code that is loaded, whatever is committed while it runs.
  const code = commit();
  const done = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
  const until = minutes ? Date.now() + minutes * 60_000 : Infinity;
  let loaded;
  let workers;
  const data = new Map();

  /** Gets a configuration's data and workers ready. */
  async function ready(config) {
    const camera = config.cameraSpread > 0 ? config.seed : 0;
    const examples = JSON.stringify([config.dataset, camera]);
    if (!data.has(examples)) {
      data.clear();
      data.set(examples, await dataOf(config, config.dataset === "fer2013" ? path : undefined));
    }
    const needs = JSON.stringify([examples, config.model, config.strategy]);
    const own = data.get(examples);
    if (!workers) workers = await startPool(config, own, count);
    else if (loaded !== needs) await workers.start(config, own);
    loaded = needs;
    return own;
  }

  /**
   * What a run gave: accuracies by round, of the shared model and of the clients' own, until its end or until it `diverged`; null where it
   * has not been run and time is up.
   * @param changes what it is run with, and known by
   * @param rounds where they are no part of that
   */
  async function outcome(name, changes, rounds = changes.rounds) {
    const config = lab.parseLabConfig({ name, ...changes, rounds });
    const key = JSON.stringify(changes);
    const before = done[key];
    if (before && (before.diverged || before.reached || before.curve.length >= rounds)) return before;
    if (Date.now() > until) return before ?? null;
    const found = { curve: [], own: [], seconds: 0 };
    const kept = join(`${file}.rounds`, createHash("sha256").update(key).digest("hex").slice(0, 16));
    const resume = goesOn && existsSync(kept) ? v8.deserialize(readFileSync(kept)) : undefined;
    if (resume?.round < rounds) resume.ended = null;
    let last = resume;
    const onRound = (state) => {
      last = state;
      if (goesOn) write(kept, v8.serialize(state));
    };
    try {
      const examples = await ready(config);
      last = await run(config, { data: examples, pool: workers.pool, resume, commit: code, onRound });
      found.reached = last.ended === "target";
      // A learning rate that is too high is an answer, too.
      found.diverged = last.ended === "diverged";
    } catch (error) {
      // As it is where what a model is compared with diverges.
      if (error.name !== "DivergedError") throw error;
      found.diverged = true;
    }
    for (const { testAccuracy, clients, seconds } of last?.rounds ?? []) {
      const held = clients.reduce((sum, { heldOut }) => sum + heldOut, 0);
      const right = clients.reduce((sum, { heldOut, heldOutAccuracy }) => sum + heldOut * heldOutAccuracy, 0);
      found.curve.push(testAccuracy);
      found.own.push(right / held);
      found.seconds += seconds;
    }
    done[key] = { ...found, commits: last?.commits, commit: code };
    write(file, JSON.stringify(done));
    const { learningRate, seed } = config;
    const said = found.diverged ? "diverged" : say(found);
    console.log(`  ${name}, rate ${learningRate}, seed ${seed}: ${said} (${done[key].seconds.toFixed(0)} s)`);
    return done[key];
  }

  return { outcome, stop: () => workers?.stop() };
}
