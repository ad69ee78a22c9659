import * as v from "valibot";
import type { ClientContext, LiveStrategy, Span, StrategyContext, Vectors } from "./strategy";

/** Clients that keep their last layers, the head, to themselves and share the layers before, the body: what such strategies have in common. */

export const personalEntries = {
  /** Dense layers at the end that each client keeps to itself. */
  personalLayers: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10)), 1),
} as const;

export interface PersonalOptions {
  personalLayers: number;
}

/** Where the tensors of the personal layers lie. */
export const headOf = ({ model, options: { personalLayers } }: StrategyContext<PersonalOptions>): Span[] =>
  lastLayers(model, personalLayers).map(({ offset, size }) => ({ offset, size }));

/** The tensors of a model's last layers: of those that have any. */
export function lastLayers<T extends { name: string }>({ tensors }: { tensors: readonly T[] }, count: number): T[] {
  const ownerOf = ({ name }: T): string | undefined => name.split("/")[0];
  const layers = [...new Set(tensors.map(ownerOf))].slice(count === 0 ? Infinity : -count);
  return tensors.filter((tensor) => layers.includes(ownerOf(tensor)));
}

/** Weights with the head that the client has kept, where it has one; a new vector. */
function putHead(
  context: StrategyContext<PersonalOptions>,
  weights: Float32Array,
  { head }: Vectors,
): Float32Array<ArrayBuffer> {
  const own = Float32Array.from(weights);
  if (!head) return own;
  let at = 0;
  for (const { offset, size } of headOf(context)) own.set(head.subarray(at, (at += size)), offset);
  return own;
}

/** w_t with the client's own head. */
export const withOwnHead = (context: ClientContext<PersonalOptions>): Float32Array<ArrayBuffer> =>
  putHead(context, context.global, context.state);

/** What both do in live rounds. */
export const liveHead: LiveStrategy<PersonalOptions> = {
  keeps: (context) => ({ head: headOf(context).reduce((sum, { size }) => sum + size, 0) }),
  personal: headOf,
  plays: "own-layers",
  playedWith: putHead,
  backends: ["wasm", "webgpu"],
};

/** What a client keeps of a training, its head, and the delta without it. */
export function keepHead(
  context: ClientContext<PersonalOptions>,
  trained: Float32Array,
): { state: Vectors; delta: Float32Array<ArrayBuffer> } {
  const parts = headOf(context);
  const head = new Float32Array(parts.reduce((sum, { size }) => sum + size, 0));
  const delta = trained.map((value, i) => value - (context.global[i] as number));
  let at = 0;
  for (const { offset, size } of parts) {
    head.set(trained.subarray(offset, offset + size), at);
    delta.fill(0, offset, offset + size);
    at += size;
  }
  return { state: { head }, delta };
}
