import * as v from "valibot";
import type { ClientContext, StrategyContext, Vectors } from "./strategy";

/** Clients that keep their last layers, the head, to themselves and share the layers before, the body: what such strategies have in common. */

export const personalEntries = {
  /** Dense layers at the end that each client keeps to itself. */
  personalLayers: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10)), 1),
} as const;

export interface PersonalOptions {
  personalLayers: number;
}

/** Where the tensors of the personal layers lie. */
export function headOf({
  model,
  options: { personalLayers },
}: StrategyContext<PersonalOptions>): { offset: number; size: number }[] {
  const layers = [...new Set(model.tensors.map(({ name }) => name.split("/")[0]))].slice(-personalLayers);
  return model.tensors.filter(({ name }) => layers.includes(name.split("/")[0]));
}

/** w_t with the head that the client has kept, where it has one. */
export function withOwnHead(context: ClientContext<PersonalOptions>): Float32Array<ArrayBuffer> {
  const weights = Float32Array.from(context.global);
  const head = context.state["head"];
  let at = 0;
  for (const { offset, size } of head ? headOf(context) : []) {
    weights.set((head as Float32Array).subarray(at, (at += size)), offset);
  }
  return weights;
}

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
