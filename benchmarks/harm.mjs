/**
 * `npm run bench:harm -- --data FOLDER [--model compact,seed] [--cases 'NAME;...'] [--rounds 10] [--faces 1000]
 * [--seed 5] [--set KEY=VALUE,...]`:
 * whether a round makes the model better, and never worse. Federations of few and of many real faces, with even and with odd labels,
 * with wrong ones, with a friend who has many and every one wrong, and of a camera that the model does not know, run from the shipped checkpoint with a round's own defaults;
 * accuracy on faces that nobody trained on, of the old kind and, where clients have another camera, through that one.
 *
 * FOLDER holds FER2013 as ../shared/fer2013 does. Where FER+'s votes lie beside it (ferplus-train.csv, ferplus-publictest.csv), only
 * faces on which most of the ten people agree are used, and their word is the label. `plain` beside a case runs it as plain
 * FederatedAveraging does, the seed's way. Its last line is one JSON object.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { dreams, lab, startOf, startPool } from "../tools/lab/node.mjs";
import { facesOf, fail } from "../tools/faces.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  data: { type: "string" },
  model: { type: "string", default: "compact,seed" },
  cases: { type: "string" },
  rounds: { type: "count", default: "10" },
  faces: { type: "count", default: "1000" },
  seed: { type: "count", default: "5" },
  set: { type: "string", default: "" },
});
if (!values.data) fail("Name the folder with FER2013's faces: --data FOLDER.");

/** A camera that no checkpoint has seen: the lab's, turned on its side and in half light. */
const CAMERA = { gain: 0.7, angle: 75, mirror: false };
const IID = { partition: "iid" };
const ODD = { partition: "shards", shardsPerClient: 2 };
const CASES = {
  "1x7": { clients: 1, faces: 7, ...IID },
  "3x7": { clients: 3, faces: 7, ...IID },
  "5x10": { clients: 5, faces: 10, ...IID },
  "10x10": { clients: 10, faces: 10, ...IID },
  "20x20": { clients: 20, faces: 20, ...IID },
  "1x7, one label": { clients: 1, faces: 7, partition: "shards", shardsPerClient: 1 },
  "3x7, one label": { clients: 3, faces: 7, partition: "shards", shardsPerClient: 1 },
  "5x10, two labels": { clients: 5, faces: 10, ...ODD },
  "10x10, two labels": { clients: 10, faces: 10, ...ODD },
  "20x20, two labels": { clients: 20, faces: 20, ...ODD },
  "3x7, 30 % wrong": { clients: 3, faces: 7, ...IID, wrong: 0.3 },
  "10x10, 30 % wrong": { clients: 10, faces: 10, ...IID, wrong: 0.3 },
  "20x20, 30 % wrong": { clients: 20, faces: 20, ...IID, wrong: 0.3 },
  "3x7, a third failed": { clients: 3, faces: 7, ...IID, failed: 1 / 3 },
  "20x20, a third failed": { clients: 20, faces: 20, ...IID, failed: 1 / 3 },
  "2x7, and 40 wrong": { clients: 3, faces: 7, ...IID, friend: 40 },
  "2x7, and 200 wrong": { clients: 3, faces: 7, ...IID, friend: 200 },
  "9x10, and 40 wrong": { clients: 10, faces: 10, ...IID, friend: 40 },
  "3x7, another camera": { clients: 3, faces: 7, ...IID, camera: CAMERA },
  "10x10, another camera": { clients: 10, faces: 10, ...IID, camera: CAMERA },
  "20x20, another camera": { clients: 20, faces: 20, ...IID, camera: CAMERA },
  "20x20, another camera, plain": { clients: 20, faces: 20, ...IID, camera: CAMERA, plain: true },
  "3x7, plain": { clients: 3, faces: 7, ...IID, plain: true },
};
const wanted = values.cases?.split(";") ?? Object.keys(CASES);
const unknown = wanted.find((name) => !(name in CASES));
if (unknown) fail(`--cases: there is no case "${unknown}"; there are ${Object.keys(CASES).join("; ")}.`);

/** Labels by the majority of FER+'s voters, null where there is none; undefined where the votes are not there. */
function majorities(split) {
  const file = join(values.data, `ferplus-${split}.csv`);
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(1);
  return lines.map((line) => {
    const votes = line.split(",").map(Number);
    const best = votes.slice(0, 7).reduce((top, count, i) => (count > votes[top] ? i : top), 0);
    return votes[best] > votes.reduce((a, b) => a + b, 0) / 2 ? best : null;
  });
}

async function facesIn(split) {
  const words = majorities(split);
  const faces = [];
  let index = -1;
  for await (const [said, pixels] of facesOf(join(values.data, `${split}.u8.gz`))) {
    index += 1;
    const label = words ? words[index] : said;
    if (label !== null && label !== undefined) faces.push({ label, pixels });
  }
  return faces;
}

