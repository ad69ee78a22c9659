import type { TaskRequest } from "./request";

/** What the form for a new task begins with: a description to be changed, that is right as it is. */
export const EXAMPLE: TaskRequest = {
  title: { en: "Shapes" },
  examples: "drawing",
  input: { height: 28, width: 28, channels: 1 },
  model: "mnist-cnn",
  labels: [
    { name: "circle", words: { en: "circle" } },
    { name: "square", words: { en: "square" } },
    { name: "triangle", words: { en: "triangle" } },
  ],
};

/** The same of what players hold before the camera, in colour. */
export const PICTURE_EXAMPLE: TaskRequest = {
  title: { en: "Rock, paper, scissors" },
  examples: "picture",
  input: { height: 48, width: 48, channels: 3 },
  model: "mnist-lenet",
  labels: [
    { name: "rock", words: { en: "rock" } },
    { name: "paper", words: { en: "paper" } },
    { name: "scissors", words: { en: "scissors" } },
  ],
};
