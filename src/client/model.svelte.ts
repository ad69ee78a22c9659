import type { Task } from "../federation/protocol";
import { networkOf } from "../federation/tasks/network";
import { showsExpressions, taskNamed, type TaskName } from "../federation/tasks/registry";
import type { ExampleKind } from "../federation/tasks/task";
import type { Seen, Sighting, VisionApi } from "../../workers/vision/api";
import type { OwnWeights } from "../../workers/trainer/api";
import { playsAfter, type Plays } from "../federation/strategies/live";
import { clientStateTime } from "../faces/client-states";
import { ownWeightsOf } from "../faces/own-weights";
import { getSetting } from "../faces/settings";
import { getCheckpoint, getLightCheckpoint } from "./checkpoints";
import { getTask } from "./edge";
import { EdgeAwayError } from "./http";
import { lacking } from "./support";
import { chosenTask } from "./task.svelte";
import { t } from "../ui/i18n/language.svelte";
import { reasonOf } from "../ui/i18n/reason";
import { WorkerBridge, WorkerCrashError, WorkerSilentError } from "./worker-bridge";
import * as Comlink from "comlink";

const isGone = (error: unknown): boolean => error instanceof WorkerSilentError || error instanceof WorkerCrashError;

/** One picture takes some hundred milliseconds at most: silence for so long is no slowness. */
const LOOK_SECONDS = 20;

/** By its name, a worker knows whether it has to find faces: workers/vision. */
const startVision = (kind: string): WorkerBridge<VisionApi> =>
  new WorkerBridge<VisionApi>(
    kind,
    (name) => new Worker(new URL("../../workers/vision/index.ts", import.meta.url), { type: "module", name }),
    (api, highest) => api.prepare(highest),
  );

/** Of a task's last state, in localStorage. */
const stateKey = (task: TaskName): string => `best-actor-task/${task}`;

/**
 * The global checkpoint on this device and the worker that sees with it. Without the edge the last checkpoint goes on
 * serving.
 */
class Model {
  #task = $state.raw<Task>();
  /** The checkpoint that the worker has, and when what it has of this device's own was trained. */
  #loaded: string | undefined;
  /** 0..1 while a checkpoint is downloaded. */
  downloading = $state<number>();
  /** The last reason why there is no newer checkpoint, in words. */
  problem = $state<string>();
  #ready = $state(false);
  /** What a strategy has kept on this device is for, and whether it plays; undefined where nothing is kept. */
  own = $state.raw<{ plays: Plays; isUsed: boolean }>();
  /** True while it gets ready, or looks for something newer. */
  updating = $state(false);
  #updating: Promise<void> | undefined;

