/**
 * `npm run bench:engines [-- --model seed]`: how Chromium, Firefox and WebKit start, classify and train a model (`compact`, if none
 * is named) on WebAssembly, one after the other, batch 32, and how long the built app takes from its address to a game that is
 * ready, in a fresh profile. Its last line is one JSON object.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENGINES, hasEngine, openEngine } from "../tools/engines.mjs";
import { fail } from "../tools/faces.mjs";
import { servePage } from "../tools/harness/open.mjs";
import { optionsOf } from "../tools/options.mjs";
import { serve } from "../tools/serve.mjs";
import { root, run } from "../tools/setup.mjs";

const BATCH = 32;
const STEPS = 5;
const TASKS = { seed: "expressions", compact: "expressions-compact" };

const { model } = optionsOf(import.meta.url, { model: { type: "string", default: "compact" } });
if (!(model in TASKS)) fail(`--model is seed or compact, not ${model}.`);
if (!existsSync(join(root, "dist")) && run("npm", ["run", "-s", "build"]) !== 0) fail("The app could not be built.");

const round = (value, digits = 1) => Number(value.toFixed(digits));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Milliseconds from the address to a game that has its model. */
async function gameStart(name, url) {
  const engine = await openEngine(name);
  try {
    const begun = performance.now();
    await engine.goto(`${url}/play?task=${TASKS[model]}`);
    // The model comes with the first sign of a person.
    await engine.evaluate(async () => {
      for (const type of ["pointermove", "pointerdown"])
        document.dispatchEvent(new PointerEvent(type, { bubbles: true }));
      while (!document.body.innerText.includes("version 0")) await new Promise((resolve) => setTimeout(resolve, 10));
    });
    return performance.now() - begun;
  } finally {
    await engine.close();
  }
}

async function measure(name, harnessUrl, appUrl) {
  const engine = await openEngine(name);
  try {
    await engine.goto(harnessUrl);
    const { probe, started } = await engine.evaluate(
      async (model, faces, steps) => {
        const probe = await window.harness.train(model, "wasm", faces, steps);
        return { probe, started: (await window.harness.learned()).started };
      },
      ...[model, BATCH, STEPS],
    );
    return {
      name,
      version: engine.version,
      rung: started.rung,
      threads: started.threads,
      startMs: round(started.startMs + probe.startMs, 0),
      inferenceMs: round(probe.inferenceMs, 2),
      imagesPerSecond: round((BATCH * 1000) / median(probe.stepMs.slice(1))),
      gameStartMs: round(await gameStart(name, appUrl), 0),
    };
  } finally {
    await engine.close();
  }
}

const stateFolder = mkdtempSync(join(tmpdir(), "best-actor-engines-"));
const [harness, edge] = [await servePage(), await serve({ port: 0, stateFolder })];
const engines = [];
for (const name of ENGINES) {
  if (hasEngine(name)) engines.push(await measure(name, harness.url, edge.url));
  else console.log(`${name}: not installed`);
}
await harness.close();
await edge.stop();
rmSync(stateFolder, { recursive: true, force: true });

console.table(engines);
console.log(JSON.stringify({ engines }));
process.exit(0);
