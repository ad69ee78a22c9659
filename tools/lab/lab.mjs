/**
 * `npm run lab -- --preset NAME | --config FILE | --data PATH [--set key=value ...] [--labels WORD=NAME,...]
 * [--size 48x32] [--channels 1|3] [--column NAME] [--client NAME]
 * [--strategy NAME|FILE] [--sweep key=a,b,c ...] [--seeds N] [--workers N] [--out FOLDER] [--edge] [--url URL --token TOKEN]`: rehearses a federation in Node, with the same code as the page;
 * with --edge against a real one. Without arguments it lists the presets; with --data alone it is own-data.
 *
 * --sweep runs every combination of the values, one after the other, with a table and a chart at the end, and goes on where one of them
 * diverges or cannot be run; with --out a sweep that was stopped goes on where it was, and sweep.csv has its table. A key may name an
 * option, as strategyOptions.mu=1,5. --data: FER2013's CSV or one like it, plain, gzipped or in a zip; a zip or a folder of pictures in one folder for each
 * label; or a folder of records. --strategy: a strategy by its name, as scaffold or fednova, or by a file of your own (src/federation/strategies/strategy.ts says what it
 * exports). --labels says what the labels mean where they are not FER2013's, as 1=surprise,2=fear.
 *
 * Pictures of your own (--set dataset=own) may have any labels, 2 to 256, any size from 8x8 to 96x96, grey or in colour. Every label counts
 * unless --labels names some of them, as cat,dog or 1=cat,2=dog. --size brings pictures to one size, width and height, and is asked for
 * where they have several; of a CSV it says the size of what is no square. --channels 1 takes grey levels, 3 colour; otherwise pictures
 * are in colour if any of them is. --column names a CSV's column of labels where it has several that could be.
 *
 * --client names the column of a CSV that says whose each example is, for --set partition=natural; client, user_id, writer_id and the
 * like are known. A line that does not say it is named and left out then.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import v8 from "node:v8";
import { againstEdge } from "./edge.mjs";
import { dataOf, lab, run, startPool } from "./node.mjs";
import { signsOf } from "./signs.mjs";
import { checkTypes, DataError, isFile, loadStrategy } from "./strategy-file.mjs";
import { commit } from "../commit.mjs";
import { optionsOf } from "../options.mjs";
import { OWN_OPTIONS } from "../own-data.mjs";
import { axesOf, chartOf, folderOf, SETTING, spread, tableOf } from "./sweep.mjs";

/** Every key that --set and a configuration take. */
function keysHelp() {
  const rows = lab.configHelp().map(({ key, bounds, otherwise }) => `  ${key.padEnd(20)}${bounds}; ${otherwise}`);
  return `Keys of --set and of a configuration, with what they may be and what they are otherwise:\n${rows.join("\n")}`;
}

const declared = {
  preset: { type: "string" },
  config: { type: "string" },
  data: { type: "string" },
  ...OWN_OPTIONS,
  strategy: { type: "string" },
  set: { type: "string", multiple: true, default: [] },
  sweep: { type: "string", multiple: true, default: [] },
  seeds: { type: "count", default: "1" },
  workers: { type: "count" },
  out: { type: "string" },
  edge: { type: "boolean", default: false },
  url: { type: "string" },
  token: { type: "string" },
};
const options = optionsOf(import.meta.url, declared, keysHelp);

/** Names of the errors whose message is all that somebody needs. */
const SAID = new Set([
  "OtherDataError",
  "OtherStrategyError",
  "StrategyError",
  "LabConfigError",
  "PartitionError",
  "CohortTooLargeError",
  "DivergedError",
  "RangeError",
]);

const CODE = commit();

function fail(message) {
  console.error(message);
  process.exit(1);
}

const percent = (value) => (value === null ? "" : `${(value * 100).toFixed(2)} %`);
const number = (value) => (value === null ? "" : value.toFixed(4));

function listPresets() {
  console.log("npm run lab -- --preset NAME [--set key=value ...] [--data PATH] [--seeds N] [--out FOLDER]\n");
  for (const [name, { about }] of lab.PRESETS) console.log(`  ${name.padEnd(22)}${about}`);
}

/** The configuration in a file, still to be checked. */
function readConfig(path) {
  try {
    const config = lab.configOf(readFileSync(path, "utf8"));
    if (typeof config === "object" && config !== null && !Array.isArray(config)) return config;
    return fail(`${path} is not a configuration: it must hold an object, as {"dataset": "drawn", ...}.`);
  } catch (error) {
    if (error.code === "ENOENT") fail(`There is no configuration ${path}.`);
    if (error.code === "EISDIR")
      fail(`${path} is a folder: name the file of a configuration in it, as ${path}/run.json.`);
    if (error instanceof SyntaxError) fail(`${path} is not a configuration: it is no JSON (${error.message}).`);
    if (error.code) fail(`${path} cannot be read (${error.code}).`);
    throw error;
  }
}

