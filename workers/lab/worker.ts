import * as Comlink from "comlink";
import * as v from "valibot";
import { putNorms, takeNorms } from "../../src/model/batch-norm";
import type { Evaluation } from "../../src/model/evaluation";
import { delta } from "../../src/federation/fedavg";
import { STRATEGIES, type AnyStrategy } from "../../src/federation/strategies/registry";
import type { ClientContext } from "../../src/federation/strategies/strategy";
import { localSteps } from "../../src/federation/aggregation/fednova";
import type { ClientResult, ClientTask, EvaluationJob, LabData, LabWorkerApi } from "../../src/simulation/pool";
import { MODELS, summarize, type ModelName, type ModelSpec, type ModelSummary } from "../../src/model/model";
import type { Backend } from "../tf/backend";
import { letMessagesIn } from "../life";
import { Network } from "../tf/network";
import type { Examples } from "../trainer/api";
import { askModels, askTeacher, batchOf, evaluate, localSgd } from "../trainer/local-sgd";

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
    this.strategy = strategy === null ? undefined : await this.strategyNamed(strategy);
    this.#network?.dispose();
    this.#network = new Network(typeof model === "string" ? MODELS[model] : model);
    this.#data = data as Record<"train" | "test", Examples>;
    this.#triggered = data.triggered as Examples | undefined;
    this.#rehearsal = data.rehearsal;
  }

  async train(task: ClientTask): Promise<ClientResult> {
    const { weights, train, heldOut, seed, norms } = task;
    const { network, data, model } = this.#started();
    const { strategy } = this;
    const context = strategy && this.#contextOf(strategy, task, model);
    const plan = context ? { ...task.plan, epochs: context.epochs } : task.plan;
    const isLocal = plan.batchNorm === "local";
    const base = isLocal && norms ? weights.slice() : weights;
    if (isLocal && norms) putNorms(model, base, norms);
    const begin = (from: Float32Array, anchor: Float32Array): void => {
      network.setWeights(from);
      network.setAnchor(anchor);
      network.setOptimizer({ steps: 0, first: null, second: null });
    };
    // A layer that is a client's own is held to what it was, and not to the one that nobody trains.
    const from = context ? (strategy.client.beforeTraining?.(context) ?? base) : base;
    begin(from, from);
    const [own, kept] = [batchOf(data.train, [...train]), batchOf(data.train, [...heldOut])];
    const initialLoss = plan.reportInitialLoss ? (await evaluate(network, own)).loss : null;
    const teacher = await askTeacher(network, own, plan, this.#rehearsal);
    const job = { train: own, teacher, heldOut: kept, plan, seed };
    const hook = context && strategy.client.gradientHook?.(context);
    const against = context && strategy.client.contrast?.(context);
    const contrast = against && (await askModels(network, own, against));
    const { sums } = await localSgd(network, { ...job, hook, contrast }, breathe);
    const trained = await network.getWeights();
    const after = context ? strategy.client.afterTraining?.(context, trained) : undefined;
    const result = after?.delta ?? delta(trained, base);
    const ownNorms = isLocal ? takeNorms(model, trained) : null;
    if (ownNorms) putNorms(model, result, new Float32Array(ownNorms.length));
    const state = { ...context?.state, ...after?.state };
    const personal = strategy?.client.personal;
    if (context && personal) {
      begin(personal.start(context), base);
      await localSgd(network, { ...job, hook: personal.gradientHook(context) }, breathe);
      state[personal.name] = await network.getWeights();
    }
    return Comlink.transfer(
      {
        delta: result,
        loss: sums.loss / sums.examples,
        accuracy: sums.hits / sums.examples,
        initialLoss,
        norms: ownNorms,
        heldOut: await evaluate(network, kept),
        ...(context && { strategy: { state, sent: after?.sent ?? {} } }),
      },
      [result.buffer],
    );
  }

  /** What a strategy is told of a training. */
  #contextOf(strategy: AnyStrategy, task: ClientTask, model: ModelSummary): ClientContext<never> | undefined {
    const { weights, train, plan, strategy: told } = task;
    if (!told) return undefined;
    const options = (strategy.options ? v.parse(strategy.options, told.options) : told.options) as never;
    const known = { options, model, clients: told.clients };
    const epochs = strategy.client.epochs?.(known, plan.epochs) ?? plan.epochs;
    return {
      ...known,
      global: weights,
      broadcast: told.broadcast,
      state: told.state ?? strategy.client.init?.(known) ?? {},
      learningRate: plan.learningRate,
      epochs,
      steps: localSteps(train.length, { ...plan, epochs }),
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
