import { float16 } from "./float16";
import { float32 } from "./float32";
import { int4, int8 } from "./quantized";
import { ternary } from "./ternary";
import { topk } from "./topk";

/** Every codec there is, by the name that travels. What each may be used for it says itself. */
export const CODECS = { float32, float16, int8, int4, topk, ternary };
export type CodecName = keyof typeof CODECS;
export const CODEC_NAMES = Object.keys(CODECS) as [CodecName, ...CodecName[]];

/** The codecs of a checkpoint's difference to its base. */
export type DifferenceCodec = {
  [Name in CodecName]: (typeof CODECS)[Name]["isForDifferences"] extends true ? Name : never;
}[CodecName];
/** The codecs whose integers can be masked and summed. */
export type RingCodec = {
  [Name in CodecName]: (typeof CODECS)[Name] extends { readonly ringLevels: number } ? Name : never;
}[CodecName];

export const isForDifferences = (name: string | undefined): name is DifferenceCodec =>
  CODEC_NAMES.some((known) => known === name && CODECS[known].isForDifferences);
export const isRingCodec = (name: CodecName): name is RingCodec => "ringLevels" in CODECS[name];
export const DIFFERENCE_CODECS = CODEC_NAMES.filter(isForDifferences);