/** The configuration that the arguments ask for. */
function configuration() {
  let config;
  if (!options.config) {
    config = lab.PRESETS.get(options.preset)?.config;
    if (!config) fail(`There is no preset ${options.preset}. There are: ${[...lab.PRESETS.keys()].join(", ")}.`);
  } else config = readConfig(options.config);
  // All at once: whether an option of a strategy is meant, the strategy says, wherever it stands.
  const changes = {};
  for (const pair of options.set) {
    const [, key, value] = SETTING.exec(pair) ?? [];
    if (!key) fail(`--set ${pair}: write it as key=value.`);
    changes[key] = lab.valueOf(value);
  }
  if (options.strategy) changes.strategy = options.strategy;
  return lab.changed(config, changes);
}

/** All combinations, checked before any data are read. */
async function gridOfRuns() {
  const config = configuration();
  const grid = lab.gridOf(axesOf(options.sweep));
  const strategies = new Map(lab.STRATEGIES);
  for (const changes of grid) {
    const { strategy } = lab.changed(config, changes);
    if (!isFile(strategy) || strategies.has(strategy)) continue;
    await checkTypes(strategy);
    strategies.set(strategy, (await loadStrategy(strategy)).strategy);
  }
  return lab.configsOf(config, grid, strategies);
}

/** The state that a folder keeps of a run, and the configuration that it is of; undefined where there is none yet. */
function kept(folder) {
  const [state, run] = ["state.bin", "run.json"].map((name) => join(folder, name));
  if (!existsSync(state)) return undefined;
  if (!existsSync(run))
    fail(
      `${folder} has a run's state.bin, and no run.json that says what it is of: bring it back, or choose another --out.`,
    );
  try {
    return { config: JSON.parse(readFileSync(run, "utf8")).config, state: v8.deserialize(readFileSync(state)) };
  } catch (error) {
    return fail(`${folder} holds a run that cannot be read (${error.message}): choose another --out.`);
  }
}

/** Who has what, as bars of one letter a share: which labels make up each client. */
function drawPartition(config, data) {
  const counts = lab.picture(config, data.train);
  const width = 40;
  const { signs, meaning } = signsOf(data.kind?.labels ?? counts[0].map((_, label) => String(label)));
  console.log("\nWho has what (each bar is one client; a sign is the label of a fortieth of its examples):");
  if (data.kind) console.log(`  ${meaning}`);
  for (const [client, row] of counts.slice(0, 12).entries()) {
    const total = row.reduce((a, b) => a + b, 0);
    let bar = "";
    let before = 0;
    for (const [label, count] of row.entries()) {
      const upTo = before + count;
      bar += signs[label].repeat(Math.round((upTo / total) * width) - Math.round((before / total) * width));
      before = upTo;
    }
    console.log(`  ${String(client).padStart(4)}  ${bar}  ${total}`);
  }
  if (counts.length > 12) console.log(`  ... and ${counts.length - 12} more`);
}

