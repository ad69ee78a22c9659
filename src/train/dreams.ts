import { decodeDreams, DreamsError } from "../model/dreams";
import { summarize } from "../model/model";
import { taskNamed, type TaskName } from "../federation/tasks/registry";
import { networkOf } from "../federation/tasks/network";
import { EdgeAwayError, PATIENCE, request } from "../client/http";

/** By their path. */
const known = new Map<string, Uint8Array<ArrayBuffer>>();

/** The dreamed pictures of a task that come with the app, downloaded once. @throws EdgeAwayError, EdgeRefusalError, DreamsError */
export async function getDreams(task: TaskName, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const { dreams: path } = taskNamed(task);
  if (path === null) throw new DreamsError(`The task ${task} has no dreamed pictures to rehearse.`);
  const here = known.get(path);
  if (here) return here;
  const response = await request(path, { signal }, PATIENCE.transfer);
  const file = await response.arrayBuffer().catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new EdgeAwayError("The download of the dreamed pictures broke off.", { cause });
  });
  const dreams = await decodeDreams(new Uint8Array(file), summarize(networkOf(task)).inputs);
  known.set(path, dreams);
  return dreams;
}
