import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, expect, test } from "vitest";
import { makeWorker } from "../../tools/lab/worker";
import { Activations } from "./activations";

beforeAll(async () => {
  await makeWorker().startBackend("wasm");
});

test("what is held takes no memory of its own, outlives its tensor, and is freed with its last holder", () => {
  expect(tf.getBackend()).toBe("wasm");
  const before = tf.memory().numDataBuffers;
  const activations = new Activations();
  const tensor = tf.tensor([1, 2, 3]);
  const held = tf.tidy(() => activations.hold(tensor));
  expect(tf.memory().numDataBuffers).toBe(before + 1);
  tensor.dispose();
  expect([...held.dataSync()]).toEqual([1, 2, 3]);
  activations.dispose();
  expect(tf.memory().numDataBuffers).toBe(before);
});
