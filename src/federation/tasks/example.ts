import type { TaskRequest } from "./request";

/** What the form for a new task begins with: a description to be changed, that is right as it is. */
export const EXAMPLE: TaskRequest = {
  title: { en: "Shapes" },
  ask: { en: "Draw a {label}" },
  examples: "drawing",
  input: { height: 28, width: 28, channels: 1 },
  model: "mnist-cnn",
  labels: [
    { name: "circle", words: { en: "circle" }, how: { en: "One line that comes back to where it began." } },
    { name: "square", words: { en: "square" }, how: { en: "Four sides of one length." } },
    { name: "triangle", words: { en: "triangle" }, how: { en: "Three sides." } },
  ],
};

/** The same of what players hold before the camera, in colour. */
export const PICTURE_EXAMPLE: TaskRequest = {
  title: { en: "Rock, paper, scissors" },
  ask: { en: "Show your hand as {label}" },
  examples: "picture",
  input: { height: 48, width: 48, channels: 3 },
  model: "mnist-lenet",
  labels: [
    { name: "rock", words: { en: "rock" }, how: { en: "A closed fist." } },
    { name: "paper", words: { en: "paper" }, how: { en: "The flat of your hand." } },
    { name: "scissors", words: { en: "scissors" }, how: { en: "Two fingers apart." } },
  ],
};
