import type { ModelSummary } from "../../model/model";
import type { OptimizerRule } from "../server-optimizers/optimizer";
import type { RoundConfig } from "../protocol";
import { liveRunOf, type LiveChoice } from "./live";

/** What of a round says how a server steps that remembers something, and of how many updates. */
export interface ServerPlan {
  choice: LiveChoice & Pick<RoundConfig, "learningRate">;
  /** |P| */
  updates: number;
}

/**
 * A strategy's server as a rule by which a model is stepped, block by block. Of its moments the first is what it remembers, the second, of one
 * that sees updates, the sum of their deltas per step.
 * @returns undefined where the round's server remembers nothing
 */
export function serverRuleOf(
  { choice, updates }: ServerPlan,
  model: Pick<ModelSummary, "parameters" | "tensors">,
): OptimizerRule | undefined {
  const run = liveRunOf(choice, model);
  const server = run?.strategy.live.server;
  if (!server) return undefined;
  const { context } = run;
  return {
    remembers: true,
    seesUpdates: false,
    step: (weights, mean, { learningRate: serverLearningRate }, { first: memory, second: perStep }) => {
      const { learningRate } = choice;
      server.step(context, { weights, mean, memory, updates, perStep, learningRate, serverLearningRate });
    },
  };
}
