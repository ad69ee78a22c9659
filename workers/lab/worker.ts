import * as Comlink from "comlink";
import * as v from "valibot";
import { putNorms } from "../../src/model/batch-norm";
import type { Evaluation } from "../../src/model/evaluation";
import { held } from "../../src/federation/strategies/contract";
import { STRATEGIES, type AnyStrategy } from "../../src/federation/strategies/registry";
import { clientContextOf } from "../../src/federation/strategies/live";
import type { ClientResult, ClientTask, EvaluationJob, LabData, LabWorkerApi } from "../../src/simulation/pool";
import { MODELS, summarize, type ModelName, type ModelSpec, type ModelSummary } from "../../src/model/model";
import type { Backend } from "../tf/backend";
import { letMessagesIn } from "../life";
import { Network } from "../tf/network";
import { DIVERGED, type Examples } from "../trainer/api";
import { askTeacher, batchOf, evaluate, localSgd } from "../trainer/local-sgd";
import { afterShared, begin, besideOf, ownTrainingOf, startOf, trainOwn, type Strategic } from "../trainer/strategic";

/** A small network's batch takes less than a turn of the event loop: messages are let in this often, not after each. */
const BREATHE_MS = 50;
let breathed = 0;
const breathe = async (): Promise<void> => {
  if (performance.now() - breathed < BREATHE_MS) return;
  breathed = performance.now();
  await letMessagesIn();
};

/** One worker of the lab, in a browser or in Node: the clients that it simulates, one after the other. */
export class LabWorker implements LabWorkerApi {
  #network: Network | undefined;
  #data: Record<"train" | "test", Examples> | undefined;
  #triggered: Examples | undefined;
  #rehearsal: Uint8Array | undefined;

  /** The run's, where it has one with a state. */
  protected strategy: AnyStrategy | undefined;

  /**
   * @param startBackend gets tfjs ready on a backend
   * @param strategyNamed finds a strategy: of the built-in ones, or in Node from a file
   */
  constructor(
    readonly startBackend: (backend: Backend) => Promise<unknown>,
    readonly strategyNamed: (name: string) => Promise<AnyStrategy | undefined> = (name) =>
      Promise.resolve(STRATEGIES.get(name)),
  ) {}

  async start(
    model: ModelName | ModelSpec,
    data: LabData,
    backend: Backend,
    strategy: string | null = null,
  ): Promise<void> {
    await this.startBackend(backend);
    const named = strategy === null ? undefined : await this.strategyNamed(strategy);
    this.strategy = named && held(named);
    this.#network?.dispose();
    this.#network = new Network(typeof model === "string" ? MODELS[model] : model);
    this.#data = data as Record<"train" | "test", Examples>;
    this.#triggered = data.triggered as Examples | undefined;
    this.#rehearsal = data.rehearsal;
  }

  async train(task: ClientTask): Promise<ClientResult> {
    const { weights, train, heldOut, seed, norms } = task;
    const { network, data, model } = this.#started();
    const isLocal = task.plan.batchNorm === "local";
    const base = isLocal && norms ? weights.slice() : weights;
    if (isLocal && norms) putNorms(model, base, norms);
    const strategic = await this.#strategicOf(task, base, model);
    const plan = strategic ? { ...task.plan, epochs: strategic.context.epochs } : task.plan;
    const from = startOf(base, strategic);
    // A layer that is a client's own is held to what it was, and not to the one that nobody trains.
    begin(network, from, from);
    const [own, kept] = [batchOf(data.train, [...train]), batchOf(data.train, [...heldOut])];
    const initialLoss = plan.reportInitialLoss ? (await evaluate(network, own)).loss : null;
    const teacher = await askTeacher(network, own, plan, this.#rehearsal);
    const job = { train: own, teacher, heldOut: kept, plan, seed };
    const { sums } = await localSgd(network, { ...job, ...(await besideOf(network, own, strategic)) }, breathe);
    const shared = afterShared(model, { trained: await network.getWeights(), base, isLocal }, strategic, plan);
    const { state, sent } = shared;
    const ownTraining = ownTrainingOf(strategic);
    // Of a live round's client its own model says nothing of the shared one.
    const sharedHeldOut = task.strategy?.name === undefined ? undefined : await evaluate(network, kept);
    if (ownTraining) {
      const trained = await trainOwn(network, ownTraining, base, job, breathe);
      if (trained) state[ownTraining.name] = trained;
      else if (task.strategy?.name === undefined) {
        // A run is about such models: it does not go on as if they had been trained.
        const message = "A client's own model diverged. A lower learning rate is needed.";
        throw Object.assign(new Error(message), { name: DIVERGED });
      }
    }
    return Comlink.transfer(
      {
        delta: shared.delta,
        loss: sums.loss / sums.examples,
        accuracy: sums.hits / sums.examples,
        initialLoss,
        norms: shared.norms,
        heldOut: sharedHeldOut ?? (await evaluate(network, kept)),
        ...(strategic && { strategy: { state, sent } }),
      },
      [shared.delta.buffer],
    );
  }

  /** What a strategy is told of a training: of the run's, or of that which a live round has named. */
  async #strategicOf(
    { train, plan, strategy: told }: ClientTask,
    global: Float32Array,
    model: ModelSummary,
  ): Promise<Strategic | undefined> {
    if (!told) return undefined;
    const strategy = told.name === undefined ? this.strategy : await this.strategyNamed(told.name);
    if (!strategy) return undefined;
    const options = (strategy.options ? v.parse(strategy.options, told.options) : told.options) as never;
    const run = { strategy, context: { options, model, clients: told.clients } };
    const { broadcast, state } = told;
    return {
      strategy,
      context: clientContextOf(run, { global, broadcast, state }, { plan, examples: train.length }),
    };
  }

  evaluate({ weights, of, examples }: EvaluationJob): Promise<Evaluation> {
    const { network, data } = this.#started();
    network.setWeights(weights);
    const source = of === "triggered" ? this.#triggered : data[of];
    if (!source) throw new Error("This run has no examples with a patch.");
    return evaluate(network, batchOf(source, [...examples]));
  }

  #started() {
    if (!this.#network || !this.#data) throw new Error("The lab's worker has not been started with a model and data.");
    return { network: this.#network, data: this.#data, model: summarize(this.#network.spec) };
  }
}
