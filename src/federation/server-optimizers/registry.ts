import { adagrad, adam, yogi } from "./adaptive";
import { fedexp } from "./fedexp";
import { momentum, nesterov } from "./momentum";
import type { OptimizerRule, StepOptions } from "./optimizer";
import { sgd } from "./sgd";

/** Every server optimizer, by the name that travels. */
export const SERVER_OPTIMIZERS = { sgd, momentum, nesterov, adagrad, adam, yogi, fedexp } satisfies Record<
  string,
  OptimizerRule
>;
export type ServerOptimizerName = keyof typeof SERVER_OPTIMIZERS;
export const SERVER_OPTIMIZER_NAMES = Object.keys(SERVER_OPTIMIZERS) as [ServerOptimizerName, ...ServerOptimizerName[]];

/** An optimizer and what it is run with. */
export interface ServerOptimizer extends StepOptions {
  kind: ServerOptimizerName;
}

export const optimizerRule = (name: ServerOptimizerName): OptimizerRule => SERVER_OPTIMIZERS[name];