/** At most how long that is, as 1:05:09 or 5:09. */
function durationOf(seconds) {
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** What only asynchronous rounds, and those of clients that gossip, have to say. */
function modeNote(one) {
  const behind = lab.stalenessOf(one);
  if (behind !== null) return `  ${behind.toFixed(1)} versions behind`;
  if (!one.spread) return "";
  const { deviation, least, most } = one.spread;
  return `  clients ± ${percent(deviation)}, ${percent(least)} to ${percent(most)}`;
}

/** One run, with what it prints; goes on from the state in the folder, where there is one. */
async function once(config, data, pool, folder) {
  const before = folder ? kept(folder) : undefined;
  const resume = before?.state;
  if (resume) {
    if (JSON.stringify(lab.parseLabConfig(before.config)) !== JSON.stringify(config))
      fail(`${folder} holds a run of another configuration: choose another --out.`);
    console.log(`Going on after round ${resume.round}.`);
  }
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once("SIGINT", interrupt);
  const save = (state) => {
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    const write = (name, content) => {
      writeFileSync(join(folder, `${name}.part`), content);
      renameSync(join(folder, `${name}.part`), join(folder, name));
    };
    write("run.json", `${JSON.stringify(lab.exportRun(config, state), null, 1)}\n`);
    write("rounds.csv", lab.roundsToCsv(state.rounds));
    write("state.bin", v8.serialize(state));
    // What a task can begin with: see docs/your-own.md.
    const model = lab.summarize(lab.networkFor(config, data.kind));
    write("checkpoint.safetensors", lab.encodeCheckpoint(model, state.weights, { lab: config.name }, "float32"));
  };
  const isTimed = lab.isTimed(config);
  const timed = isTimed ? "  sim. time" : "";
  console.log(`\n  round  cohort   train loss  accuracy    test loss  accuracy   seconds     left${timed}`);
  try {
    return await run(config, {
      data,
      pool,
      resume,
      commit: CODE,
      signal: stop.signal,
      onRound: (state) => {
        save(state);
        // It ends behind the round that was told last.
        if (state.ended === "diverged") return;
        const one = state.rounds.at(-1);
        if (!one) {
          console.log(
            `  start${"".padEnd(33)}${number(state.evaluation.loss)}   ${percent(state.evaluation.accuracy)}`,
          );
          return;
        }
        const rounds = config.rounds - one.round;
        const recent = state.rounds.slice(-5);
        const left = (rounds * recent.reduce((sum, { seconds }) => sum + seconds, 0)) / recent.length;
        const cells = [
          ...[String(one.round).padStart(7), String(one.cohort.length - one.left).padStart(8)],
          ...[number(one.trainLoss).padStart(13), percent(one.trainAccuracy).padStart(10)],
          ...[
            number(one.testLoss).padStart(13),
            percent(one.testAccuracy).padStart(10),
            one.seconds.toFixed(1).padStart(10),
            (rounds > 0 ? durationOf(left) : "").padStart(9),
            isTimed ? durationOf(one.time ?? 0).padStart(11) : "",
          ],
        ];
        console.log(`${cells.join("")}${modeNote(one)}${one.published ? "" : `  not published: ${one.reason}`}`);
      },
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    console.log(
      folder ? `Paused. The same command goes on from ${folder}.` : "Stopped. With --out FOLDER it could go on.",
    );
    process.exit(130);
  } finally {
    process.off("SIGINT", interrupt);
  }
}

/**
 * Makes a folder and those that it lies in, one by one: where a file system takes none, as /proc, Node would try it for good.
 * @throws DataError
 */
function makeFolder(path) {
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) throw new DataError(`--out: ${path} is a file: choose a folder.`);
    return;
  }
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    throw new DataError(`--out: the folder ${path} cannot be made (${error.code}).`);
  }
}

/** What a run comes to. @param problem why it could not be run */
const runOf = (config, state, problem = null) => ({
  state,
  problem,
  outcome: lab.outcomeOf(config, state ?? { ended: null, rounds: [], evaluation: null }),
});

