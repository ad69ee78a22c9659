import { LabConfigError } from "./config-error";

/**
 * Methods that are an average or a server optimizer, by the names that their papers give them: what naming one as a run's strategy sets in
 * its place, so that all can be compared by one key.
 */
export const NAMED_RULES = {
  fedprox: { proximal: 0.01 },
  qfedavg: { aggregation: "q-fair" },
  fednova: { aggregation: "fednova" },
  median: { aggregation: "median" },
  "trimmed-mean": { aggregation: "trimmed-mean" },
  krum: { aggregation: "krum" },
  "multi-krum": { aggregation: "multi-krum" },
  bulyan: { aggregation: "bulyan" },
  rfa: { aggregation: "geometric-median" },
  fedavgm: { serverOptimizer: "momentum" },
  fedmom: { serverOptimizer: "nesterov" },
  fedadagrad: { serverOptimizer: "adagrad" },
  fedadam: { serverOptimizer: "adam" },
  fedyogi: { serverOptimizer: "yogi" },
  fedexp: { serverOptimizer: "fedexp", averageLast: true },
} as const;

/** What stands for none of them. */
const PLAIN: Record<string, unknown> = { aggregation: "mean", serverOptimizer: "sgd", averageLast: false, proximal: 0 };

/**
 * A configuration, still to be checked, with what its strategy's name stands for.
 * @throws LabConfigError where it says something else beside the name
 */
export function withNamedRule(value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("strategy" in value)) return value;
  const { strategy, ...rest } = value as Record<string, unknown>;
  if (typeof strategy !== "string" || !Object.hasOwn(NAMED_RULES, strategy)) return value;
  const rule: Record<string, unknown> = { ...NAMED_RULES[strategy as keyof typeof NAMED_RULES] };
  // FedProx is its term, however strong.
  if (rule["proximal"] !== undefined) rule["proximal"] = rest["proximal"] || rule["proximal"];
  for (const [key, wanted] of Object.entries(rule)) {
    const said = rest[key] ?? PLAIN[key];
    if (said !== PLAIN[key] && said !== wanted) {
      throw new LabConfigError(`strategy: ${strategy} is ${key} ${String(wanted)}: choose no other ${key} beside it.`);
    }
  }
  if (Object.keys(rest["strategyOptions"] ?? {}).length > 0) {
    throw new LabConfigError(
      `strategyOptions: ${strategy} has none of its own; its numbers are keys of the run, as serverLearningRate.`,
    );
  }
  return { ...rest, ...rule, strategy: null };
}
