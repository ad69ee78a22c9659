import * as Comlink from "comlink";
import { putNorms, takeNorms } from "../../src/model/batch-norm";
import type { Evaluation } from "../../src/model/evaluation";
import { delta } from "../../src/federation/fedavg";
import type { ClientResult, ClientTask, EvaluationJob, LabData, LabWorkerApi } from "../../src/simulation/pool";
import { MODELS, summarize, type ModelName } from "../../src/model/model";
import type { Backend } from "../tf/backend";
import { letMessagesIn } from "../life";
import { Network } from "../tf/network";
import type { Examples } from "../trainer/api";
import { askTeacher, batchOf, evaluate, localSgd } from "../trainer/local-sgd";

/** One worker of the lab, in a browser or in Node: the clients that it simulates, one after the other. */
export class LabWorker implements LabWorkerApi {
  #network: Network | undefined;
  #data: Record<"train" | "test", Examples> | undefined;
  #triggered: Examples | undefined;
  #rehearsal: Uint8Array | undefined;

  /** @param startBackend gets tfjs ready on a backend */
  constructor(readonly startBackend: (backend: Backend) => Promise<unknown>) {}

  async start(model: ModelName, data: LabData, backend: Backend): Promise<void> {
    await this.startBackend(backend);
    this.#network?.dispose();
    this.#network = new Network(MODELS[model]);
    this.#data = data as Record<"train" | "test", Examples>;
    this.#triggered = data.triggered as Examples | undefined;
    this.#rehearsal = data.rehearsal;
  }

  async train({ weights, train, heldOut, plan, seed, norms }: ClientTask): Promise<ClientResult> {
    const { network, data, model } = this.#started();
    const isLocal = plan.batchNorm === "local";
    const base = isLocal && norms ? weights.slice() : weights;
    if (isLocal && norms) putNorms(model, base, norms);
    network.setWeights(base);
    network.setAnchor(base);
    network.setOptimizer({ steps: 0, first: null, second: null });
    const [own, kept] = [batchOf(data.train, [...train]), batchOf(data.train, [...heldOut])];
    const initialLoss = plan.reportInitialLoss ? (await evaluate(network, own)).loss : null;
    const teacher = await askTeacher(network, own, plan, this.#rehearsal);
    const { sums } = await localSgd(network, { train: own, teacher, heldOut: kept, plan, seed }, letMessagesIn);
    const trained = await network.getWeights();
    const result = delta(trained, base);
    const ownNorms = isLocal ? takeNorms(model, trained) : null;
    if (ownNorms) putNorms(model, result, new Float32Array(ownNorms.length));
    return Comlink.transfer(
      {
        delta: result,
        loss: sums.loss / sums.examples,
        accuracy: sums.hits / sums.examples,
        initialLoss,
        norms: ownNorms,
        heldOut: await evaluate(network, kept),
      },
      [result.buffer],
    );
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
