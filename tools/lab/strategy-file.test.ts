import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import type { AnyStrategy } from "../../src/federation/strategies/registry";
import type { StrategyContext } from "../../src/federation/strategies/strategy";
import type { StrategySource } from "../../src/simulation/strategy-round";
import { checkTypes, loadStrategy } from "./strategy-file.mjs";

// @module-tag slow

/** Strategies in files of somebody's own. */

const folder = mkdtempSync(join(tmpdir(), "best-actor-strategy-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
const put = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const load = loadStrategy as (file: string) => Promise<{ strategy: AnyStrategy; source: StrategySource }>;

const TYPES = join(import.meta.dirname, "../../src/federation/strategies/strategy");
/** A strategy whose aggregate and hook are these; `aggregate` is its line 12, `gradientHook` its line 9. */
const textOf = (aggregate: string, hook = "() => () => undefined"): string =>
  `import { plainMean, type Strategy } from "${TYPES}";

/** What is between
 * does not count. */
interface Nothing { none: null }
export const mine: Strategy = {
  name: "mine",
  client: {
    gradientHook: ${hook},
  },
  server: {
    aggregate: ({ model }, updates) => ${aggregate},
  },
  wire: { down: [], up: [] },
};
export const nothing: Nothing = { none: null };
`;
const RIGHT = textOf("({ delta: plainMean(updates, model.parameters) })");
const context = { options: {} as never, model: { parameters: 2, tensors: [] }, clients: 3 } as StrategyContext<never>;

/** What calls of its parts throw, and what it is made of, as the terminal's own Node says it. */
async function saidOf(calls: Record<string, string>): Promise<Record<string, unknown>> {
  const script = `
    import { loadStrategy } from ${JSON.stringify(join(import.meta.dirname, "strategy-file.mjs"))};
    const context = { options: {}, model: { parameters: 2, tensors: [] } };
    const said = {};
    for (const [file, call] of Object.entries(${JSON.stringify(calls)})) {
      try {
        const { strategy, source } = await loadStrategy(file);
        said[file] = source;
        new Function("strategy", "context", call)(strategy, context);
      } catch (error) {
        said[file] = [error.name + ": " + error.message, said[file]];
      }
    }
    console.log(JSON.stringify(said));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

test("what a part of it throws names the part, the file and the line, also of a file beside it", async () => {
  const files = {
    wrong: put("wrong.ts", textOf("{ throw new RangeError(`${updates.length} of ${model.parameters}`); }")),
    // A hook is made before a training and called in it.
    late: put("late.ts", RIGHT.replace("() => () => undefined", '() => () => { throw new Error("late"); }')),
    helped: put("helped.ts", `import { help } from "./help";\n${textOf("help()")}`),
    atOnce: put("at-once.js", 'const a = 1;\nthrow new Error("at once");\n'),
  };
  put(
    "help.ts",
    'interface Not {\n  counted: 1;\n}\nexport const help = (): Not => {\n  throw new Error("helpless");\n};\n',
  );
  const aggregate = "strategy.server.aggregate(context, [], {})";
  const said = await saidOf({
    [files.wrong]: aggregate,
    [files.late]: "strategy.client.gradientHook(context)([], [])",
    [files.helped]: aggregate,
    [files.atOnce]: "",
  });
  expect(said[files.wrong]).toMatchObject([
    expect.stringMatching(/^StrategyError: wrong\.ts:12:\d+: server\.aggregate: RangeError: 0 of 2$/),
    {},
  ]);
  expect(said[files.late]).toMatchObject([
    expect.stringMatching(/^StrategyError: late\.ts:9:\d+: client\.gradientHook: Error: late$/),
    {},
  ]);
  expect(said[files.helped]).toMatchObject([
    expect.stringMatching(/: helped\.ts, help\.ts:5:\d+: server\.aggregate: Error: helpless$/),
    {},
  ]);
  expect(said[files.atOnce]).toContainEqual(
    expect.stringMatching(/^DataError: .*at-once\.js:2:\d+ cannot be loaded: at once$/),
  );
});

test("what it does right is as it was", async () => {
  const BESIDE = "export const beside = 1;\n";
  put("beside.ts", BESIDE);
  const { strategy, source } = await load(put("right.ts", `export { beside } from "./beside";\n${RIGHT}`));
  const update = { client: 0, examples: 1, delta: Float32Array.from([2, 4]), sent: {} };
  expect([...strategy.server.aggregate(context, [update, update], {}).delta]).toEqual([2, 4]);
  // What it is made of is all that is somebody's own, and nothing of the project.
  expect(source.map(({ name }) => name)).toEqual(["right.ts", "beside.ts"]);
  expect(source[1]).toEqual({
    name: "beside.ts",
    text: BESIDE,
    sha256: createHash("sha256").update(BESIDE).digest("hex"),
  });
  expect(strategy).toMatchObject({ name: "mine", wire: { down: [], up: [] } });
  expect("epochs" in strategy.client).toBe(false);
});

test.each([
  [
    "export const mine = { name: 7, client: {}, server: { aggregate: () => 1 }, wire: { down: [], up: [] } };",
    "exports no strategy",
  ],
  ['export const mine = { name: "a", client: {}, server: { aggregate: () => 1 }, wire: {} };', "exports no strategy"],
  ["export const mine = {\n  name: ;\n};", "cannot be loaded"],
])("%o is said to be none", async (text, words) => {
  const file = put(`none-${words.length}-${text.length}.js`, text);
  await expect(load(file)).rejects.toThrow(words);
});

test("types that are wrong are told with their places, and nothing else", async () => {
  const typo = put("typo.ts", RIGHT.replace("model.parameters", "model.paramters").replace('"mine"', "7"));
  const said = await checkTypes(typo).catch(String);
  expect(said).toMatch(/typo\.ts:7:3 .*number.*string[^]*typo\.ts:12:\d+ .*paramters/);
  expect(String(said).match(/typo\.ts:/g)).toHaveLength(2);
});
