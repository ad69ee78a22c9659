import { joinEvaluations, type Evaluation } from "../model/evaluation";
import { clientSeed, planOf, type Shares } from "./cohort";
import type { LabPool } from "./pool";
import type { LabColumn, LabProgress, LabRun, LabState } from "./simulation";

export const brief = ({ examples, loss, accuracy }: Evaluation): LabColumn["test"] => ({ examples, loss, accuracy });

/** The comparison that a configuration asks for, once the rounds are over. */
export async function compare(
  { config, pool, signal, start }: LabRun,
  state: LabState,
  shares: Shares,
  evaluate: (weights: Float32Array) => Promise<Evaluation>,
  report: (doing: LabProgress["doing"], done: number, of: number) => void,
): Promise<void> {
  if (!config.central && config.personalEpochs === 0) return;
  const { weights } = state;
  const add = async (name: LabColumn["name"], column: Float32Array): Promise<void> => {
    const [test, own] = [await evaluate(column), await ownEvaluation(pool, column, shares)];
    state.columns.push({ name, test: brief(test), own });
  };
  await add("federated", weights);
  if (config.central) {
    report("central", 0, 1);
    const train = Uint32Array.from(shares.train.flatMap((own) => [...own]));
    // As many epochs over everybody's examples as the federation had: C of the clients in each round.
    const epochs = Math.max(1, Math.round(config.epochs * config.rounds * (config.schedule ? 1 : config.fraction)));
    const plan = { ...planOf(config, config.learningRate), epochs, patience: 0 };
    const { delta } = await pool.train({
      weights: start,
      train,
      heldOut: new Uint32Array(),
      plan,
      norms: null,
      seed: clientSeed(config.seed, 0, 0),
    });
    await add(
      "central",
      start.map((w, i) => w + (delta[i] ?? 0)),
    );
  }
  if (config.personalEpochs === 0) return;
  const head = { layers: "head", epochs: config.personalEpochs, patience: 0, proximal: 0 } as const;
  const plan = { ...planOf(config, config.learningRate), ...head };
  for (const [name, from] of [
    ["personal", weights],
    ["alone", start],
  ] as const) {
    let done = 0;
    const heldOut = await Promise.all(
      shares.train.map(async (train, client) => {
        signal?.throwIfAborted();
        const own = shares.heldOut[client] ?? new Uint32Array();
        const task = { weights: from, train, heldOut: own, plan, norms: null };
        const result = await pool.train({ ...task, seed: clientSeed(config.seed, 0, client + 1) });
        done += 1;
        report("personal", done, shares.train.length);
        return result.heldOut;
      }),
    );
    state.columns.push({ name, test: null, own: brief(joinEvaluations(heldOut)) });
  }
}

/** What a checkpoint does on everything that the clients held out. */
export async function ownEvaluation(
  pool: LabPool,
  weights: Float32Array,
  { heldOut }: Shares,
): Promise<LabColumn["own"]> {
  const examples = Uint32Array.from(heldOut.flatMap((own) => [...own]));
  return examples.length === 0 ? null : brief(await pool.evaluate({ weights, of: "train", examples }));
}
