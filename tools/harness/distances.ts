import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeHeader } from "../../src/model/safetensors";
import type { Optimizer, OracleResult } from "./oracle";

/** How far what a backend computes is from PyTorch's numbers. */

/** The numbers of tools/oracle.py for a model, by name. @param root of the repository */
export function readOracle(root: string, model: "seed" | "compact"): Map<string, number[]> {
  const file = readFileSync(join(root, `workers/tf/oracle${model === "seed" ? "" : "-compact"}.safetensors`));
  const { tensors, headerBytes } = decodeHeader(file);
  return new Map(
    tensors.map(({ name, start, end }) => [
      name,
      Array.from({ length: (end - start) / 4 }, (_, i) => file.readFloatLE(headerBytes + start + i * 4)),
    ]),
  );
}

/** Something that a backend has computed, how far it is from PyTorch's, and how far it may be. */
export interface Distance {
  name: string;
  error: number;
  allowed: number;
}

/** Norms over the places that the oracle holds. */
export const norm = (values: number[]): number => Math.hypot(...values);
export const difference = (found: number[], expected: number[]): number =>
  norm(expected.map((value, i) => value - (found[i] ?? NaN)));

/** How far first losses and gradients are from PyTorch's (`expected`, the file of tools/oracle.py by name), the latter by their norm. */
export function distances(
  { losses, gradients }: OracleResult,
  expected: ReadonlyMap<string, number[]>,
  optimizer: Optimizer,
): Distance[] {
  // Adam's first steps are all of one size, here a few roundings of the larger weights.
  const tolerance = optimizer === "adam" ? 1e-4 : 1e-5;
  const ofLosses = losses.map((loss, i) => ({
    name: `${optimizer}'s loss ${i}`,
    error: Math.abs(loss - (expected.get(`losses/${optimizer}`)?.[i] ?? NaN)),
    allowed: i === 0 ? 1e-5 : tolerance,
  }));
  const ofGradients = Object.entries(gradients).map(([name, values]) => {
    const reference = expected.get(`${optimizer === "careful" ? "careful-" : ""}gradient/${name}`) ?? [];
    // With careful's statistics a tap of the second pooling falls the other way in float32: behind it all agree to 1e-6.
    const allowed = optimizer === "careful" && /^block[12]_/.test(name) ? 5e-3 : 1e-3;
    return {
      name: `${optimizer}'s gradient of ${name}`,
      error: difference(values, reference) / norm(reference),
      allowed,
    };
  });
  return [...ofLosses, ...ofGradients];
}
