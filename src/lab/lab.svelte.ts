import * as Comlink from "comlink";
import type { LabConfig } from "../simulation/config";
import type { LabProgress } from "../simulation/simulation";
import { WorkerBridge } from "../client/worker-bridge";
import { reasonOf } from "../ui/i18n/reason";
import type { ImportApi, ImportFile, ImportOutcome, ImportProgress, ImportSaid } from "../../workers/import/api";
import type { LabApi, LabUpdate } from "../../workers/lab/api";
import {
  allDatasets,
  allRuns,
  clearAfterStopped,
  deleteDataset,
  deleteRun,
  putRun,
  readRun,
  type Dataset,
  type RunRecord,
} from "./store";

/** What the lab's page shows: data sets, runs, and what is under way. It goes on while another page is open. */

const conductor = (): WorkerBridge<LabApi> =>
  new WorkerBridge<LabApi>(
    "lab",
    (name) => new Worker(new URL("../../workers/lab/index.ts", import.meta.url), { type: "module", name }),
  );
const bridge = conductor();
/** Answers while a run keeps the other one busy. */
const previewer = conductor();
const importer = new WorkerBridge<ImportApi>(
  "import",
  (name) => new Worker(new URL("../../workers/import/index.ts", import.meta.url), { type: "module", name }),
);

class Lab {
  /** Undefined until they have been read. */
  datasets = $state.raw<Dataset[]>();
  runs = $state.raw<RunRecord[]>();
  /** The run that is being trained. */
  active = $state.raw<{ id: string; progress: LabProgress | null }>();
  importing = $state.raw<ImportProgress>();
  #pause: AbortController | undefined;
  #cancel: AbortController | undefined;

  /** @throws StorageError */
  async load(): Promise<void> {
    [this.datasets, this.runs] = await Promise.all([allDatasets(), allRuns()]);
    // What a cancelled import has left, or a tab that was closed during one. Where that fails, reading has failed before.
    if (!this.importing) void clearAfterStopped().catch(() => undefined);
  }

  /**
   * Imports files as a data set, or asks what has to be known of it first.
   * @throws ImportError (by name), StorageError; the abort's reason after {@link cancelImport}
   */
  async import(files: ImportFile[], said: ImportSaid): Promise<ImportOutcome> {
    const cancel = new AbortController();
    this.#cancel = cancel;
    this.importing = { done: 0, of: files.reduce((sum, { file }) => sum + file.size, 0), samples: 0, wrong: 0 };
    try {
      const told = Comlink.proxy((progress: ImportProgress) => {
        // One that was on its way when the import ended must not bring it back.
        if (this.#cancel === cancel) this.importing = progress;
      });
      return await importer.call((api) => api.run(files, said, told), cancel.signal);
    } finally {
      importer.stop();
      this.#cancel = undefined;
      this.importing = undefined;
      await this.load();
    }
  }

  cancelImport(): void {
    this.#cancel?.abort();
  }

  /** @throws StorageError */
  async deleteDataset(dataset: Dataset): Promise<void> {
    await deleteDataset(dataset);
    await this.load();
  }

  /** Who would have what. @throws PartitionError, NoDataError (by name) */
  preview(config: LabConfig): Promise<number[][]> {
    return previewer.call((api) => api.preview(config));
  }

  /** Stores a new run and begins it. @returns its id @throws StorageError */
  async begin(config: LabConfig): Promise<string> {
    const id = crypto.randomUUID();
    await putRun({
      id,
      config,
      createdAt: Date.now(),
      on: null,
      problem: null,
      rounds: [],
      columns: [],
      evaluation: null,
      ended: null,
    });
    this.runs = await allRuns();
    void this.resume(id);
    return id;
  }

  /** Trains a run from where it stands; the one under way is paused. What goes wrong is written on the run. */
  async resume(id: string): Promise<void> {
    this.pause();
    const pause = new AbortController();
    this.#pause = pause;
    this.active = { id, progress: null };
    try {
      const { run } = await readRun(id);
      if (run?.problem) {
        const again = { ...run, problem: null };
        await putRun(again);
        this.#show(again);
      }
      const told = Comlink.proxy((update: LabUpdate) => {
        if (this.#pause !== pause) return;
        if (update.kind === "progress") this.active = { id, progress: update.progress };
        else this.#show(update.run);
      });
      await bridge.call((api) => api.run(id, told), pause.signal);
      // The last round may still be on its way.
      this.runs = await allRuns();
    } catch (error) {
      if (!pause.signal.aborted) await this.#fail(id, error);
    } finally {
      if (this.#pause === pause) this.pause();
    }
  }

  /** Stops the run under way; its last whole round is where it goes on. */
  pause(): void {
    this.#pause?.abort();
    this.#pause = undefined;
    this.active = undefined;
  }

  /** @throws StorageError */
  async remove(id: string): Promise<void> {
    if (this.active?.id === id) this.pause();
    await deleteRun(id);
    this.runs = await allRuns();
  }

  async #fail(id: string, error: unknown): Promise<void> {
    const { run } = await readRun(id);
    if (!run) return;
    await putRun({ ...run, problem: reasonOf(error) });
    this.runs = await allRuns();
  }

  #show(run: RunRecord): void {
    this.runs = this.runs?.map((other) => (other.id === run.id ? run : other));
  }
}

export const lab = new Lab();
