import * as Comlink from "comlink";
import * as v from "valibot";
import { isWorse, type Evaluation } from "../model/evaluation";
import { gzip } from "../base/gzip";
import { summarize, type ModelSpec } from "../model/model";
import { t } from "../ui/i18n/language.svelte";
import { reasonOf } from "../ui/i18n/reason";
import { SecureError } from "../federation/secagg/client";
import { canTrain, playsAfter, type KeptState, type Plays } from "../federation/strategies/live";
import { follow, type SecureMember } from "../federation/secagg/member";
import {
  assignmentSchema,
  type Assignment,
  type CheckInAnswer,
  type CheckpointInfo,
  type EvaluationTask,
} from "../federation/protocol";
import { networkOf } from "../federation/tasks/network";
import { findTask, taskNamed, type TaskName } from "../federation/tasks/registry";
import { createSigningKey } from "../federation/signing";
import { clipTrained, encodeTrained, maskClipped } from "../federation/trained-update";
import { clientStateOf } from "../faces/client-states";
import { CONSENTS } from "../faces/consent.svelte";
import { fits, usableOf } from "../faces/labels";
import type { Contribution, Example, Identity, Participation } from "../faces/kept";
import {
  beginParticipation,
  endParticipation,
  forgetParticipation,
  isForgotten,
  keepParticipation,
} from "../faces/participation";
import { getSetting, setSetting } from "../faces/settings";
import { ownWeightsOf } from "../faces/own-weights";
import { storeOf } from "../faces/store";
import type { Backend } from "../../workers/tf/backend";
import {
  DIVERGED,
  PAUSED,
  type Examples,
  type Progress,
  type TrainingJob,
  type TrainingResult,
} from "../../workers/trainer/api";
import { chooseBackends } from "./backends";
import { conditions, type Rest } from "./conditions.svelte";
import { getCheckpoint } from "../client/checkpoints";
import { getDreams } from "./dreams";
import { clientOf } from "../client/edge";
import { EdgeAwayError, edgeNow, EdgeRefusalError } from "../client/http";
import { invitationTo } from "../client/invitation";
import { model } from "../client/model.svelte";
import { HEAD_BYTES, sent } from "../client/sent.svelte";
import { chosenTask } from "../client/task.svelte";
import { createTrainer, watchTraining } from "./trainer";

/** Fewer usable faces or drawings than this say too little to be worth a round. */
export const MINIMUM_EXAMPLES = 5;

/** Refusals after which a device asks again later. */
type Uninvited = "not-invited" | "invitation-used-up";

export type Status =
  | { kind: "off" }
  | { kind: "starting" }
  | { kind: "other-tab" }
  | { kind: "needs-consent" }
  | { kind: "needs-examples"; have: number }
  | { kind: "waiting"; reason: Extract<CheckInAnswer, { decision: "wait" }>["reason"] | Uninvited }
  | { kind: "resting"; reason: Rest; round: number | undefined }
  | { kind: "probing" }
  | { kind: "downloading"; share: number }
  | { kind: "evaluating"; round: number }
  | { kind: "training"; round: number; progress: Progress }
  | { kind: "agreeing"; round: number }
  | { kind: "uploading"; round: number }
  | { kind: "unmasking"; round: number }
  | { kind: "away"; message: string }
  | { kind: "failed"; message: string };

/** What became of an update: accepted, or the reason why it was not. */
export type Sent = Contribution & { task: TaskName; accepted: true | string };

const AWAY_SECONDS = 10;
/** A lock that does not come within this is held by another tab. */
const OTHER_TAB_MS = 500;
const UNINVITED_SECONDS = 20;
/** Between a part in a round that was forgotten and the next question for one. */
const FORGOTTEN_SECONDS = 1;

/**
 * Takes part in rounds: checks in, trains, uploads, and begins again, until told to stop. Every step is kept in
 * IndexedDB, so that a reload goes on where it was. One tab at a time.
 */
