import { hash32 } from "../../base/random";
import type { TensorSpec } from "../../model/model";
import { channelsOf, defineCodec, PART, scaleAt, stochasticRound, viewOf, type Decoding } from "./codec";

export const int8 = quantized(127, 1);
/** Two integers to a byte, the first in the low half. */
export const int4 = quantized(7, 2);

/**
 * Stochastic quantization by channel: for each output channel a float32 scale = max |x| / levels, then integers q that are rounded at
 * random, so that the expectation of q * scale is x.
 */
function quantized(levels: number, perByte: 1 | 2) {
  return defineCodec({
    isSparse: false,
    isForDifferences: true,
    ringLevels: levels,
    largest: (tensor) => channelsOf(tensor) * 4 + Math.ceil(tensor.size / perByte),
    encode(out, values, tensor, { seed }) {
      const scale = scalesOf(values, channelsOf(tensor), levels);
      for (const one of scale) out.float32(one);
      const q = (i: number): number =>
        stochasticRound((values[i] ?? 0) / (scale[i % scale.length] || 1), levels, hash32(seed, tensor.offset + i));
      for (let i = 0; i < values.length; i += perByte) {
        if (perByte === 1) out.uint8(q(i) & 0xff);
        else out.uint8((q(i) & 0xf) | ((i + 1 < values.length ? q(i + 1) & 0xf : 0) << 4));
      }
    },
    decode: (tensor) => decodeIntegers(tensor, perByte === 2),
  });
}

/** Largest size of each channel, as a share of the codec's largest integer. */
function scalesOf(values: Float32Array, channels: number, levels: number): Float32Array {
  const scale = new Float32Array(channels);
  for (let i = 0; i < values.length; i++) {
    const c = i % channels;
    scale[c] = Math.max(scale[c] ?? 0, Math.abs(values[i] ?? 0) / levels);
  }
  return scale;
}

/** @param isHalf of four bits */
function* decodeIntegers(tensor: TensorSpec, isHalf: boolean): Decoding {
  const { name, offset, size } = tensor;
  const channels = channelsOf(tensor);
  const view = viewOf(yield channels * 4);
  const scale = Float32Array.from({ length: channels }, (_, c) => scaleAt(view, c * 4, name));
  for (let from = 0; from < size; from += PART) {
    const count = Math.min(PART, size - from);
    const bytes = yield isHalf ? Math.ceil(count / 2) : count;
    const values = new Float32Array(count);
    let channel = from % channels;
    for (let i = 0; i < count; i++) {
      const byte = (isHalf ? bytes[i >> 1] : bytes[i]) ?? 0;
      // The sign: up to the top of 32 bits, and down again.
      const q = (isHalf && i % 2 === 0 ? byte << 28 : byte << 24) >> (isHalf ? 28 : 24);
      values[i] = q * (scale[channel] ?? 0);
      if (++channel === channels) channel = 0;
    }
    yield { start: offset + from, values };
  }
}
