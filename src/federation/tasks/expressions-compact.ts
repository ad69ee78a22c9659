import { expressions } from "./expressions";
import type { TaskDescription } from "./task";

/** The same for phones: a network with a sixteenth of the weights. */
export const expressionsCompact = {
  ...expressions,
  model: "compact",
  firstCheckpoint: "/models/compact/initial.safetensors",
} as const satisfies TaskDescription;