class Participant {
  status = $state.raw<Status>({ kind: "off" });
  sent = $state.raw<Sent[]>([]);
  /** What this device plays with once its part in the round is over, where the round has a strategy with a memory. */
  willKeep = $state.raw<Plays>();
  /** What went wrong and was got round, in words. */
  notice = $state<string>();
  #stop: AbortController | undefined;
  /** The round that is for invited devices. */
  #demanding: number | null | undefined;

  readonly #trainer = createTrainer();

  get takingPart(): boolean {
    return this.status.kind !== "off" && this.status.kind !== "failed";
  }

  /** Goes on with a participation that a reload interrupted. */
  async resume(): Promise<void> {
    const wanted = await getSetting("takingPart").catch(() => false);
    if (wanted) this.join();
  }

  join(): void {
    if (this.#stop) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.status = { kind: "starting" };
    // Where no other tab has it, the lock comes at once.
    const waits = setTimeout(() => this.#show({ kind: "other-tab" }, stop.signal), OTHER_TAB_MS);
    const takePart = async (): Promise<void> => {
      clearTimeout(waits);
      // A lock that is granted while the player leaves calls all the same.
      stop.signal.throwIfAborted();
      this.#show({ kind: "starting" }, stop.signal);
      await setSetting("takingPart", true);
      await this.#takePart(stop.signal);
      this.#end(stop);
    };
    // Without Web Locks nobody tells of another tab; the edge counts one update of each client all the same.
    const options = { signal: stop.signal };
    const done =
      "locks" in navigator ? navigator.locks.request("best-actor-participant", options, takePart) : takePart();
    void done.catch((error: unknown) => {
      if (stop.signal.aborted) return;
      this.#stop = undefined;
      this.status = { kind: "failed", message: reasonOf(error) };
    });
  }

  /** Stops at once, in the middle of a batch if need be, and forgets the round under way. */
  async leave(): Promise<void> {
    this.#stop?.abort();
    this.#off();
    await forgetParticipation();
  }

  /** Ends here what another tab has ended: nothing is kept of it by then. */
  #end(stop: AbortController): void {
    if (this.#stop === stop) this.#off();
  }

  #off(): void {
    this.#stop = undefined;
    this.willKeep = undefined;
    this.#trainer.stop();
    this.status = { kind: "off" };
    conditions.paused = false;
  }

  /** What is still on its way when the player leaves must not bring the round back to the page. */
  #show(status: Status, signal: AbortSignal): void {
    if (!signal.aborted) this.status = status;
  }

  /** @returns where the player has left in another tab, or taken consent back there */
  async #takePart(signal: AbortSignal): Promise<void> {
    while (await getSetting("takingPart")) {
      signal.throwIfAborted();
      try {
        const kept = await this.#resumable();
        if (conditions.rest) {
          this.#show({ kind: "resting", reason: conditions.rest, round: kept?.assignment.round }, signal);
          await sleep(1, signal);
          continue;
        }
        const participation = kept ?? (await this.#checkIn(signal));
        if (participation) await this.#round(participation, signal);
      } catch (error) {
        if (error instanceof Error && error.name === PAUSED) continue;
        if (isForgotten(error)) {
          // Its faces were deleted meanwhile, or another tab has left: begin again, or end.
          if (await getSetting("takingPart")) await sleep(FORGOTTEN_SECONDS, signal);
          continue;
        }
        if (!(error instanceof EdgeAwayError)) throw error;
        this.#show({ kind: "away", message: reasonOf(error) }, signal);
        await sleep(AWAY_SECONDS, signal);
      }
    }
  }

