import { expect, test } from "vitest";
import { splitAnew, usageOf, type Usage } from "./usage";

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

test("where all examples that can be used are for the same, nobody has said which are for what else", () => {
  const split = (...usages: Usage[]) =>
    splitAnew(
      usages.map((usage, label) => ({ usage, label })),
      ({ label }) => label < 3,
    ).map(({ usage }) => usage);
  expect(split("train", "train", "train")).toEqual([null, null, null]);
  expect(split("test", "test")).toEqual([null, null]);
  // As Kaggle has many: a part for the test, without labels.
  expect(split("train", "train", "train", "test")).toEqual([null, null, null, null]);
  expect(split("train", "test", "train")).toEqual(["train", "test", "train"]);
  expect(split("train", null)).toEqual(["train", null]);
});
