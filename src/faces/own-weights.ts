import type { TaskName } from "../federation/tasks/registry";
import type { OwnWeights } from "../../workers/trainer/api";
import { clientStateOf } from "./client-states";
import { getSetting } from "./settings";

/** What of a task's model is this device's own. @throws StorageError */
export const ownWeightsOf = async (task: TaskName): Promise<OwnWeights> => ({
  localNorms: (await getSetting("localNorms"))?.[task],
  kept: await clientStateOf(task),
});
