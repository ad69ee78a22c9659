import { expect, test } from "vitest";
import { usageOf } from "./usage";

test.each([
  // FER2013, FER+, Kaggle's folders, Hugging Face's splits, scikit-learn's and Keras's words.
  ...["Training", "training", "train", "TRAIN ", "Train_set"].map((word) => [word, "train"]),
  ...["PublicTest", "PrivateTest", "publictest", "test", "Testing", "val", "validation", "dev"].map((word) => [
    word,
    "test",
  ]),
  ...["", "  "].map((word) => [word, null]),
  ...["Trainning", "0", "yes", "happy"].map((word) => [word, "unknown"]),
])("the usage %j says %j", (word, usage) => {
  expect(usageOf(word as string)).toBe(usage);
});
