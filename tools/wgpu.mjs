/**
 * `npm run test:wgpu [-- --python PATH] [--models compact] [--drawn 8] [--parts steps,products,drawn,choices]`: our kernels on WebGPU in
 * a second implementation, wgpu-native (whose compiler of shaders is naga, Firefox's), on any Vulkan driver; without a GPU on Mesa's
 * lavapipe (Debian: mesa-vulkan-drivers). The Python needs wgpu and numpy of PyPI. A training step in every variant against PyTorch's
 * numbers (tools/oracle.py), each product with each tile and variant against NumPy in float64, models that are drawn at random against
 * tfjs's operations on its cpu backend, and faults that the choice of variants has to see. Takes some minutes. Its last line is one JSON
 * object; it ends with 1 where something is further off than it may be.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";
import { root } from "./setup.mjs";
import { optionsOf } from "./options.mjs";
import { openRemoteGpu, RemoteBuffer } from "./wgpu/remote-gpu.mjs";

const options = optionsOf(import.meta.url, {
  python: { type: "string", default: "python3" },
  models: { type: "string", default: "compact" },
  drawn: { type: "count", default: "8" },
  parts: { type: "string", default: "steps,products,drawn,choices" },
});

const { gpu, info, features, convolve, end } = await openRemoteGpu(options.python);
console.log(JSON.stringify({ info, features }));
// Flags of the standard; the other process takes the same numbers.
Object.assign(globalThis, {
  GPUBufferUsage: {
    MAP_READ: 1,
    MAP_WRITE: 2,
    COPY_SRC: 4,
    COPY_DST: 8,
    UNIFORM: 64,
    STORAGE: 128,
    QUERY_RESOLVE: 512,
  },
  GPUShaderStage: { COMPUTE: 4 },
  GPUMapMode: { READ: 1, WRITE: 2 },
  GPUBuffer: RemoteBuffer,
  // tfjs looks for this before it offers WebGPU.
  WorkerGlobalScope: Object,
  require: createRequire(import.meta.url),
});
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node", hardwareConcurrency: 1 } });

// In one file: Node does not find what tfjs's modules import without an extension.
const outDir = mkdtempSync(join(tmpdir(), "best-actor-wgpu-"));
process.once("exit", () => rmSync(outDir, { recursive: true, force: true }));
await build({
  configFile: false,
  publicDir: false,
  logLevel: "error",
  ssr: { noExternal: true },
  build: {
    ssr: join(root, "tools/wgpu/second.ts"),
    outDir,
    rolldownOptions: { output: { entryFileNames: "second.mjs" } },
  },
});
const second = await import(pathToFileURL(join(outDir, "second.mjs")).href);

const can = { halves: features.includes("shader-f16"), quads: features.includes("subgroups") };
const VARIANTS = [
  { name: "plain", halves: false, quads: false },
  { name: "quads", halves: false, quads: true },
  { name: "halves", halves: true, quads: false },
].filter(({ halves, quads }) => (!halves || can.halves) && (!quads || can.quads));
const figures = {};
const faults = [];
/** Notes a figure, and a fault where it is more than it may be. */
function hold(name, value, most) {
  console.log(
    name,
    typeof value === "number" ? Number(value.toPrecision(3)) : value,
    most === undefined ? "" : `of ${most}`,
  );
  figures[name] = value;
  if (most !== undefined && !(value <= most)) faults.push(name);
}
const largest = (rows) => rows.reduce((most, row) => (row.error <= most.error ? most : row));

async function steps(model) {
  const expected = second.readOracle(root, model);
  for (const optimizer of ["sgd", "careful"]) {
    for (const { name, ...variant } of VARIANTS) {
      const found = await second.oracle("webgpu", model, 1, optimizer, variant);
      const [loss, ...gradients] = second.distances(found, expected, optimizer);
      const title = `${model}, ${optimizer}, ${name}`;
      // Half precision is not asked to be exact: it is chosen where it agrees.
      hold(`${title}: loss`, loss.error, variant.halves ? undefined : loss.allowed);
      const worst = largest(gradients.map(({ error, allowed, ...row }) => ({ ...row, error, of: error / allowed })));
      hold(`${title}: worst gradient, ${worst.name}`, worst.error, variant.halves ? undefined : worst.error / worst.of);
    }
  }
}

