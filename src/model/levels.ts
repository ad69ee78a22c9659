import type { ModelSpec } from "./model";

/** Levels there are. */
const LEVELS = 256;

/**
 * Writes the numbers that go into a network in the place of pictures' levels: level / 255, and where the network is for normalized ones,
 * of each channel (level / 255 - mean) / std, as torchvision's Normalize has it behind ToTensor. What a convolution sees beyond a picture's
 * edge is 0 in either case.
 * @param levels of pictures, one after the other, channels last
 * @param values as many, written anew
 */
export function writeNumbers(
  levels: Uint8Array,
  values: Float32Array,
  { inputShape, normalization }: Pick<ModelSpec, "inputShape" | "normalization">,
): void {
  // Plain loops: Float32Array.from with a function takes forty times as long.
  if (!normalization) {
    for (let i = 0; i < levels.length; i++) values[i] = (levels[i] as number) / 255;
    return;
  }
  const channels = inputShape[2];
  const { mean, std } = normalization;
  for (let c = 0; c < channels; c++) {
    const numbers = Float32Array.from(
      { length: LEVELS },
      (_, level) => (level / 255 - (mean[c] as number)) / (std[c] as number),
    );
    for (let i = c; i < levels.length; i += channels) values[i] = numbers[levels[i] as number] as number;
  }
}
