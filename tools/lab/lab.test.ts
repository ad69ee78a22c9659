import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import { BlobWriter, TextReader, ZipWriter } from "@zip.js/zip.js";
import type { LabExport } from "../../src/simulation/export";
import { facesOf } from "../faces.mjs";

// @module-tag slow

/** The command line, as somebody meets it who has files of their own. */

const folder = mkdtempSync(join(tmpdir(), "best-actor-lab-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What a command prints and how it ends. One thread is enough for so little. */
const lab = (...args: string[]): Promise<{ code: number; said: string }> =>
  new Promise((resolve) => {
    const file = join(import.meta.dirname, "lab.mjs");
    execFile(process.execPath, [file, ...args, "--workers", "1"], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, said: `${stdout}${stderr}` });
    });
  });

/** The JSON that a command ends with; warnings are told beside it. */
const resultOf = (said: string): unknown =>
  JSON.parse(
    said
      .split("\n")
      .filter((line) => /^[[{]/.test(line))
      .at(-1) ?? "",
  );

const put = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
};

const face = (level: number): string => Array<number>(2304).fill(level).join(" ");
const CSV = `emotion,Usage,pixels\n${[0, 1, 2].map((i) => `${i},${i === 2 ? "val" : "train"},${face(i)}`).join("\n")}\n`;

async function read(path: string, labels: Record<string, number> | null = null): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const [label, pixels, usage, client] of facesOf(path, labels) as AsyncIterable<
    [number, Uint8Array, string | null, string | null]
  >) {
    all.push([label, pixels[0], usage, client]);
  }
  return all;
}

const EXPECTED = [
  [0, 0, "train", null],
  [1, 1, "train", null],
  [2, 2, "test", null],
];

test("what a file is says its content: any name, packed, in a zip, or beside a README in a folder", async () => {
  const zip = new ZipWriter(new BlobWriter());
  await zip.add("fer2013/fer2013.csv", new TextReader(CSV));
  await zip.add("README.txt", new TextReader("faces"));
  const zipped = new Uint8Array(await (await zip.close()).arrayBuffer());
  for (const path of [
    ...[put("Upper.CSV", CSV), put("fer2013", CSV), put("fer.txt", CSV)],
    ...[put("packed.gz", gzipSync(CSV)), put("packed.csv", gzipSync(CSV)), put("one.zip", zipped), put("zip", zipped)],
  ]) {
    expect(await read(path), path).toEqual(EXPECTED);
  }
  put("beside/README.md", "# Faces\n");
  put("beside/data/faces.csv", CSV);
  expect(await read(join(folder, "beside"))).toEqual(EXPECTED);
});

test("a folder of pictures is read by its folders, and what is transparent is paper", async () => {
  const picture = (background: string | object, width: number, height: number): Promise<Buffer> =>
    sharp({ create: { width, height, channels: 4, background } })
      .png()
      .toBuffer();
  put("own/train/anna/happy/1.png", await picture("#ff0000", 90, 60));
  put("own/train/ben/happy/1.png", await picture({ r: 9, g: 9, b: 9, alpha: 0 }, 60, 90));
  put("own/test/ben/sad/1.png", await picture("#404040", 48, 48));
  put("own/train/ben/sad/broken.png", "no picture");
  // Red has luma 76 (ITU-R BT.601).
  expect(await read(join(folder, "own"))).toEqual([
    [4, 64, "test", "ben"],
    [3, 76, "train", "anna"],
    [3, 255, "train", "ben"],
  ]);
});

test("the numbers of another collection are asked for, and what is said is shown", async () => {
  const rows = [1, 2, 3, 4, 5, 6, 7].map((label) => `${label},${face(label)}`).join("\n");
  const csv = put("raf.csv", `emotion,pixels\n${rows}\n${rows}\n`);
  const run = ["--preset", "first-look", "--set", "dataset=fer2013", "--data", csv];
  const asked = await lab(...run);
  expect(asked).toMatchObject({ code: 1 });
  expect(asked.said).toContain("Say which is which: --labels 1=surprise");
  const small = ["clients=2", "examplesPerClient=5", "rounds=1", "testExamples=0", "fraction=0.5"];
  const names = "1=surprise,2=fear,3=disgust,4=happy,5=sad,6=angry";
  const said = await lab(...run, ...small.flatMap((pair) => ["--set", pair]), "--labels", names);
  expect(said.said).toContain("labels taken as 1 = surprise (2), 2 = fear (2)");
  expect(said.said).toContain("7 = left out (2)");
  expect(said.code).toBe(0);
}, 600_000);