  /** The round that a reload interrupted, if it is still worth going on with. */
  async #resumable(): Promise<Participation | undefined> {
    const kept = await getSetting("participation");
    if (!kept) return undefined;
    // Of a task that nobody knows here any more.
    if (!findTask(kept.assignment.task)) {
      await endParticipation(kept);
      return undefined;
    }
    // Consent that was withdrawn takes back what was not sent yet.
    if ((await consentFor(kept.assignment.task).read()) && (kept.update || kept.assignment.deadline > edgeNow())) {
      // An earlier version of the app may have begun it, which knew less of what a plan says.
      return { ...kept, assignment: v.parse(assignmentSchema, kept.assignment) };
    }
    await endParticipation(kept);
    return undefined;
  }

  async #checkIn(signal: AbortSignal): Promise<Participation | undefined> {
    const { name } = chosenTask;
    await model.update();
    // What is kept counts, and not what this tab knew of it: another one may have taken it back.
    if (!(await consentFor(name).read())) {
      this.#show({ kind: "needs-consent" }, signal);
      await sleep(1, signal);
      return undefined;
    }
    const examples = usableOf(await storeOf(name).all()).filter((one) => fits(one, taskNamed(name)));
    const train = examples.filter(({ split }) => split === "train");
    if (examples.length < MINIMUM_EXAMPLES || train.length === 0) {
      this.#show({ kind: "needs-examples", have: examples.length }, signal);
      await sleep(1, signal);
      return undefined;
    }
    const heldOut = examples.filter(({ split }) => split === "held-out");
    const before = await getSetting("identity");
    const { round, key } = await identityFor(name, before, model.task?.round ?? null);
    // A token would link this device's rounds: only one that asks for it is told.
    const invitation = round === this.#demanding ? invitationTo(name) : undefined;
    const facts = { examples: train.length, heldOut: heldOut.length, round, ...(invitation && { invitation }) };
    let answer: CheckInAnswer;
    try {
      answer = await clientOf(signal).checkIn(name, facts, key);
    } catch (error) {
      const code = error instanceof EdgeRefusalError ? error.code : undefined;
      if (code !== "not-invited" && code !== "invitation-used-up") throw error;
      if (code === "not-invited" && invitation === undefined && invitationTo(name) !== undefined) {
        this.#demanding = round;
        return undefined;
      }
      // The next round may be for everybody.
      this.#show({ kind: "waiting", reason: code }, signal);
      await sleep(UNINVITED_SECONDS, signal);
      return undefined;
    }
    if (answer.decision === "evaluate") {
      await this.#evaluate(answer.evaluation, heldOut, key, signal);
      return undefined;
    }
    if (answer.decision === "wait" && answer.reason === "other-round") {
      await newIdentity(name, answer.round);
      return undefined;
    }
    if (answer.decision === "wait") {
      this.#show({ kind: "waiting", reason: answer.reason }, signal);
      await sleep(answer.retryAfterSeconds, signal);
      return undefined;
    }
    const ids = (chosen: Example[]): number[] => chosen.map(({ id }) => id).sort((a, b) => a - b);
    const participation: Participation = {
      assignment: answer.assignment,
      key,
      seed: crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
      train: ids(train),
      heldOut: ids(heldOut),
      bytesDown: 0,
    };
    signal.throwIfAborted();
    await beginParticipation(participation);
    return participation;
  }

  /** Takes part in a round; a step of secure aggregation that this device must not take ends its part. */
  async #round(participation: Participation, signal: AbortSignal): Promise<void> {
    const { assignment } = participation;
    const { strategy } = assignment.plan;
    this.willKeep = strategy === "none" ? undefined : playsAfter(strategy);
    try {
      if (!participation.givenUp) {
        await this.#contribute(participation, signal);
        return;
      }
    } catch (error) {
      if (!(error instanceof SecureError)) throw error;
      this.notice = t("train.leftRound", { reason: error.message });
      participation.givenUp = true;
      await keepParticipation(participation);
    }
    this.#show({ kind: "waiting", reason: "not-selected" }, signal);
    const step = await clientOf(signal).secureStep(assignment, undefined, participation.key);
    if (step.step === "over") await endParticipation(participation);
    else await sleep(3, signal);
  }

  /** Trains and uploads; every result is kept before the next step begins. */
  async #contribute(participation: Participation, signal: AbortSignal): Promise<void> {
    const { assignment } = participation;
    const { secure } = assignment;
    const member = secure && this.#member(participation, signal);
    if (!participation.update) {
      if (member) {
        this.#show({ kind: "agreeing", round: assignment.round }, signal);
        const { step } = await follow(member, "mask");
        if (step === "over") {
          await endParticipation(participation);
          return;
        }
      }
      const result = await this.#train(participation, signal);
      if (!assignment.plan.sendWorse && isWorse(result.heldOut, result.heldOutAfter)) {
        if (!secure?.deviation) {
          await this.#keepBack(participation, result, signal);
          return;
        }
        // Everybody sees who leaves a secure round: what its faces say of a training is told with noise, or not at all.
        result.delta.fill(0);
        result.kept = (await clientStateOf(assignment.task))?.vectors ?? null;
      }
      if (secure && member) {
        // Asked again: the training may have outlived the round.
        const step = await follow(member, "mask");
        if (step.step === "over") {
          await endParticipation(participation);
          return;
        }
        const clipped = clipTrained(result, secure.clip);
        participation.update = await maskClipped(member, step, assignment, clipped, participation.seed);
      } else participation.update = await this.#encode(participation, result);
      participation.localNorms = result.localNorms;
      participation.kept = keptOf(assignment, result);
      participation.contribution = contributionOf(assignment, result, participation.update.length);
      delete participation.snapshot;
      await keepParticipation(participation);
    }
    this.#show({ kind: "uploading", round: assignment.round }, signal);
    let accepted: true | string = true;
    try {
      await clientOf(signal).sendUpdate(assignment, participation.update, participation.key);
    } catch (error) {
      if (!(error instanceof EdgeRefusalError)) throw error;
      accepted = reasonOf(error);
    }
    if (accepted === true) {
      const { task, round, id, plan } = assignment;
      await sent.keepUpdate({
        task,
        round,
        id,
        key: participation.key,
        at: Date.now(),
        bytes: participation.update.length,
        codec: plan.codec,
        isMasked: member !== undefined,
        head: participation.update.slice(0, HEAD_BYTES),
      });
      await storeOf(task).noteRound(participation.train, task, round);
    }
    if (accepted === true && member) {
      this.#show({ kind: "unmasking", round: assignment.round }, signal);
      await follow(member, "over");
    }
    await endParticipation(participation, accepted === true);
    if (participation.contribution) {
      this.sent = [{ ...participation.contribution, task: assignment.task, accepted }, ...this.sent];
    }
  }

  /** A training that has made this device's own faces harder to recognize is not sent: the round goes on without it. */
  async #keepBack(participation: Participation, result: TrainingResult, signal: AbortSignal): Promise<void> {
    const { assignment, key } = participation;
    const reason = t("train.keptBack", { context: taskNamed(assignment.task).examples });
    // Its peers go on without it, as without anybody who leaves.
    if (assignment.secure) throw new SecureError(reason);
    await clientOf()
      .withdrawUpdate(assignment, key)
      .catch((error: unknown) => {
        signal.throwIfAborted();
        // The round has ended meanwhile, or does so at its deadline.
        if (!(error instanceof EdgeRefusalError || error instanceof EdgeAwayError)) throw error;
      });
    await endParticipation(participation);
    this.sent = [{ ...contributionOf(assignment, result, 0), task: assignment.task, accepted: reason }, ...this.sent];
  }

  /** How this device takes the steps of secure aggregation. */
  #member(participation: Participation, signal: AbortSignal): SecureMember {
    const { assignment } = participation;
    return {
      round: `${assignment.task}/${assignment.round}`,
      state: participation.secure,
      save: async (state) => {
        participation.secure = state;
        await keepParticipation(participation);
      },
      send: (message) => clientOf(signal).secureStep(assignment, message, participation.key),
      pause: (seconds) => sleep(seconds, signal),
    };
  }

  /** The gzipped update of a training, in the plan's codec. What the codec loses stays in the participation. */
  async #encode(participation: Participation, result: TrainingResult): Promise<Uint8Array<ArrayBuffer>> {
    const { assignment, seed, bytesDown } = participation;
    const left = (await getSetting("residuals"))?.[assignment.task];
    const { file, residual } = encodeTrained(assignment, result, { left, seed, bytesDown });
    if (residual) participation.residual = residual;
    return gzip(file);
  }

  /** Tells the edge how a round's candidate and its base do on this device's held-out faces. */
  async #evaluate(
    evaluation: EvaluationTask,
    heldOut: Example[],
    key: CryptoKeyPair,
    signal: AbortSignal,
  ): Promise<void> {
    const { task, round, base, candidate, byClass, personalLayers } = evaluation;
    const [backend] = await this.#backends({ task, checkpoint: base }, signal);
    this.#show({ kind: "evaluating", round }, signal);
    const own = { ...(await ownWeightsOf(task)), personalLayers };
    const network = networkOf(task);
    const judge = async (checkpoint: CheckpointInfo): Promise<Evaluation> => {
      const { file } = await getCheckpoint(task, checkpoint, undefined, signal);
      return this.#trainer.call((api) => api.evaluate(network, file, pack(heldOut, network), backend, own), signal);
    };
    const before = await judge(base);
    const after = await judge(candidate);
    const answer = {
      examples: heldOut.length,
      loss: after.loss,
      accuracy: after.accuracy,
      baseLoss: before.loss,
      baseAccuracy: before.accuracy,
      ...(byClass && { confusion: after.confusion }),
    };
    await clientOf(signal).sendEvaluation(evaluation, answer, key);
  }

  async #train(participation: Participation, signal: AbortSignal): Promise<TrainingResult> {
    const { assignment, seed } = participation;
    const { file, bytesDown } = await getCheckpoint(
      assignment.task,
      assignment.checkpoint,
      (share) => {
        this.#show({ kind: "downloading", share }, signal);
      },
      signal,
    );
    participation.bytesDown += bytesDown;
    const memory = await this.#memory(participation, signal);
    const kept = new Map((await storeOf(assignment.task).all()).map((one) => [one.id, one]));
    const chosen = (ids: number[]): Example[] => ids.flatMap((id) => kept.get(id) ?? []);
    const train = chosen(participation.train);
    // One that was deleted meanwhile must not leave its traces in the update: begin again without it.
    const complete = train.length === participation.train.length;
    const backends = await this.#backends(assignment, signal);
    const own = await ownWeightsOf(assignment.task);
    const rehearsal = assignment.plan.rehearse > 0 ? await getDreams(assignment.task, signal) : undefined;
    const network = networkOf(assignment.task);
    const job = (backend: Backend): TrainingJob => ({
      model: network,
      checkpoint: file,
      train: pack(train, network),
      heldOut: pack(chosen(participation.heldOut), network),
      plan: assignment.plan,
      remembered: assignment.remembered,
      memory,
      rehearsal,
      seed,
      backend,
      ...own,
      resume: complete ? participation.snapshot : undefined,
    });
    for (let [backend] = backends; ;) {
      const { snapshot } = participation;
      try {
        return await this.#run(job(backend), participation, signal);
      } catch (error) {
        const name = error instanceof Error ? error.name : "";
        if (signal.aborted || name === PAUSED || name === DIVERGED || isForgotten(error)) throw error;
        // A lost GPU, no memory, a crash: the next backend goes on from the last snapshot, or the last backend for as long
        // as it gets further.
        const next = backends[backends.indexOf(backend) + 1];
        if (!next && participation.snapshot === snapshot) throw error;
        backend = next ?? backend;
        const why = reasonOf(error);
        this.notice = t("train.wentOn", { backend: t(`train.backends.${backend}`), reason: why });
        this.#trainer.stop();
      }
    }
  }

  /** What the server of the round's strategy remembers, where its clients are told it: a file as a checkpoint's. */
  async #memory(participation: Participation, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { task, checkpoint, remembered } = participation.assignment;
    if (!remembered?.vector) return undefined;
    const onProgress = (share: number): void => this.#show({ kind: "downloading", share }, signal);
    const told = { ...remembered.vector, version: checkpoint.version };
    const { file, bytesDown } = await getCheckpoint(task, told, onProgress, signal);
    participation.bytesDown += bytesDown;
    return file;
  }

  async #backends(
    assignment: Pick<Assignment, "task" | "checkpoint"> & Partial<Pick<Assignment, "plan">>,
    signal: AbortSignal,
  ): Promise<[Backend, ...Backend[]]> {
    this.#show({ kind: "probing" }, signal);
    const chosen = await chooseBackends(assignment, signal);
    const { plan } = assignment;
    const [first, ...others] = plan ? chosen.filter((backend) => canTrain(plan, backend)) : chosen;
    if (first && first !== chosen[0]) this.notice = t("train.own.onProcessor");
    // WebAssembly is always among them, and what every strategy can be trained on.
    return [first ?? "wasm", ...others];
  }

  /** Runs a training, pauses it when the conditions change, and keeps its snapshots. */
  async #run(job: TrainingJob, participation: Participation, signal: AbortSignal): Promise<TrainingResult> {
    const { round, task } = participation.assignment;
    const consent = consentFor(task);
    const screen = conditions.preferences.keepAwake ? await keepAwake() : undefined;
    const standstill = watchTraining(this.#trainer, job.backend);
    const watch = setInterval(() => {
      // Withdrawn consent pauses too; what was trained is then dropped.
      if (conditions.rest || !consent.given) void this.#trainer.call((api) => api.pause()).catch(() => undefined);
    }, 250);
    try {
      return await this.#trainer.call(
        (api) =>
          api.train(
            job,
            Comlink.proxy((progress) => {
              standstill.alive();
              this.#show({ kind: "training", round, progress }, signal);
            }),
            Comlink.proxy(async (taken) => {
              participation.snapshot = taken;
              await keepParticipation(participation);
            }),
          ),
        signal,
      );
    } finally {
      clearInterval(watch);
      standstill.end();
      await screen?.release();
    }
  }
}