async function main() {
  if (options.data && !options.config) options.preset ??= "own-data";
  if (!options.preset && !options.config) return listPresets();
  const grid = await gridOfRuns();
  const count = grid.length * options.seeds;
  const first = grid.find(({ config }) => config).config;
  // The last of the seeds is a seed, too.
  for (const { config } of grid) if (config) lab.parseLabConfig({ ...config, seed: config.seed + options.seeds - 1 });
  /** Says what is wrong with one of several, which the others do not suffer for. */
  const orSaid = (error) => {
    if (count === 1 || !lab.OF_ONE_RUN.has(error.name)) throw error;
    console.log(`\n${error.message}`);
    return error.message;
  };
  if (options.out) makeFolder(resolve(options.out));
  let data = await dataOf(first, options.data, options);
  let loaded = needs(first);
  let workers;
  try {
    drawPartition(first, data);
  } catch (error) {
    orSaid(error);
  }
  /** Gets data and workers ready. */
  async function ready(one) {
    const isOther = needs(one) !== loaded;
    if (isOther) data = await dataOf(one, options.data, options);
    // A model that does not take the data is told before threads are started for it.
    lab.networkFor(one, data.kind);
    if (!workers) workers = await startPool(one, data, options.workers);
    else if (isOther) await workers.start(one, data);
    loaded = needs(one);
  }
  if (options.edge || options.preset === "against-the-edge") {
    await ready(first);
    const { url, token } = options;
    console.log(`\nEvery client trains and sends its update to ${url ?? "an edge of its own"}:`);
    const result = await againstEdge(first, { data, pool: workers.pool, url, token });
    await workers.stop();
    console.log(
      `  The edge's checkpoint differs from the simulation's by at most ${result.difference.toExponential(1)}.`,
    );
    return console.log(JSON.stringify({ name: first.name, ...result }));
  }
  const rows = [];
  for (const { changes, config: one, problem } of grid) {
    if (problem !== null) {
      console.log(`\n${lab.nameOf(changes)}: ${problem}`);
      const runs = Array.from({ length: options.seeds }, (_, i) => ({
        seed: first.seed + i,
        ...runOf(first, null, problem),
      }));
      rows.push({ changes, config: first, runs });
      continue;
    }
    const runs = [];
    const place = options.out && (grid.length > 1 ? join(options.out, folderOf(changes)) : options.out);
    for (let i = 0; i < options.seeds; i++) {
      const own = { ...one, seed: one.seed + i };
      const folder = place && (options.seeds > 1 ? join(place, `seed-${own.seed}`) : place);
      const title = [lab.nameOf(changes), options.seeds > 1 ? `seed ${own.seed}` : ""].filter(Boolean).join(", ");
      if (title) console.log(`\n${title} (run ${rows.length * options.seeds + i + 1} of ${count})`);
      try {
        await ready(own);
        const state = await once(own, data, workers.pool, folder);
        if (state.ended === "diverged" && count === 1) fail(diverged(state));
        if (state.ended === "diverged") console.log(diverged(state));
        runs.push({ seed: own.seed, ...runOf(own, state) });
      } catch (error) {
        runs.push({ seed: own.seed, ...runOf(own, null, orSaid(error)) });
      }
      // What a run that diverged has left under way is none of the next one's.
      await workers?.pool.giveUp();
    }
    rows.push({ changes, config: one, runs });
  }
  await workers?.stop();
  for (const { changes, config, runs } of rows) {
    const states = runs.flatMap(({ state }) => state ?? []);
    if (states.length > 1)
      console.log(`\n${[lab.nameOf(changes), MEAN].filter(Boolean).join(": ")} of ${states.length} seeds`);
    tell(config, states);
  }
  if (rows.length > 1) {
    console.log(`\n${tableOf(rows)}\n\n${chartOf(rows)}\n`);
    if (options.out) {
      const lines = rows.flatMap(({ changes, runs }) => runs.map((one) => ({ changes, ...one })));
      writeFileSync(join(options.out, "sweep.csv"), lab.sweepToCsv(lines));
    }
  }
  const said = rows.map(({ changes, config, runs }) => {
    const { state, outcome, problem } = runs.at(-1);
    const between = state?.rounds.findLast((one) => one.spread)?.spread;
    return {
      name: config.name,
      ...(grid.length > 1 && { sweep: changes }),
      ended: outcome.ended,
      rounds: outcome.rounds,
      ...(options.seeds > 1 && {
        seeds: runs.map(({ seed, outcome: { accuracy, loss } }) => ({ seed, accuracy, loss })),
      }),
      accuracy: meanOf(runs.map(({ outcome: { accuracy } }) => accuracy)),
      loss: meanOf(runs.map(({ outcome: { loss } }) => loss)),
      ...(lab.isTimed(config) && { simulatedSeconds: outcome.time }),
      ...(between && { spread: between }),
      ...(problem && { problem }),
    };
  });
  console.log(JSON.stringify(said.length > 1 ? said : said[0]));
  if (rows.some(({ runs }) => runs.some(({ problem }) => problem !== null))) process.exitCode = 1;
}

const MEAN = "mean ± standard deviation";
/** The mean of what is known; null of nothing. */
const meanOf = (values) => {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
};

const diverged = ({ round }) => `Training diverged in round ${round + 1}. A lower learning rate is needed.`;

/** What of a configuration its data and its workers hang on: another is got ready anew. */
function needs({ dataset, camera, model, normalization, strategy, rehearse, attack, cameraSpread, ...rest }) {
  const own = attack !== "none" || cameraSpread > 0 ? { attack, cameraSpread, ...rest } : null;
  return JSON.stringify([dataset, camera, model, normalization, strategy, rehearse > 0, own]);
}

/** What came of one configuration's runs. */
function tell(config, states) {
  if (states.length > 1) {
    const every = Math.max(1, Math.ceil(config.rounds / 6));
    for (let round = every; round <= config.rounds; round += every) {
      const at = states.map(({ rounds }) => rounds[round - 1]).filter(Boolean);
      console.log(
        `  round ${String(round).padStart(4)}  train loss ${spread(at.map((one) => one.trainLoss))}` +
          `  accuracy ${spread(at.map((one) => one.trainAccuracy))}` +
          `  test loss ${spread(at.map((one) => one.testLoss))}  accuracy ${spread(at.map((one) => one.testAccuracy))}`,
      );
    }
  }
  for (const { columns } of states) {
    if (columns.length === 0) continue;
    console.log("\n                 test accuracy      loss   own held-out      loss");
    for (const { name, test, own } of columns) {
      const cells = [test, own].map((one) =>
        one ? `${percent(one.accuracy).padStart(16)}${number(one.loss).padStart(10)}` : "".padEnd(26),
      );
      console.log(`  ${name.padEnd(12)}${cells.join("")}`);
    }
  }
}

try {
  await main();
} catch (error) {
  // What a configuration or its data can bring about says what to do; all else is a fault of ours, and shows where it is.
  // So does what the system says of a file, as that the disk is full.
  if (error instanceof DataError || SAID.has(error.name) || error.syscall) fail(error.message);
  throw error;
}