test("what is wrong is said in a sentence, without a stack trace", async () => {
  const config = {
    dataset: "drawn",
    model: "compact",
    clients: 2,
    rounds: 1,
    epochs: 1,
    batchSize: 5,
    learningRate: 0.1,
  };
  const text = JSON.stringify(config);
  const few = ["rounds=2", "testExamples=10", "examplesPerClient=100"].flatMap((pair) => ["--set", pair]);
  const cases: [string[], string][] = [
    [["--config", join(folder, "nowhere.json")], "There is no configuration"],
    [["--config", folder], "is a folder: name the file"],
    [["--config", put("broken.json", text.slice(0, -5))], "it is no JSON"],
    [["--config", put("list.json", "[1]")], "it must hold an object"],
    [["--preset", "first-look", "--out", put("a-file", "")], "a-file is a file: choose a folder"],
    [["--preset", "first-look", "--out", join(put("a-file", ""), "run")], "a-file is a file: choose a folder"],
    // A byte-order mark is no fault: what follows is read.
    [["--config", put("bom.json", `\uFEFF${text}`), "--set", "rounds=0"], "rounds: "],
    [["--preset", "first-look", "--set", "learnigRate=1"], "there is no such key; the nearest is learningRate."],
    [["--preset", "first-look", "--set", "learningRate=11"], "learningRate: "],
    [["--preset", "first-look", "--set", "__proto__=1"], "write it as key=value"],
    [
      ["--data", join(put("looks/cat/1.png", "no picture"), "../.."), "--column", "kind"],
      "--column kind names a column of a CSV",
    ],
    [["--preset", "mcmahan-2nn", ...few, "--set", "learningRate=10"], "Training diverged"],
    [
      ["--preset", "warm-start", "--data", put("utf16.csv", Buffer.from(`\uFEFF${CSV}`, "utf16le"))],
      "save it as UTF-8",
    ],
    [
      ["--preset", "warm-start", "--data", put("semi.csv", CSV.replaceAll(",", ";"))],
      "Separate the columns with commas",
    ],
    [["--preset", "warm-start", "--data", put("cut.gz", gzipSync(CSV).subarray(0, 60))], "cannot be unpacked"],
    [["--preset", "warm-start", "--data", put("cut.zip", "PK\u0003\u0004nothing")], "is no zip file that can be read"],
    [["--preset", "warm-start", "--data", join(folder, "none")], "There is no"],
  ];
  // Each starts a program: `npm run test:soak` has all of them.
  for (const [args, what] of process.env["SOAK"] ? cases : cases.filter((_, i) => i % 3 === 0)) {
    const { code, said } = await lab(...args);
    expect(said, args.join(" ")).toContain(what);
    expect(said, args.join(" ")).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  }
}, 600_000);

test("a strategy of one's own runs from its file, and what is wrong with one is said", async () => {
  const mine = (aggregate: string): string => `
    interface Update { delta: Float32Array }
    export const half = {
      name: "half",
      client: { gradientHook: () => (gradient: Float32Array) => void gradient.fill(0) },
      server: { aggregate: (context: { model: { parameters: number } }, updates: Update[]) => ${aggregate} },
      wire: { down: [], up: [] },
    };`;
  const small = ["rounds=1", "clients=2", "fraction=1", "examplesPerClient=20", "testExamples=10"];
  const run = (name: string, code: string) =>
    lab(...["--preset", "mcmahan-2nn", "--strategy", put(name, code)], ...small.flatMap((pair) => ["--set", pair]));
  // Its clients learn nothing and its server adds nothing: the test stays as it was.
  const still = await run("mine.ts", mine("({ delta: new Float64Array(context.model.parameters) })"));
  expect(still.code, still.said).toBe(0);
  const losses = [...still.said.matchAll(/(\d\.\d{4}) +\d+\.\d+ %/g)].map(([, loss]) => loss);
  expect(losses.length).toBeGreaterThanOrEqual(2);
  expect(losses.at(-1)).toBe(losses[0]);
  for (const [name, code, what] of [
    ["broken.ts", mine("({"), "broken.ts:7:11 ')' expected."],
    ["empty.ts", "export const nothing = 1;", "exports no strategy"],
  ] as const) {
    const { code: ended, said } = await run(name, code);
    expect(said).toContain(what);
    expect(said).not.toMatch(/^\s+at /m);
    expect(ended).toBe(1);
  }
  const unknown = await lab("--preset", "mcmahan-2nn", "--strategy", "scafold");
  expect(unknown.said).toContain("there is no scafold here; there are fedavg, scaffold");
}, 600_000);

