import * as Comlink from "comlink";
import { parseLabConfig, type LabConfig } from "../simulation/config";
import { changed, configsOf, gridOf, OF_ONE_RUN, type Axis } from "../simulation/grid";
import type { LabProgress } from "../simulation/simulation";
import { WorkerBridge } from "../client/worker-bridge";
import { reasonOf } from "../ui/i18n/reason";
import type { ImportApi, ImportFile, ImportOutcome, ImportProgress, ImportSaid } from "../../workers/import/api";
import type { LabApi, LabUpdate } from "../../workers/lab/api";
import {
  allDatasets,
  allRuns,
  allSweeps,
  clearAfterStopped,
  deleteDataset,
  deleteRun,
  deleteSweep,
  putRun,
  putSweep,
  readRun,
  trainAlone,
  TrainedElsewhereError,
  type Dataset,
  type RunRecord,
  type SweepRecord,
} from "./store";

/** A run that has yet to begin. */
const fresh = (config: LabConfig, createdAt: number): RunRecord => ({
  id: crypto.randomUUID(),
  config,
  createdAt,
  on: null,
  problem: null,
  rounds: [],
  columns: [],
  evaluation: null,
  ended: null,
});

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
  sweeps = $state.raw<SweepRecord[]>();
  /** The sweep whose runs are trained one after the other. */
  sweeping = $state.raw<string>();
  /** The run that is being trained. */
  active = $state.raw<{ id: string; progress: LabProgress | null }>();
  importing = $state.raw<ImportProgress>();
  /** Why nothing could be begun, in words. */
  trouble = $state<string>();
  /** What this tab trains, until it has ended or stopped; no other does meanwhile. */
  #training: Promise<void> | undefined;
  #pause: AbortController | undefined;
  #cancel: AbortController | undefined;

  /** @throws StorageError */
  async load(): Promise<void> {
    [this.datasets, this.runs, this.sweeps] = await Promise.all([allDatasets(), allRuns(), allSweeps()]);
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

  /** @throws StorageError, TrainedElsewhereError */
  async deleteDataset(dataset: Dataset): Promise<void> {
    await this.#unlessElsewhere(() => deleteDataset(dataset));
    await this.load();
  }

  /** Who would have what. @throws PartitionError, NoDataError (by name) */
  preview(config: LabConfig): Promise<number[][]> {
    return previewer.call((api) => api.preview(config));
  }

  /** Stores a new run and begins it. @returns its id @throws StorageError, LabConfigError of its strategy's options */
  async begin(config: LabConfig): Promise<string> {
    const [checked] = configsOf(config, [{}]);
    const run = fresh(checked?.config ?? config, Date.now());
    await putRun(run);
    this.runs = await allRuns();
    void this.resume(run.id);
    return run.id;
  }

  /** Stores a new sweep with all its runs, and begins it. @returns its id @throws StorageError, LabConfigError of a combination */
  async beginSweep(config: LabConfig, axes: readonly Axis[]): Promise<string> {
    const grid = gridOf(axes);
    const createdAt = Date.now();
    const sweep: SweepRecord = { id: crypto.randomUUID(), config, axes, createdAt };
    const runs = configsOf(config, grid).map(({ changes, config: one }, place) => ({
      ...fresh(one ?? (changed(config, changes) as LabConfig), createdAt),
      sweep: { id: sweep.id, place, changes },
    }));
    await putSweep(sweep, runs);
    [this.runs, this.sweeps] = await Promise.all([allRuns(), allSweeps()]);
    void this.resumeSweep(sweep.id);
    return sweep.id;
  }

  /** The runs of a sweep, in the order of its grid. */
  runsOf(id: string): RunRecord[] {
    return (this.runs ?? [])
      .filter(({ sweep }) => sweep?.id === id)
      .sort((a, b) => (a.sweep?.place ?? 0) - (b.sweep?.place ?? 0));
  }

  /** Trains a run from where it stands; what is under way is paused. What goes wrong is written on the run. */
  resume(id: string): Promise<void> {
    return this.#alone((pause) => this.#train(id, pause));
  }

  /**
   * Trains the runs of a sweep that have not ended, one after the other; what is under way is paused. One that diverges, or that cannot be
   * run, is left behind; it stops at what would befall the others, too.
   */
  resumeSweep(id: string): Promise<void> {
    return this.#alone(async (pause) => {
      this.sweeping = id;
      for (const run of this.runsOf(id).filter(({ ended }) => !ended)) {
        const error = await this.#train(run.id, pause);
        if (pause.signal.aborted || (error !== undefined && !OF_ONE_RUN.has(error))) break;
      }
    });
  }

  /** Trains behind what is under way, which is paused, and unless another tab trains, which is said. */
  async #alone(train: (pause: AbortController) => Promise<unknown>): Promise<void> {
    this.pause();
    const before = this.#training;
    const pause = (this.#pause = new AbortController());
    const work = async (): Promise<void> => {
      await before;
      if (pause.signal.aborted) return;
      await trainAlone(async () => {
        // Another tab may have taken it further.
        this.runs = await allRuns();
        await train(pause);
      });
    };
    this.trouble = undefined;
    this.#training = work().catch((error: unknown) => {
      this.trouble = reasonOf(error);
    });
    await this.#training;
    if (this.#pause === pause) this.pause();
  }

  /** Does it, and tells where another tab trains. */
  async #orTell(action: () => Promise<void>): Promise<void> {
    this.trouble = undefined;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof TrainedElsewhereError)) throw error;
      this.trouble = reasonOf(error);
    }
  }

  /** Does what another tab's training would not bear. @throws TrainedElsewhereError */
  async #unlessElsewhere(action: () => Promise<void>): Promise<void> {
    if (this.#pause) return action();
    await this.#training;
    return trainAlone(action);
  }

  /** @returns the name of the error that has ended it, where one has and nobody has paused it */
  async #train(id: string, pause: AbortController): Promise<string | undefined> {
    this.active = { id, progress: null };
    try {
      const { run } = await readRun(id);
      if (run?.problem) {
        const again = { ...run, problem: null };
        await putRun(again);
        this.#show(again);
      }
      // Of a sweep's combinations some may not go together.
      if (run?.rounds.length === 0) parseLabConfig(run.config);
      const told = Comlink.proxy((update: LabUpdate) => {
        if (this.#pause !== pause || this.active?.id !== id) return;
        if (update.kind === "progress") this.active = { id, progress: update.progress };
        else this.#show(update.run);
      });
      await bridge.call((api) => api.run(id, told), pause.signal);
      // The last round may still be on its way.
      this.runs = await allRuns();
      return undefined;
    } catch (error) {
      if (pause.signal.aborted) return undefined;
      await this.#fail(id, error);
      return error instanceof Error ? error.name : "";
    }
  }

  /** Stops the run under way; its last whole round is where it goes on. */
  pause(): void {
    this.#pause?.abort();
    this.#pause = undefined;
    this.active = undefined;
    this.sweeping = undefined;
  }

  /** Unless another tab trains, which is said. @throws StorageError */
  async remove(id: string): Promise<void> {
    if (this.active?.id === id) this.pause();
    await this.#orTell(() => this.#unlessElsewhere(() => deleteRun(id)));
    this.runs = await allRuns();
  }

  /** A sweep with all its runs, unless another tab trains, which is said. @throws StorageError */
  async removeSweep(id: string): Promise<void> {
    if (this.sweeping === id || this.runsOf(id).some((run) => run.id === this.active?.id)) this.pause();
    await this.#orTell(() => this.#unlessElsewhere(() => deleteSweep(id)));
    [this.runs, this.sweeps] = await Promise.all([allRuns(), allSweeps()]);
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
