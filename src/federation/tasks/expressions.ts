import { EXPRESSIONS, FACE_SIZE } from "../../model/expressions";
import type { TaskDescription } from "./task";

/** The seven expressions of FER2013, by the notebook's network. */
export const expressions = {
  model: "seed",
  examples: "face",
  input: { height: FACE_SIZE, width: FACE_SIZE, channels: 1 },
  labels: EXPRESSIONS,
  firstCheckpoint: "/models/seed/initial.safetensors",
  dreams: "/models/dreams.u8.gz",
  defaultRound: {},
} as const satisfies TaskDescription;