test("a sweep runs its grid, goes on where it was, and is refused with other data", async () => {
  const out = join(folder, "sweep");
  const config = { dataset: "fer2013", model: "compact", clients: 2, rounds: 1, epochs: 1, batchSize: 5 };
  const file = put("sweep.json", JSON.stringify({ ...config, learningRate: 0.001, testExamples: 2 }));
  const csv = (level: number): string =>
    put(
      "swept.csv",
      `emotion,pixels\n${Array.from({ length: 30 }, (_, i) => `${i % 7},${face(level + i)}`).join("\n")}\n`,
    );
  const args = [
    "--config",
    file,
    "--out",
    out,
    "--sweep",
    "learningRate=0.001,0.002",
    "--sweep",
    "partition=iid,shards",
  ];
  const first = await lab(...args, "--data", csv(1));
  expect(first.code, first.said).toBe(0);
  const last = resultOf(first.said) as { sweep: object; accuracy: number }[];
  expect(last.map(({ sweep }) => sweep)).toEqual([
    ...["iid", "shards"].map((partition) => ({ learningRate: 0.001, partition })),
    ...["iid", "shards"].map((partition) => ({ learningRate: 0.002, partition })),
  ]);
  expect(first.said).toContain("learningRate=0.002 partition=shards");
  const run = JSON.parse(readFileSync(join(out, "learningRate=0.001,partition=iid/run.json"), "utf8")) as LabExport;
  expect(run.commits).toEqual([{ fromRound: 1, commit: expect.stringMatching(/^[0-9a-f]{40}\+?$/) as string }]);
  expect(run.data).toMatch(/^[0-9a-f]{64}$/);
  expect(run.rounds[0]?.clients).toHaveLength(2);
  const again = await lab(...args, "--data", csv(1));
  expect(resultOf(again.said)).toEqual(last);
  expect(again.said.match(/Going on after round 1/g)).toHaveLength(4);
  const other = await lab(...args, "--data", csv(2));
  expect(other).toMatchObject({ code: 1 });
  expect(other.said).toContain("The data are not those that this run began with");
  for (const [sweep, what] of [
    ["learningRate", "write it as key=a,b,c"],
    ["learnigRate=1,2", "the nearest is learningRate"],
  ] as const) {
    expect((await lab("--config", file, "--data", csv(1), "--sweep", sweep)).said).toContain(what);
  }
}, 600_000);

test("a sweep goes on behind what diverges and what cannot be run, and says so", async () => {
  const out = join(folder, "diverging");
  const small = ["rounds=2", "clients=2", "fraction=1", "testExamples=10", "batchSize=1"];
  const pairs = small.flatMap((pair) => ["--set", pair]);
  const axes = [
    ...["optimizer=adam,sgd", "learningRate=10,0.1", "examplesPerClient=100000,50"],
    "strategyOptions.serverLearningRate=0.5",
  ];
  const sweep = axes.flatMap((axis) => ["--sweep", axis]);
  const run = (): Promise<{ code: number; said: string }> =>
    lab("--preset", "mcmahan-2nn", "--strategy", "scaffold", ...pairs, ...sweep, "--out", out);
  const { code, said } = await run();
  expect(code).toBe(1);
  const few = expect.stringContaining("ask for fewer clients or fewer examples") as string;
  const adam = { ended: null, rounds: 0, problem: expect.stringContaining("choose optimizer sgd") as string };
  expect(resultOf(said)).toMatchObject([
    ...[adam, adam, adam, adam],
    { ended: null, problem: few },
    { ended: "diverged", rounds: expect.any(Number) as number },
    { ended: null, problem: few },
    { ended: "rounds", rounds: 2 },
  ]);
  expect(said).toMatch(/learningRate=10 examplesPerClient=50 .*diverged/);
  const csv = readFileSync(join(out, "sweep.csv"), "utf8").split("\r\n");
  expect(csv[0]).toContain("optimizer,learningRate,examplesPerClient,strategyOptions.serverLearningRate,seed,ended,");
  expect(csv[1]).toMatch(/^adam,10,100000,0\.5,1,,0,.*choose optimizer sgd/);
  expect(csv[6]).toContain("sgd,10,50,0.5,1,diverged,");
  // The state alone does not say what it is of.
  rmSync(
    join(out, "optimizer=sgd,learningRate=0.1,examplesPerClient=50,strategyOptions.serverLearningRate=0.5/run.json"),
  );
  const lost = await run();
  expect(lost.said).toContain("no run.json that says what it is of");
  expect(lost.said).not.toMatch(/^\s+at /m);
}, 600_000);

test("asynchronous rounds tell their simulated time and go on where they were, and clients that gossip their spread", async () => {
  const run = (...pairs: string[]) => {
    const few = ["rounds=2", "clients=4", "fraction=0.5", "examplesPerClient=20", "testExamples=10", ...pairs];
    return lab("--preset", "mcmahan-2nn", ...few.flatMap((pair) => ["--set", pair]));
  };
  const out = join(folder, "late");
  const small = ["rounds=1", "clients=8", "epochs=1", "examplesPerClient=10", "testExamples=14"];
  const late = ["--preset", "fedbuff", "--out", out, ...small.flatMap((pair) => ["--set", pair])];
  const [first, again] = [await lab(...late), await lab(...late)];
  expect(first.code, first.said).toBe(0);
  expect(first.said).toContain("versions behind");
  expect(resultOf(first.said)).toMatchObject({ rounds: 1, simulatedSeconds: expect.any(Number) as number });
  expect(again.said).toContain("Going on after round 1.");
  expect(resultOf(again.said)).toEqual(resultOf(first.said));
  const alone = await run("topology=gossip");
  expect(alone.said).toContain("clients ± ");
  expect(resultOf(alone.said)).toMatchObject({ spread: { least: expect.any(Number) as number } });
  expect((await run("mode=async", "strategy=scaffold")).said).toContain("one and the same base");
}, 600_000);

