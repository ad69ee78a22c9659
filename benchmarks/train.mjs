/**
 * `npm run bench:train`: training steps of the seed CNN in a browser tab, in turns with those of PyTorch where it is there (Debian's, and
 * that of python3), and in the same run those of `compact` and of tfjs's own cpu backend. `ourShare` is our fastest step's rate as a share
 * of PyTorch's fastest. `kernels` says where a step of the seed CNN and a look at one face spend their time. WebGPU is measured where the
 * machine has a GPU, or with --webgpu in software. `peakMB` is the most that the tab's process has had in memory, with Chromium's own
 * program in it; `ownMB` without that; `idle` the same of a browser in which nothing has been opened. Its last line is one JSON object.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { launch, openPage, watchMemory } from "../tools/harness/open.mjs";

const BATCH = 32;
const STEPS = 7;
const ROUNDS = 3;

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const withoutSteps = ({ stepMs: _, ...rest }) => rest;
const round = (value, digits = 1) => Number(value.toFixed(digits));

/**
 * The same network and batch in each PyTorch that there is on the processor: Debian's python3-torch, and that of the first python3 of
 * the path. Milliseconds of steps by version. OpenBLAS is left to find out what the processor can do.
 */
function pytorch() {
  const script = `
import json, sys, time; sys.path.insert(0, "tools/pretrain")
import torch, torch.nn.functional as F
from models import build
m = build("seed").to(memory_format=torch.channels_last); o = torch.optim.SGD(m.parameters(), 0.002)
x = torch.rand(${BATCH}, 1, 48, 48).contiguous(memory_format=torch.channels_last); y = torch.arange(${BATCH}) % 7
times = []
for i in range(${STEPS}):
    t = time.time(); o.zero_grad(); F.cross_entropy(m(x), y).backward(); o.step(); times.append((time.time() - t) * 1000)
print(json.dumps([torch.__version__, times[1:]]))`;
  const { OPENBLAS_CORETYPE: _, ...env } = process.env;
  const versions = new Map();
  for (const python of ["/usr/bin/python3", "python3"]) {
    const { status, stdout } = spawnSync(python, ["-c", script], {
      encoding: "utf8",
      env: { ...env, OMP_NUM_THREADS: String(availableParallelism()) },
    });
    if (status === 0) versions.set(...JSON.parse(stdout));
  }
  return versions;
}

/**
 * The seed CNN here and in PyTorch, in turns. Each is as fast as its fastest step, which others' work on the machine has disturbed
 * least; the rates are those of its median step.
 */
async function besidePytorch() {
  const ours = [];
  const theirs = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure("seed", "wasm", [], BATCH, STEPS));
    for (const [version, times] of pytorch()) theirs.set(version, [...(theirs.get(version) ?? []), ...times]);
  }
  const steps = ours.flatMap(({ stepMs }) => stepMs);
  const most = (key) => Math.max(...ours.map((one) => one[key]));
  const rates = (ms) => ({
    imagesPerSecond: round((BATCH * 1000) / median(ms)),
    fastestImagesPerSecond: round((BATCH * 1000) / Math.min(...ms)),
  });
  return {
    wasm: {
      ...withoutSteps(ours[0]),
      ...rates(steps),
      inferenceMs: Math.min(...ours.map(({ inferenceMs }) => inferenceMs)),
      peakMB: most("peakMB"),
      ownMB: most("ownMB"),
    },
    pytorch: [...theirs].map(([version, ms]) => ({
      version,
      ...rates(ms),
      ourShare: round(Math.min(...ms) / Math.min(...steps), 2),
    })),
  };
}

/** Where there is no GPU, WebGPU runs in software: one step of a small batch, for its losses only. */
async function measure(model, backend, args, faces, steps) {
  const { page, peakMB, ownMB, close } = await openPage(args);
  try {
    const probe = await page.evaluate(
      ([model, backend, faces, steps]) => window.harness.train(model, backend, faces, steps),
      [model, backend, faces, steps],
    );
    const stepMs = probe.stepMs.length > 1 ? probe.stepMs.slice(1) : probe.stepMs;
    const other = probe.stepMs.reduce((a, b) => a + b, 0);
    console.log(model, backend, JSON.stringify({ ...probe, other: round(probe.totalMs - other) }));
    return {
      batch: faces,
      imagesPerSecond: round((faces * 1000) / median(stepMs)),
      stepMs,
      inferenceMs: round(probe.inferenceMs),
      startMs: round(probe.startMs, 0),
      peakMB: peakMB(),
      ownMB: ownMB(),
      loss: probe.loss,
      lossAfter: probe.lossAfter,
    };
  } finally {
    await close();
  }
}

/** What Chromium's processes for pages take before there is one: nothing that is trained can take less. */
async function idle() {
  const browser = await launch();
  await browser.newPage();
  const { peakMB, ownMB } = watchMemory();
  const taken = { peakMB: peakMB(), ownMB: ownMB() };
  await browser.close();
  return taken;
}

/** Milliseconds by kernel on WASM, of a step and of one face. */
async function profile() {
  const { page, close } = await openPage();
  const { step, predict } = await page.evaluate((faces) => window.harness.worker().profile(faces, 4), BATCH);
  await close();
  return [...new Set([...Object.keys(step), ...Object.keys(predict)])]
    .toSorted((a, b) => (step[b] ?? 0) - (step[a] ?? 0))
    .map((kernel) => ({ kernel, stepMs: round(step[kernel] ?? 0), faceMs: round(predict[kernel] ?? 0, 2) }));
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
      ...withoutSteps(await measure("seed", "webgpu", args, BATCH, 7)),
      batch128: withoutSteps(await measure("seed", "webgpu", args, 128, 5)),
    };
  }
  if (!process.argv.includes("--webgpu")) return null;
  return withoutSteps(await measure("seed", "webgpu", ["--enable-unsafe-webgpu"], 2, 1));
}

const kernels = await profile();
const empty = await idle();
const { wasm, pytorch: peers } = await besidePytorch();
const compact = withoutSteps(await measure("compact", "wasm", [], BATCH, 12));
console.log(
  JSON.stringify({
    wasm,
    compact,
    idle: empty,
    webgpu: await webgpu(),
    tfjsCpu: await tfjsCpu(),
    pytorch: peers,
    kernels,
  }),
);
