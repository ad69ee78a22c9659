import * as Comlink from "comlink";
import { hasRealGpu } from "../../workers/tf/adapter";
import type { Backend } from "../../workers/tf/backend";
import { LOSS_TOLERANCE } from "../../workers/tf/webgpu/agreement";
import type { Probe } from "../../workers/trainer/api";
import type { CheckpointInfo } from "../federation/protocol";
import { networkOf } from "../federation/tasks/network";
import type { TaskName } from "../federation/tasks/registry";
import { getSetting, setSetting } from "../faces/settings";
import { getCheckpoint } from "../client/checkpoints";
import { createTrainer } from "./trainer";

/** The backends that can train. The first is the reference, and there on every machine. */
export const BACKENDS = ["wasm", "webgpu"] as const satisfies Backend[];

/** Whether a backend's probe gave the reference's losses. */
export const agrees = (probe: Probe, reference: Probe): boolean =>
  Math.abs(probe.loss - reference.loss) < LOSS_TOLERANCE &&
  Math.abs(probe.lossAfter - reference.lossAfter) < LOSS_TOLERANCE;

/** For the first steps on a GPU, which compile its kernels. */
const GPU_PROBE_MS = 120_000;

/** A task's checkpoint to probe with. */
interface Checkpoint {
  task: TaskName;
  checkpoint: CheckpointInfo;
}

/** Takes real training steps on generated examples, in a worker of their own. @throws what the backend throws, and on abort */
export async function probeBackend(
  backend: Backend,
  { task, checkpoint }: Checkpoint,
  { examples, steps }: { examples: number; steps: number },
  signal: AbortSignal,
): Promise<Probe> {
  const { file } = await getCheckpoint(task, checkpoint, undefined, signal);
  const trainer = createTrainer();
  try {
    const network = networkOf(task);
    return await trainer.call(
      (api) => api.probe(network, Comlink.transfer(file, [file.buffer]), examples, steps, backend),
      signal,
    );
  } finally {
    trainer.stop();
  }
}

/** `?backend=webgpu` or `?backend=wasm` in the address overrides every choice. */
function forcedBackend(): Backend | undefined {
  const wanted = new URLSearchParams(location.search).get("backend");
  return BACKENDS.find((backend) => backend === wanted);
}

/**
 * The backends to train on, in the order of trying: what the address or the player says, else the faster one of those that
 * compute right, probed once and remembered. Where there is no real GPU that is WASM, without a probe.
 */
export async function chooseBackends(checkpoint: Checkpoint, signal: AbortSignal): Promise<Backend[]> {
  const wanted = forcedBackend() ?? (await getSetting("backend"));
  const first = wanted ?? ((await hasRealGpu()) ? await fasterBackend(checkpoint, signal) : "wasm");
  return first === "wasm" ? ["wasm"] : [first, "wasm"];
}

async function fasterBackend(checkpoint: Checkpoint, signal: AbortSignal): Promise<Backend> {
  const known = await getSetting("probedBackend").catch(() => undefined);
  if (known?.agent === navigator.userAgent) return known.backend;
  const size = { examples: 16, steps: 3 };
  const reference = await probeBackend("wasm", checkpoint, size, signal);
  const fastest = (probe: Probe): number => Math.min(...probe.stepMs);
  let best: Backend = "wasm";
  try {
    // A GPU that computes in earnest has answered long before: one that never does is none.
    const patience = AbortSignal.any([signal, AbortSignal.timeout(GPU_PROBE_MS)]);
    const probe = await probeBackend("webgpu", checkpoint, size, patience);
    if (agrees(probe, reference) && fastest(probe) < fastest(reference)) best = "webgpu";
  } catch (error) {
    signal.throwIfAborted();
    console.warn("WebGPU cannot train here:", error);
  }
  await setSetting("probedBackend", { agent: navigator.userAgent, backend: best });
  return best;
}