/** What half precision may lose of a product: its numbers are rounded by 2^-11 at most, those of either factor. */
const HALF = 2 ** -10;
const SINGLE = 1e-6;
const SIZES = [
  { title: "numbers as in a training", activations: 2, weights: 0.2, slopes: 1e-3 },
  { title: "gradients of 1e-7", activations: 2, weights: 0.2, slopes: 1e-7 },
  { title: "activations over 65,504", activations: 2e6, weights: 0.2, slopes: 1e-3, isBeyond: true },
  { title: "weights below half's smallest", activations: 2, weights: 1e-8, slopes: 1e-3, isBeyond: true },
];
async function products() {
  const all = await second.productErrors(convolve, SIZES);
  for (const { title, isBeyond } of SIZES) {
    const rows = all.filter((row) => row.title === title);
    for (const product of ["forward", "input", "filter"]) {
      const errorOf = (half) => largest(rows.filter((row) => row.product === product && row.isHalf === half)).error;
      hold(`${product}, ${title}: single`, errorOf(false), SINGLE);
      if (!can.halves) continue;
      hold(`${product}, ${title}: half`, errorOf(true), isBeyond ? undefined : HALF);
      // Or this comparison sees nothing.
      if (isBeyond && product === "forward" && !(errorOf(true) > HALF)) faults.push(`${title} agree in half precision`);
    }
    const others = rows.filter(({ isHalf, isPlain }) => !isHalf && !isPlain);
    hold(`${title}: tiles in quads with other bits than plain ones`, others.length, 0);
  }
}

async function drawn() {
  let [worst, others] = [{ name: "", error: 0 }, 0];
  for (const [spec, trial] of second.drawnModels(options.drawn)) {
    for (const { name: _, ...variant } of VARIANTS.filter(({ halves }) => !halves)) {
      const { errors, isRepeated, isPlain } = await second.modelErrors(spec, {
        ...trial,
        isTuning: false,
        tile: null,
        variant,
      });
      if (!isRepeated || !isPlain) others++;
      for (const [name, error] of Object.entries(errors)) {
        const isCoarse = trial.plan.optimizer === "adam" && !name.startsWith("gradient") && name !== "loss";
        if (!isCoarse && !(error <= worst.error)) worst = { name, error };
      }
    }
  }
  hold(`${options.drawn} drawn models against tfjs: worst, ${worst.name}`, worst.error, 1e-4);
  hold("drawn models that give other bits again, or in quads", others, 0);
}

/** Which products a training in a variant settles for. */
async function settled(title, variant, how, wanted) {
  const { forward, input, filter } = await second.settledVariants(variant, how);
  const taken = Object.entries({ forward, input, filter })
    .filter(([, one]) => one.halves || one.quads)
    .map(([name]) => name);
  hold(`taken, ${title}`, taken.join(" ") || "none");
  if (wanted !== undefined && taken.join(" ") !== wanted) faults.push(title);
}
async function choices() {
  const all = "forward input filter";
  if (can.quads) {
    const quads = { halves: false, quads: true };
    await settled("quads", quads, {}, all);
    const apart = ["vec4u(0u, 1u, 2u, 3u))) {", "vec4u(0u, 1u, 2u, 4u))) {"];
    await settled("quads of other threads, which read for themselves", quads, { fault: apart }, all);
    await settled(
      "quads that hand on another's",
      quads,
      { fault: ["quadBroadcast(mine0, 1u)", "quadBroadcast(mine0, 2u)"] },
      "",
    );
  }
  if (can.halves) {
    const halves = { halves: true, quads: false };
    await settled("halves", halves, {}, undefined);
    for (const model of options.models.split(",")) {
      for (const isFrozen of [false, true]) {
        const how = { ...second.shipped(root, model), isFrozen };
        await settled(
          `halves of ${model} as it ships${isFrozen ? ", normalization frozen" : ""}`,
          halves,
          how,
          undefined,
        );
      }
    }
    await settled(
      "halves that are 1 % too large",
      halves,
      { fault: ["vec4h(clamp(value", "vec4h(1.01 * clamp(value"] },
      "",
    );
    await settled("halves of numbers over 65,504", halves, { scale: 1e5 }, "");
    await settled("halves of weights below the smallest", halves, { scale: 1e-7 }, "");
  }
}

const parts = options.parts.split(",");
if (parts.includes("steps")) for (const model of options.models.split(",")) await steps(model);
if (parts.includes("products")) await products();
if (parts.includes("drawn")) await drawn();
if (parts.includes("choices")) await choices();
end();
console.log(JSON.stringify({ info, figures, faults }));
process.exit(faults.length > 0 ? 1 : 0);
