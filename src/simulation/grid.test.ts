import { expect, test } from "vitest";
import { changed, configsOf, gridOf, MOST_RUNS, nameOf, valuesOf } from "./grid";
import { outcomeOf, sweepToCsv } from "./outcome";
import { PRESETS } from "./presets";
import type { LabRound } from "./simulation";

const base = PRESETS.get("mcmahan-2nn")?.config ?? {};

test("values are JSON or words, and commas within JSON part nothing", () => {
  expect(valuesOf("0.1, 2,true,null,iid")).toEqual([0.1, 2, true, null, "iid"]);
  expect(valuesOf('{"a":1,"b":[2,3]},[[0,1],[2]],"x,\\"y"')).toEqual([{ a: 1, b: [2, 3] }, [[0, 1], [2]], 'x,"y']);
  for (const [list, what] of [
    ["1,,2", "there is no value"],
    ["", "there is no value"],
    ["[1,2", "has no other one"],
    ["0.1,0.10", "0.1 is there twice"],
  ] as const) {
    expect(() => valuesOf(list), list).toThrow(what);
  }
});

test("a grid has every combination once, also of an option of a strategy", () => {
  const rates = { key: "strategyOptions.serverLearningRate", values: [1, 2] };
  const grid = gridOf([{ key: "learningRate", values: [0.1, 0.2] }, rates]);
  expect(grid.map(nameOf)).toEqual(
    ["0.1", "0.1", "0.2", "0.2"].map((rate, i) => `learningRate=${rate} ${rates.key}=${1 + (i % 2)}`),
  );
  const configs = configsOf({ ...base, strategy: "scaffold" }, grid);
  expect(configs.map(({ config }) => [config?.learningRate, config?.strategyOptions])).toEqual(
    [0.1, 0.1, 0.2, 0.2].map((rate, i) => [rate, { serverLearningRate: 1 + (i % 2) }]),
  );
  expect(changed({ camera: { gain: 1, angle: 3 } }, { "camera.gain": 2 })).toEqual({ camera: { gain: 2, angle: 3 } });
  expect(gridOf([])).toEqual([{}]);
});

test("where strategies are swept, the options that stand there are those of the one that stands there", () => {
  const moon = { ...base, strategy: "moon", strategyOptions: { mu: 5 } };
  const others = gridOf([{ key: "strategy", values: [null, "moon", "ditto"] }]);
  expect(configsOf(moon, others).map(({ config }) => config?.strategyOptions)).toEqual([{}, { mu: 5 }, {}]);
  expect(changed(moon, { "strategyOptions.lambda": 1, strategy: "ditto" })["strategyOptions"]).toEqual({ lambda: 1 });
  // What both have stays; what a file's strategy takes it says itself.
  const fedrep = { strategy: "fedrep", strategyOptions: { personalLayers: 2, headEpochs: 3 } };
  expect(changed(fedrep, { strategy: "fedper" })["strategyOptions"]).toEqual({ personalLayers: 2 });
  expect(changed(fedrep, { strategy: "./mine.ts" })["strategyOptions"]).toEqual(fedrep.strategyOptions);
  expect(changed(fedrep, { strategy: "rfa" })["strategyOptions"]).toEqual({});
  // Options without a strategy of their own are meant for those that are swept, as far as they have them.
  const mu = { strategyOptions: { mu: 5 } };
  const sweep = gridOf([{ key: "strategy", values: [null, "fedavg", "moon"] }]);
  expect(sweep.map((changes) => changed(mu, changes)["strategyOptions"])).toEqual([{}, {}, mu.strategyOptions]);
  expect(configsOf({ ...base, ...mu }, sweep).every(({ problem }) => problem === null)).toBe(true);
  expect(() => configsOf({ ...base, ...mu }, sweep.slice(0, 2))).toThrow("strategyOptions.mu: none of the strategies");
});

