import type { ModelSummary } from "./model";
import { FormatError } from "./safetensors";

/** No trained weight and no statistic comes near it. */
const LARGEST_WEIGHT = 1e9;

/**
 * Holds weights to what a network can begin with.
 * @param weights of the whole model, flat
 * @throws FormatError `not-finite` where a tensor holds what no weight can be, or kernels through which nothing comes
 */
export function checkSound({ tensors }: Pick<ModelSummary, "tensors">, weights: Float32Array): void {
  for (const { name, offset, size } of tensors) {
    const values = weights.subarray(offset, offset + size);
    const refused = (what: string): FormatError => new FormatError("not-finite", `${name} holds ${what}.`);
    if (!values.every(Number.isFinite)) throw refused("a number that is not finite");
    if (values.some((value) => Math.abs(value) > LARGEST_WEIGHT)) {
      throw refused(`a number beyond ${LARGEST_WEIGHT}, whose sums would not be finite`);
    }
    if (name.endsWith("/kernel") && values.every((value) => value === 0)) {
      throw refused("nothing but zeros, behind which nothing can be learned");
    }
    if (name.endsWith("/moving_variance") && values.some((value) => value < 0)) {
      throw refused("a negative variance, which has no root");
    }
  }
}
