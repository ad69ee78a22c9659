import { decodeCheckpoint, encodeCheckpoint } from "../../src/model/checkpoint";
import { sha256Hex } from "../../src/base/digest";
import { initializeWeights } from "../../src/model/initialize";
import { MODELS, summarize } from "../../src/model/model";
import { normOf } from "../../src/federation/privacy/clip";
import { TASKS } from "../../src/federation/tasks/registry";
import { checkpointKey } from "./env";
import type { TaskContext } from "./round-driver";

/** Seed of the initialization: the year of FER2013. */
const INITIAL_SEED = 2013;

/** Publishes version 0, once: the checkpoint that was deployed with the app, else a seeded random initialization. */
export async function publishFirst(context: TaskContext): Promise<void> {
  const { store, env, task } = context;
  const spec = MODELS[TASKS[task].model];
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
  const path = others ? others[task] : TASKS[task].firstCheckpoint;
  if (path === undefined) return undefined;
  const response = await env.ASSETS.fetch(new URL(path, "https://assets"));
  if (!response.ok) throw new Error(`${path} is not among the deployed files.`);
  return new Uint8Array(await response.arrayBuffer());
}
