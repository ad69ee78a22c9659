/**
 * `npm run bench:gpu [-- --steps 40] [--batches 8,32,128] [--models seed,compact]`: training steps on WebGPU on a machine that has a GPU
 * and no screen, in our kernels, with the tiles that were chosen for each product and whether they are in half precision (f16) or share
 * what they read in subgroups (quads), and in tfjs's, each kernel of ours by itself, and PyTorch on CUDA, where it is there. Node has no WebGPU of
 * its own: Dawn, which is also Chromium's, comes with `npm install --no-save webgpu`. Takes about four minutes. Its last line is one JSON
 * object.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";
import { root } from "../tools/setup.mjs";
import { optionsOf } from "../tools/options.mjs";

const values = optionsOf(import.meta.url, {
  steps: { type: "count", default: "40" },
  batches: { type: "string", default: "8,32,128" },
  models: { type: "string", default: "seed,compact" },
});
const batches = values.batches.split(",").map(Number);
const models = values.models.split(",");
/** Steps that tfjs takes: enough for a median. */
const TFJS_STEPS = Math.min(8, values.steps);
const round = (value) => Number(value.toFixed(1));
/** Without the first, which compiles the shaders. */
const median = ([, ...times]) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)];

/** PyTorch's steps of the same networks and batches, in float32. */
function pytorch() {
  const script = `
import json, sys, time; sys.path.insert(0, "tools/pretrain")
import torch, torch.nn.functional as F
from models import build
torch.backends.cudnn.benchmark = True; torch.backends.cudnn.allow_tf32 = False
for name in ${JSON.stringify(models)}:
    for batch in (${batches.join()},):
        m = build(name).cuda().to(memory_format=torch.channels_last); o = torch.optim.SGD(m.parameters(), 0.002)
        x = torch.rand(batch, 1, 48, 48, device="cuda"); y = torch.arange(batch, device="cuda") % 7; times = []
        for i in range(60):
            t = time.time(); o.zero_grad(); l = F.cross_entropy(m(x), y); l.backward(); o.step(); l.item(); times.append(time.time() - t)
        ms = sorted(times[5:])[27] * 1000
        print(json.dumps({"model": name, "batch": batch, "stepMs": round(ms, 1), "imagesPerSecond": round(batch * 1000 / ms, 1)}))`;
  const { status, stdout } = spawnSync("python3", ["-c", script], { encoding: "utf8", cwd: root });
  return status === 0
    ? stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
    : null;
}

let dawn;
try {
  dawn = await import("webgpu");
} catch {
  console.error("Node has no WebGPU: npm install --no-save webgpu");
  process.exit(1);
}
Object.assign(globalThis, dawn.globals);
const gpu = dawn.create([]);
const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
if (!adapter) {
  console.error("Dawn finds no GPU: is there a Vulkan driver (libvulkan1 and the card's own)?");
  process.exit(1);
}
// tfjs looks for these before it offers WebGPU.
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node", hardwareConcurrency: 1 } });
globalThis.WorkerGlobalScope = Object;
globalThis.require = createRequire(import.meta.url);

// In one file: Node does not find what tfjs's modules import without an extension.
const outDir = mkdtempSync(join(tmpdir(), "best-actor-gpu-"));
process.once("exit", () => rmSync(outDir, { recursive: true, force: true }));
await build({
  ...{ configFile: false, publicDir: false, logLevel: "error", ssr: { noExternal: true } },
  build: {
    ssr: join(root, "tools/harness/steps.ts"),
    outDir,
    rolldownOptions: { output: { entryFileNames: "steps.mjs" } },
  },
});
const { steps, profile } = await import(pathToFileURL(join(outDir, "steps.mjs")).href);
const rows = [];
for (const model of models) {
  for (const batch of batches) {
    for (const [kernels, count] of [
      ["own", values.steps],
      ["tfjs", TFJS_STEPS],
    ]) {
      const { stepMs, predictMs, loss, tiles } = await steps(model, batch, count, kernels);
      const ms = median(stepMs);
      rows.push({
        model,
        batch,
        kernels,
        stepMs: round(ms),
        imagesPerSecond: round((batch * 1000) / ms),
        predictMs: round(median(predictMs)),
        firstStepMs: round(stepMs[0]),
        loss,
        tiles,
      });
      console.log(JSON.stringify(rows.at(-1)));
    }
  }
}
const byKernel = (await profile(models[0], batches.includes(32) ? 32 : batches[0])).map((row) => ({
  ...{ kernel: row.kernel, ms: Number(row.ms.toFixed(3)) },
  ...{ gigaflops: round(row.gigaflops), gigabytesPerSecond: round(row.gigabytesPerSecond) },
}));
for (const row of byKernel) console.log(JSON.stringify(row));
console.log(JSON.stringify({ gpu: adapter.info.device, webgpu: rows, byKernel, pytorch: pytorch() }));
process.exit(0);