  /** What it is that the worker sees. */
  #kind = $state<ExampleKind>("face");
  readonly #visions = {
    face: startVision("vision"),
    drawing: startVision("drawings"),
    picture: startVision("pictures"),
  };

  get #vision(): WorkerBridge<VisionApi> {
    return this.#visions[this.#kind];
  }

  /**
   * Whether the worker sees what the chosen task is about. The expressions are the same to any network; each other task has labels of its
   * own.
   */
  get #isOfTask(): boolean {
    const { name } = chosenTask;
    const loaded = this.#task?.task;
    if (loaded === undefined || loaded === name) return loaded === name;
    return [loaded, name].every((one) => showsExpressions(taskNamed(one)));
  }

  /** True once faces can be found and classified, or drawings and pictures be read. */
  get ready(): boolean {
    return this.#ready && this.#isOfTask;
  }

  /** The task whose checkpoint is in use. */
  get task(): Task | undefined {
    return this.#isOfTask ? this.#task : undefined;
  }

  /** Loads the detector and the newest checkpoint; calls while one runs share it. */
  update(): Promise<void> {
    this.updating = true;
    this.#updating ??= this.#update().finally(() => {
      this.#updating = undefined;
      this.updating = false;
    });
    return this.#updating;
  }

  async #update(): Promise<void> {
    for (let name: TaskName | undefined; name !== chosenTask.name;) {
      name = chosenTask.name;
      await this.#updateTo(name);
    }
  }

  async #updateTo(name: TaskName): Promise<void> {
    const lacks = lacking();
    if (lacks.length > 0) {
      this.problem = t("support.lacks", { what: lacks.map((feature) => t(`support.features.${feature}`)).join(", ") });
      return;
    }
    this.problem = undefined;
    const { examples } = taskNamed(name);
    if (examples !== this.#kind) {
      this.#vision.stop();
      this.#forgetWorker();
      this.#task = undefined;
      this.#kind = examples;
    }
    try {
      // The worker comes while the page asks for the checkpoint: far from the server each of them takes its time.
      const started = this.ready ? Promise.resolve() : this.#vision.call((api) => api.start());
      // It is waited for below; meanwhile its end is nobody's surprise.
      started.catch(() => undefined);
      const task = await this.#newestTask(name);
      const trainedAt = await clientStateTime(task.task).catch(() => undefined);
      const network = networkOf(task.task);
      // Before its first round, a task may get another normalization, which its weights need not show.
      const wanted = [task.checkpoint.sha256, trainedAt, JSON.stringify(network.normalization)].join(" ");
      if (wanted !== this.#loaded) {
        const own = await ownWeightsOf(task.task).catch((): OwnWeights => ({}));
        // Who takes part in rounds trains from the exact weights, which are not downloaded beside others.
        const takesPart = await getSetting("takingPart").catch(() => undefined);
        const get = takesPart ? getCheckpoint : getLightCheckpoint;
        const { file } = await get(task.task, task.checkpoint, (share) => {
          this.downloading = share;
        });
        this.downloading = undefined;
        const isUsed = await this.#vision.call((api) =>
          api.setCheckpoint(network, Comlink.transfer(file, [file.buffer]), own),
        );
        this.#loaded = wanted;
        this.own = own.kept && { plays: playsAfter(own.kept.choice.strategy), isUsed };
        localStorage.setItem(stateKey(task.task), JSON.stringify(task));
      }
      await started;
      this.#task = task;
      this.#ready = true;
    } catch (error) {
      if (isGone(error)) this.#forgetWorker();
      const isAway = error instanceof Error && error.name === "EdgeAwayError";
      this.problem = isAway ? t("play.noModel") : reasonOf(error);
    } finally {
      this.downloading = undefined;
    }
  }

  /** The edge's task, or without the edge the one that this device used last. */
  async #newestTask(name: TaskName): Promise<Task> {
    try {
      return await getTask(name);
    } catch (error) {
      const last = localStorage.getItem(stateKey(name));
      if (error instanceof EdgeAwayError && last !== null) return JSON.parse(last) as Task;
      throw error;
    }
  }

  /** Finds and classifies the face in a picture; the bitmap is used up. */
  look(picture: ImageBitmap): Promise<Sighting> {
    // Comlink distributes its promise over the union.
    const sighting = (api: Comlink.Remote<VisionApi>): Promise<Sighting> =>
      api.look(Comlink.transfer(picture, [picture]));
    return this.#ask(sighting);
  }

  /** Reads the middle of a picture, laid out as the chosen task's input; the bitmap is used up. */
  see(picture: ImageBitmap): Promise<Seen> {
    const { input } = taskNamed(chosenTask.name);
    return this.#ask((api) => api.see(Comlink.transfer(picture, [picture]), input));
  }

  /** What a drawing is, laid out as the task's input: the probability of each label; null before there is a checkpoint. */
  read(pixels: Uint8Array<ArrayBuffer>): Promise<number[] | null> {
    return this.#ask((api) => api.read(pixels));
  }

  #ask<T>(question: (api: Comlink.Remote<VisionApi>) => Promise<T>): Promise<T> {
    return this.#vision.call(question, undefined, LOOK_SECONDS).catch((error: unknown) => {
      if (isGone(error)) {
        this.#forgetWorker();
        void this.update();
      }
      throw error;
    });
  }

  /** A worker that has ended holds no model: the next `update` loads it again, into another one. */
  #forgetWorker(): void {
    this.#ready = false;
    this.#loaded = undefined;
  }
}

export const model = new Model();
