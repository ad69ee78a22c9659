import { decodeCheckpoint, encodeCheckpoint } from "../../src/model/checkpoint";
import { sha256Hex } from "../../src/base/digest";
import { initializeWeights } from "../../src/model/initialize";
import { summarize } from "../../src/model/model";
import { checkSound } from "../../src/model/sound";
import { normOf } from "../../src/federation/privacy/clip";
import { networkOf } from "../../src/federation/tasks/network";
import { taskNamed, type TaskName } from "../../src/federation/tasks/registry";
import { checkpointKey } from "./env";
import type { TaskContext } from "./round-driver";
import type { StoredCheckpoint } from "./store/checkpoints";

/** Seed of the initialization: the year of FER2013. */
const INITIAL_SEED = 2013;

/** A checkpoint that is to be a task's first version, and its file. */
export interface FirstCheckpoint extends Pick<StoredCheckpoint, "sha256" | "bytes" | "norm"> {
  file: Uint8Array<ArrayBuffer>;
}

/** Publishes version 0, once: the checkpoint that was deployed with the app, else a seeded random initialization. */
export async function publishFirst(context: TaskContext): Promise<void> {
  const { store, env, task } = context;
  const spec = networkOf(task);
  const model = summarize(spec);
  if (store.checkpoints.nextVersion() > 0) {
    // An older edge has not noted how large the weights are that updates are held against.
    const current = store.checkpoints.current();
    if (current?.norm !== null) return;
    const stored = await env.STORE.get(checkpointKey(current.sha256));
    if (!stored) return;
    const weights = decodeCheckpoint(new Uint8Array(await stored.arrayBuffer()), model);
    store.checkpoints.setNorm(current.version, normOf(weights));
    return;
  }
  const deployed = await deployedCheckpoint(context);
  // Throws here, not on a thousand devices, when it is damaged.
  const weights = deployed ? decodeCheckpoint(deployed, model) : initializeWeights(spec, INITIAL_SEED);
  const file = deployed ?? encodeCheckpoint(model, weights, { task, version: "0" }, "float32");
  const sha256 = await sha256Hex(file);
  await env.STORE.put(checkpointKey(sha256), file, { sha256 });
  const norm = normOf(weights);
  const checkpoint = { version: 0, sha256, bytes: file.length, trained: deployed !== undefined, norm };
  store.checkpoints.add(checkpoint, "published", null, Date.now());
}

async function deployedCheckpoint({ env, task }: TaskContext): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { INITIAL_CHECKPOINTS: others } = env;
  const other = others && Object.hasOwn(others, task) ? others[task] : undefined;
  const path = others ? other : taskNamed(task).firstCheckpoint;
  if (path === undefined || path === null) return undefined;
  const response = await env.ASSETS.fetch(new URL(path, "https://assets"));
  if (!response.ok) throw new Error(`${path} is not among the deployed files.`);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * Reads a file that is to be the first version of an added task.
 * @param file a checkpoint of the task's network, which is read tensor by tensor
 * @throws FormatError where it is none, or says what no weights can be
 */
export async function readFirst(task: TaskName, file: Uint8Array<ArrayBuffer>): Promise<FirstCheckpoint> {
  const model = summarize(networkOf(task));
  const weights = decodeCheckpoint(file, model);
  checkSound(model, weights);
  // Written anew, so that nothing of its header is anybody's, and no two tasks have one file.
  const own = encodeCheckpoint(model, weights, { task, version: "0" }, "float32");
  return { sha256: await sha256Hex(own), bytes: own.length, norm: normOf(weights), file: own };
}