/** The first `count` of a list that is shuffled the same way every time. */
const some = (list, count, seed) => lab.shuffle([...list], lab.seededRandom(seed)).slice(0, count);
const examplesOf = (faces) => ({
  pixels: new Uint8Array(Buffer.concat(faces.map(({ pixels }) => pixels))),
  labels: Uint8Array.from(faces, ({ label }) => label),
});

const all = await facesIn("train");
const tests = examplesOf(some(await facesIn("publictest"), values.faces, 7));
const rehearsal = await dreams();
const settings = Object.fromEntries(
  values.set
    .split(",")
    .filter(Boolean)
    .map((pair) => {
      const [key, value] = pair.split("=");
      return [key, Number.isNaN(Number(value)) ? value : Number(value)];
    }),
);
const percent = (share) => `${(share * 100).toFixed(1)} %`;
const inTenThousandths = (value) => Number(value.toFixed(4));

/** Makes some labels wrong: a share of all, or all of a share of the clients. */
function spoil(labels, shares, { wrong = 0, failed = 0 }) {
  const random = lab.seededRandom(99);
  shares.train.forEach((examples, client) => {
    const rate = client < Math.round(failed * shares.train.length) ? 1 : wrong;
    for (const i of examples) if (random() < rate) labels[i] = (labels[i] + 1 + Math.floor(random() * 6)) % 7;
  });
}

/** Gives the first of all clients so many faces, each under the next label, and the others an equal share of the rest. */
function withFriend(examples, friend, each) {
  const labels = examples.labels.map((label, i) => (i < friend ? (label + 1) % 7 : label));
  const clients = Uint32Array.from(labels, (_, i) => (i < friend ? 0 : 1 + Math.floor((i - friend) / each)));
  return { ...examples, labels, clients };
}

const cases = [];
for (const model of values.model.split(",")) {
  for (const name of wanted) {
    const { clients, faces, camera = lab.PLAIN_CAMERA, plain, wrong, failed, friend, ...partition } = CASES[name];
    const config = lab.parseLabConfig({
      dataset: "fer2013",
      model,
      start: "shipped",
      clients,
      examplesPerClient: friend ? 0 : faces,
      fraction: 1,
      rounds: values.rounds,
      seed: values.seed,
      testExamples: 1,
      evaluateEvery: values.rounds,
      ...partition,
      ...(friend && { partition: "natural" }),
      ...(plain ? lab.PLAIN : { ...lab.CAREFUL, ...settings }),
    });
    const chosen = examplesOf(some(all, friend ? friend + (clients - 1) * faces : clients * faces, 2008 + values.seed));
    const train = friend ? withFriend(chosen, friend, faces) : chosen;
    const own = lab.prepare({ train, test: tests, rehearsal }, camera);
    spoil(own.train.labels, lab.shareOut(config, own.train), { wrong, failed });
    // Old kind and new kind, one after the other, where they differ.
    const isShifted = camera !== lab.PLAIN_CAMERA;
    const count = tests.labels.length;
    const test = isShifted
      ? {
          pixels: lab.shared(new Uint8Array(Buffer.concat([tests.pixels, own.test.pixels]))),
          labels: lab.shared(new Uint8Array(Buffer.concat([tests.labels, tests.labels]))),
        }
      : own.test;
    const data = { ...own, test };
    const { pool, stop } = await startPool({ model }, data);
    const places = Uint32Array.from({ length: count }, (_, i) => i);
    const curve = [];
    await lab.runLab({
      config,
      data,
      pool,
      start: startOf(config),
      onRound: async ({ weights, round }) => {
        const old = await pool.evaluate({ weights, of: "test", examples: places });
        const fresh = isShifted
          ? await pool.evaluate({ weights, of: "test", examples: places.map((i) => i + count) })
          : undefined;
        curve.push({
          round,
          old: inTenThousandths(old.accuracy),
          ...(fresh && { fresh: inTenThousandths(fresh.accuracy) }),
        });
      },
    });
    await stop();
    const [first] = curve;
    const last = curve.at(-1);
    const row = {
      name: `${model}, ${name}`,
      before: first.old,
      after: last.old,
      worst: Math.min(...curve.map(({ old }) => old)),
      ...(isShifted && { posedBefore: first.fresh, posedAfter: last.fresh }),
      rounds: last.round,
    };
    cases.push({ ...row, curve });
    console.log(
      `${row.name}: ${percent(row.before)} before, ${percent(row.after)} after, ${percent(row.worst)} at worst` +
        (isShifted ? `; through the camera ${percent(row.posedBefore)}, then ${percent(row.posedAfter)}` : ""),
    );
  }
}
console.log(JSON.stringify({ set: settings, seed: values.seed, cases }));
