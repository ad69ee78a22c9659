import type { TaskDescription } from "./task";

/** Handwritten digits, drawn on a canvas and laid out as MNIST's are, by the CNN of McMahan et al. 2017. */
export const digits = {
  model: "mnist-cnn",
  examples: "drawing",
  input: { height: 28, width: 28, channels: 1 },
  labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  firstCheckpoint: "/models/digits/initial.safetensors",
  // Dreams are made of what batch normalization has seen (tools/pretrain/dream.py), and this network has none.
  dreams: null,
  defaultRound: { batchNorm: "average", rehearse: 0, agreement: 0 },
} as const satisfies TaskDescription;