/** What a strategy keeps of a training until its next round; null where the round has none. */
function keptOf({ plan }: Assignment, { kept }: TrainingResult): KeptState | null {
  const { strategy, personalLayers, headEpochs, lambda, mu, temperature, alignment, population } = plan;
  if (strategy === "none" || !kept) return null;
  const options = { personalLayers, headEpochs, lambda, mu, temperature, alignment, population };
  return { choice: { strategy, ...options }, vectors: kept };
}

/** What the page says of a training and of the update that was made of it. @param bytes of that update */
const contributionOf = ({ round }: Assignment, result: TrainingResult, bytes: number): Contribution => ({
  round,
  examples: result.examples,
  bytes,
  loss: result.train.loss,
  accuracy: result.train.accuracy,
  trainingMs: result.trainingMs,
  backend: result.backend,
  heldOut: result.heldOut,
  heldOutAfter: result.heldOutAfter,
});

/**
 * The key to check in with: the one that there is, unless a later round is open by now.
 * @param open what the edge has said last, which may be a while ago
 * @throws StorageError
 */
async function identityFor(task: TaskName, before: Identity | undefined, open: number | null): Promise<Identity> {
  if (before?.task !== task) return newIdentity(task, open);
  return open !== null && open > (before.round ?? 0) ? newIdentity(task, open) : before;
}

