import type { Evaluation } from "../model/evaluation";
import { summarize, type ModelSpec } from "../model/model";
import { seededRandom, shuffle } from "../base/random";
import { expectedCohort, shareOut, type Shares } from "./cohort";
import type { LabConfig } from "./config";
import { LabConfigError } from "./config-error";
import { shared } from "./data";
import { networkFor } from "./network";
import type { LabData, LabPool } from "./pool";

/**
 * What dishonest clients do to a federation, to see what the strategies bear:
 *
 * - `label-flip`: they train on their examples of {@link SOURCE} as if they were {@link TARGET} (Tolpegin et al. 2020,
 *   arXiv 2007.08432).
 * - `sign-flip`: they send the opposite of what they have learned (Li et al. 2019, arXiv 1811.03761).
 * - `backdoor`: they stick a bright patch on half of their examples and call these {@link TARGET} (BadNets, Gu et al. 2017,
 *   arXiv 1708.06733).
 * - `replacement`: the same, and their update is so many times larger that the average of the cohort becomes theirs (Bagdasaryan et
 *   al. 2020, arXiv 1807.00459, equation 3).
 */
export const ATTACKS = ["none", "label-flip", "sign-flip", "backdoor", "replacement"] as const;

/** The labels that are taken for each other: 5 for 3 among digits, surprise for happy among faces. */
export const SOURCE = 5;
export const TARGET = 3;

const hasPatch = ({ attack }: LabConfig): boolean => attack === "backdoor" || attack === "replacement";

/** The clients that attack, in every round in which they are chosen. */
export function attackersOf({ attack, attackers, clients, seed }: LabConfig): Set<number> {
  if (attack === "none") return new Set();
  const all = Array.from({ length: clients }, (_, i) => i);
  return new Set(shuffle(all, seededRandom(seed ^ 0xbad)).slice(0, Math.round(attackers * clients)));
}

/** A square of an eighth of the smaller side, as bright as can be, in the lower right corner of one picture. */
function patch(pixels: Uint8Array, [height, width, channels]: ModelSpec["inputShape"]): void {
  const side = Math.round(Math.min(height, width) / 8);
  for (let row = height - side - 1; row < height - 1; row++) {
    pixels.fill(255, (row * width + width - side - 1) * channels, (row * width + width - 1) * channels);
  }
}

/**
 * The examples of a run with those of its attackers as they use them, and the test's with the patch where there is one.
 * @throws LabConfigError where the data have too few labels to take one for another
 */
export function poison(data: LabData, config: LabConfig): LabData {
  const { attack } = config;
  if (attack === "none" || attack === "sign-flip") return data;
  const network = networkFor(config, data.kind);
  const { inputs, classes } = summarize(network);
  if (classes <= SOURCE) {
    throw new LabConfigError(`This attack takes label ${SOURCE} for ${TARGET}, and there are ${classes} from 0 on.`);
  }
  const labels = shared(data.train.labels.slice());
  const pixels = hasPatch(config) ? shared(data.train.pixels.slice()) : data.train.pixels;
  const { train } = shareOut(config, data.train);
  for (const attacker of attackersOf(config)) {
    (train[attacker] ?? new Uint32Array()).forEach((example, i) => {
      if (hasPatch(config)) {
        if (i % 2 === 1) return;
        patch(pixels.subarray(example * inputs, (example + 1) * inputs), network.inputShape);
        labels[example] = TARGET;
      } else if (labels[example] === SOURCE) labels[example] = TARGET;
    });
  }
  if (!hasPatch(config)) return { ...data, train: { ...data.train, pixels, labels } };
  const others = [...data.test.labels.keys()].filter((i) => data.test.labels[i] !== TARGET);
  const triggered = new Uint8Array(others.length * inputs);
  others.forEach((example, i) => {
    triggered.set(data.test.pixels.subarray(example * inputs, (example + 1) * inputs), i * inputs);
    patch(triggered.subarray(i * inputs, (i + 1) * inputs), network.inputShape);
  });
  return {
    ...data,
    train: { ...data.train, pixels, labels },
    triggered: { pixels: shared(triggered), labels: shared(new Uint8Array(others.length).fill(TARGET)) },
  };
}

/** What an attacker makes of its update. It knows the learning rates, the size of the cohort and what a usual client holds. */
export function poisonUpdate(delta: Float32Array, config: LabConfig): Float32Array {
  if (config.attack === "sign-flip") return delta.map((value) => -value);
  if (config.attack !== "replacement") return delta;
  const factor = expectedCohort(config) / config.serverLearningRate;
  return delta.map((value) => value * factor);
}

/** How many examples each member of a cohort says it has: n_k is its own word, and attackers say more. */
export function claimsOf(config: LabConfig, { train }: Shares, cohort: readonly number[]): number[] {
  const attackers = attackersOf(config);
  return cohort.map((client) => {
    const own = train[client]?.length ?? 0;
    return attackers.has(client) ? Math.round(own * config.claim) : own;
  });
}

/**
 * How often an attack gets what it wants: test examples of the source that are taken for the target, or examples with the patch that
 * are. Null for an attack that wants no more than harm.
 */
export async function attackSuccess(
  config: LabConfig,
  { data, pool, weights }: { data: LabData; pool: LabPool; weights: Float32Array },
  { confusion }: Evaluation,
): Promise<number | null> {
  if (config.attack === "label-flip") {
    const row = confusion[SOURCE] ?? [];
    return (
      (row[TARGET] ?? 0) /
      Math.max(
        1,
        row.reduce((a, b) => a + b, 0),
      )
    );
  }
  if (!data.triggered) return null;
  const examples = Uint32Array.from({ length: data.triggered.labels.length }, (_, i) => i);
  return (await pool.evaluate({ weights, of: "triggered", examples })).accuracy;
}
