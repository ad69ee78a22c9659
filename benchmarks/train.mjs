/**
 * `npm run bench:train`: training steps of the seed CNN in a browser tab, and in the same run those of `compact`, of PyTorch
 * where it is there, and of tfjs's own cpu backend. WebGPU is measured where the machine has a GPU, or with --webgpu in
 * software. `peakMB` is the most that the tab's process has had in memory, with Chromium's own program in it; `ownMB` without that. Its
 * last line is one JSON object.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { openPage } from "../tools/harness/open.mjs";

const BATCH = 32;

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const round = (value, digits = 1) => Number(value.toFixed(digits));

/** The same network and batch in PyTorch on the processor, if Debian's python3-torch is installed; images/s. */
function pytorch() {
  const script = `
import sys, time; sys.path.insert(0, "tools/pretrain")
import torch, torch.nn.functional as F
from models import build
m = build("seed").to(memory_format=torch.channels_last); o = torch.optim.SGD(m.parameters(), 0.002)
x = torch.rand(${BATCH}, 1, 48, 48).contiguous(memory_format=torch.channels_last); y = torch.arange(${BATCH}) % 7
times = []
for i in range(6):
    t = time.time(); o.zero_grad(); F.cross_entropy(m(x), y).backward(); o.step(); times.append(time.time() - t)
print(${BATCH} / sorted(times[1:])[2])`;
  for (const python of ["/usr/bin/python3", "python3"]) {
    const { status, stdout } = spawnSync(python, ["-c", script], {
      encoding: "utf8",
      env: { ...process.env, OMP_NUM_THREADS: String(availableParallelism()) },
    });
    if (status === 0) return { imagesPerSecond: round(Number(stdout)) };
  }
  return null;
}

/** Where there is no GPU, WebGPU runs in software: one step of a small batch, for its losses only. */
async function measure(model, backend, args, faces, steps) {
  const { page, peakMB, ownMB, close } = await openPage(args);
  try {
    const probe = await page.evaluate(
      ([model, backend, faces, steps]) => window.harness.train(model, backend, faces, steps),
      [model, backend, faces, steps],
    );
    const ms = median(probe.stepMs.length > 1 ? probe.stepMs.slice(1) : probe.stepMs);
    const other = probe.stepMs.reduce((a, b) => a + b, 0);
    console.log(model, backend, JSON.stringify({ ...probe, other: round(probe.totalMs - other) }));
    return {
      batch: faces,
      imagesPerSecond: round((faces * 1000) / ms),
      inferenceMs: round(probe.inferenceMs),
      startMs: round(probe.startMs, 0),
      peakMB: peakMB(),
      ownMB: ownMB(),
      loss: probe.loss,
      lossAfter: probe.lossAfter,
    };
  } catch (error) {
    console.log(`${backend}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  } finally {
    await close();
  }
}

/** The table of docs/benchmarks.md: milliseconds by kernel on WASM. */
async function profile() {
  const { page, close } = await openPage();
  const { step, predict } = await page.evaluate((faces) => window.harness.worker().profile(faces, 4), BATCH);
  await close();
  const names = [...new Set([...Object.keys(step), ...Object.keys(predict)])];
  console.log(`| kernel | step of ${BATCH} faces, ms | one face classified, ms |\n| --- | ---: | ---: |`);
  for (const name of names.sort((a, b) => (step[b] ?? 0) - (step[a] ?? 0))) {
    console.log(`| ${name} | ${(step[name] ?? 0).toFixed(1)} | ${(predict[name] ?? 0).toFixed(2)} |`);
  }
}

/** One step of a small batch in plain JavaScript: it takes minutes otherwise. */
async function tfjsCpu() {
  const { page, close } = await openPage();
  const ms = await page.evaluate((faces) => window.harness.worker().cpuStep(faces), 2);
  await close();
  return { batch: 2, imagesPerSecond: round(2000 / ms, 2) };
}

/** On a real GPU the batches that matter; in software, when asked for, one small one. */
async function webgpu() {
  const { page, close } = await openPage(["--enable-unsafe-webgpu", "--enable-features=Vulkan"]);
  const real = await page.evaluate(() => window.harness.hasRealGpu());
  await close();
  if (real) {
    const args = ["--enable-unsafe-webgpu", "--enable-features=Vulkan"];
    return {
      ...(await measure("seed", "webgpu", args, BATCH, 7)),
      batch128: await measure("seed", "webgpu", args, 128, 5),
    };
  }
  return process.argv.includes("--webgpu") ? measure("seed", "webgpu", ["--enable-unsafe-webgpu"], 2, 1) : null;
}

await profile();
const wasm = await measure("seed", "wasm", [], BATCH, 7);
const compact = await measure("compact", "wasm", [], BATCH, 12);
console.log(JSON.stringify({ wasm, compact, webgpu: await webgpu(), pytorch: pytorch(), tfjsCpu: await tfjsCpu() }));