/** Makes and keeps the key for an open round. @throws StorageError */
async function newIdentity(task: TaskName, round: number | null): Promise<Identity> {
  const identity = { task, round, key: await createSigningKey() };
  await setSetting("identity", identity);
  return identity;
}

/** Keeps the screen on, where the browser can. */
async function keepAwake(): Promise<WakeLockSentinel | undefined> {
  if (!("wakeLock" in navigator)) return undefined;
  // It says no to a hidden tab or a low battery: then the screen may go off.
  return navigator.wakeLock.request("screen").catch(() => undefined);
}

/** Whether the player lets us train on what a task learns from. */
const consentFor = (task: TaskName): (typeof CONSENTS)["face"] => CONSENTS[taskNamed(task).examples];

/** Examples as the trainer takes them for a model. Those that are not as long as its input are left out: none of them stops a round. */
export function pack(all: readonly Pick<Example, "pixels" | "label">[], model: ModelSpec): Examples {
  const { inputs } = summarize(model);
  const examples = all.filter(({ pixels }) => pixels.length === inputs);
  const pixels = new Uint8Array(examples.length * inputs);
  examples.forEach((one, i) => {
    pixels.set(one.pixels, i * inputs);
  });
  return { pixels, labels: Uint8Array.from(examples, ({ label }) => label) };
}

function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, seconds * 1000);
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", abort, { once: true });
  });
}

export const participant = new Participant();
