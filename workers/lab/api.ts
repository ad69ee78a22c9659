import type { LabConfig } from "../../src/simulation/config";
import type { LabProgress } from "../../src/simulation/simulation";
import type { RunRecord } from "../../src/lab/store";

export type LabUpdate = { kind: "progress"; progress: LabProgress } | { kind: "round"; run: RunRecord };

/** Names of the errors that the page can do something about. */
export const NO_DATA = "NoDataError";

export interface LabApi {
  /**
   * Runs a stored run to its end, from where it stands; every round is stored before the next begins. To pause, stop the
   * worker: the round under way begins anew afterwards, and gives the same.
   */
  run(id: string, onUpdate: (update: LabUpdate) => void): Promise<void>;
  /** Who would have how many of each label: clients x classes. */
  preview(config: LabConfig): Promise<number[][]>;
}