test("help lists every key with its bounds", async () => {
  const { code, said } = await lab("--help");
  expect(code).toBe(0);
  for (const line of [
    /learningRate +a number above 0 to 10/,
    /batchSize +a whole number from 1 to 10000/,
    /partition +iid \|/,
  ]) {
    expect(said).toMatch(line);
  }
}, 60_000);

test("pictures of any label, size and colour are learned, and a run goes on with the same only", async () => {
  // Three labels that differ by colour alone: of one luma (ITU-R BT.601) they are one in grey.
  const colours = { "Rot licht": [200, 38, 90], green: [40, 110, 90], "blau-grau": [76, 79, 150] };
  let level = 1;
  for (const [name, channels] of Object.entries(colours)) {
    for (let i = 0; i < 12; i++) {
      const raw = Buffer.alloc(24 * 20 * 3);
      for (let at = 0; at < raw.length; at++) {
        level = (level * 48271) % 2147483647;
        raw[at] = (channels[at % 3] ?? 0) + (level % 30);
      }
      const picture = await sharp(raw, { raw: { width: 20, height: 24, channels: 3 } })
        .png()
        .toBuffer();
      put(`colours/${i < 9 ? "train" : "test"}/${name}/${i}.png`, picture);
    }
  }
  const data = join(folder, "colours");
  const small = ["model=mnist-cnn", "clients=3", "rounds=4"].flatMap((pair) => ["--set", pair]);
  const out = join(folder, "colours-run");
  const refused = await lab("--data", data, "--set", "model=compact");
  expect(refused).toMatchObject({ code: 1 });
  expect(refused.said).toContain("The model compact does not take these pictures of 20 x 24");
  const said = await lab("--data", data, ...small, "--out", out);
  expect(said.code, said.said).toBe(0);
  expect(said.said).toContain(
    "36 pictures of 20 x 24 in colour; labels taken as Rot licht = Rot licht (12), blau-grau = blau-grau (12), green = green (12)",
  );
  expect(said.said).toContain("0 = Rot licht, 1 = blau-grau, 2 = green");
  const run = JSON.parse(readFileSync(join(out, "run.json"), "utf8")) as LabExport;
  expect(run.kind).toEqual({
    labels: ["Rot licht", "blau-grau", "green"],
    input: { height: 24, width: 20, channels: 3 },
  });
  expect(run.evaluation).toMatchObject({
    examples: 9,
    confusion: [
      [3, 0, 0],
      [0, 3, 0],
      [0, 0, 3],
    ],
  });
  // The same pictures in grey, or under other names, are other data.
  for (const other of [
    ["--channels", "1"],
    ["--labels", "green,blau-grau,Rot licht"],
  ]) {
    const again = await lab("--data", data, ...small, "--out", out, ...other);
    expect(again.said).toContain("The data are not those that this run began with");
  }

  // A CSV with names for labels asks for what it does not say.
  const rows = Array.from({ length: 30 }, (_, i) => {
    const levels = Array.from({ length: 96 }, (_, at) => (at % 3 === i % 3 ? 200 : 20) + (at % 7));
    return `${["cat", "dog", "bird"][i % 3]},${levels.join(" ")}`;
  });
  const csv = put("animals.csv", `animal,levels\n${rows.join("\n")}\n`);
  const asked = await lab("--data", csv);
  expect(asked.said).toContain(
    "Its pictures have 96 numbers, which is no square in grey or in colour: say their size.",
  );
  const wide = [
    "--size",
    "12x8",
    "--set",
    "model=mnist-2nn",
    "--set",
    "rounds=2",
    "--labels",
    "cat=pet,dog=pet,bird=bird",
  ];
  const trained = await lab("--data", csv, ...wide);
  expect(trained.said).toContain(
    "30 pictures of 12 x 8 in grey; labels of the column animal taken as bird = bird (10), cat = pet (10), dog = pet (10)",
  );
  expect(trained.code, trained.said).toBe(0);
  // What such data begin with goes with every strategy.
  const strategic = await lab("--data", csv, ...wide, "--strategy", "feddyn");
  expect(strategic.code, strategic.said).toBe(0);
}, 600_000);