test("what cannot be swept is said, with the combination that it is of", () => {
  const axis = (key: string, ...values: unknown[]) => ({ key, values });
  expect(() => gridOf([axis("epochs", 1), axis("epochs", 2)])).toThrow("epochs: it is swept twice");
  expect(() => gridOf([axis("strategyOptions", {}), axis("strategyOptions.mu", 1)])).toThrow("swept twice");
  expect(() => gridOf([axis("seed", ...Array(MOST_RUNS + 1).keys())])).toThrow("1001 combinations are more than 1000");
  const of = (...axes: ReturnType<typeof axis>[]) => configsOf(base, gridOf(axes));
  expect(() => of(axis("learningRate", 0.1, 20))).toThrow("learningRate=20: learningRate: ");
  expect(() => of(axis("learnigRate", 0.1))).toThrow("the nearest is learningRate");
  expect(() => of(axis("learningRate.x", 0.1))).toThrow("learningRate: ");
  // An option that the strategy refuses is said before any data are read.
  const wrong = [axis("strategy", "scaffold"), axis("strategyOptions.serverLearningRate", 1, "much")];
  expect(() => of(...wrong)).toThrow("strategy=scaffold strategyOptions.serverLearningRate=much: strategyOptions.");
  expect(() => of(axis("strategy", "fedavg", "scafold"))).toThrow("there is no scafold here");
});

test("a combination whose settings do not go together keeps none of the others from being run", () => {
  const grid = gridOf([
    { key: "strategy", values: ["fedavg", null] },
    { key: "optimizer", values: ["sgd", "adam"] },
  ]);
  const [, wrong, ...right] = configsOf(base, grid);
  expect(wrong).toMatchObject({ changes: grid[1], config: null });
  expect(wrong?.problem).toBe("Strategies count steps of plain SGD: choose optimizer sgd and patience 0.");
  expect(right.map(({ config }) => config?.optimizer)).toEqual(["sgd", "adam"]);
  // A strategy that chooses by itself, beside a schedule.
  const scheduled = configsOf(
    { ...base, schedule: [[0]] },
    gridOf([{ key: "strategy", values: ["power-of-choice", "moon"] }]),
  );
  expect(scheduled.map(({ problem }) => problem === null)).toEqual([false, true]);
  // One that is refused anyway, and what is no conflict of two settings.
  expect(() => configsOf(base, grid.slice(1, 2))).toThrow("Strategies count steps");
  expect(() => configsOf({ ...base, optimizer: "adam" }, grid.slice(0, 1))).not.toThrow();
  const adam = { ...base, optimizer: "adam" };
  const strategies = gridOf([{ key: "strategy", values: ["fedavg", "moon"] }]);
  expect(() => configsOf(adam, strategies)).toThrow("strategy=fedavg: Strategies count steps");
});

test("a run comes to a few numbers, and a sweep to lines of CSV", () => {
  const round = (testAccuracy: number | null): LabRound => ({
    round: 0,
    cohort: [],
    left: 0,
    examples: 0,
    trainLoss: null,
    trainAccuracy: null,
    testLoss: null,
    testAccuracy,
    attackSuccess: null,
    published: true,
    learningRate: 0.1,
    stepNorm: 0,
    bytesDown: 0,
    bytesUp: 0,
    seconds: 1.5,
  });
  const config = configsOf(base, gridOf([{ key: "target", values: [0.75] }]))[0]?.config;
  if (!config) throw new Error("no configuration");
  const rounds = [0.5, null, 0.9, 0.8].map((accuracy, i) => ({ ...round(accuracy), round: i + 1 }));
  const evaluation = { examples: 10, loss: 0.7, accuracy: 0.8, confusion: [] };
  const outcome = outcomeOf(config, { ended: "diverged", rounds, evaluation });
  // 0.75 lies at 5 / 8 of the way from round 1 to round 3.
  const numbers = { rounds: 4, accuracy: 0.8, best: 0.9, loss: 0.7, toTarget: 2.25, seconds: 6, time: null };
  expect(outcome).toEqual({ ended: "diverged", ...numbers });
  const problem = 'There are 3, "too few".';
  const csv = sweepToCsv([{ changes: { a: { b: 1, c: 2 }, d: "x" }, seed: 3, outcome, problem }]);
  expect(csv.split("\r\n")).toEqual([
    "a,d,seed,ended,rounds,accuracy,best_accuracy,loss,rounds_to_target,seconds,simulated_seconds,problem",
    '"{""b"":1,""c"":2}",x,3,diverged,4,0.8,0.9,0.7,2.25,6,,"There are 3, ""too few""."',
    "",
  ]);
});
