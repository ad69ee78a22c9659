import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { LabConfigError } from "./config-error";
import { digestOf } from "./data";
import { networkFor } from "./network";
import { summarize } from "../model/model";
import type { LabData } from "./pool";

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

const DATA: LabData = {
  train: { pixels: Uint8Array.of(1, 2, 3, 4), labels: Uint8Array.of(0, 1), clients: Uint32Array.of(7, 8) },
  test: { pixels: Uint8Array.of(5, 6), labels: Uint8Array.of(1) },
};
const KIND = { labels: ["cat", "dog"], input: { height: 1, width: 2, channels: 1 } };

test("a digest is of pixels, labels and clients, and of names and shape where they are the data's own", async () => {
  const owners = new Uint8Array(Uint32Array.of(7, 8).buffer);
  const parts = [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(0, 1), owners, Uint8Array.of(5, 6), Uint8Array.of(1), ""];
  const before = sha256(parts.map(sha256).join(" "));
  // As runs that were begun before there were such data have it.
  expect(await digestOf(DATA)).toBe(before);
  const own = await digestOf({ ...DATA, kind: KIND });
  expect(own).not.toBe(before);
  // In whatever order a shape's fields are said.
  const turned = { labels: KIND.labels, input: { channels: 1, width: 2, height: 1 } };
  expect(await digestOf({ ...DATA, kind: turned })).toBe(own);
  for (const kind of [
    { ...KIND, labels: ["cat", "cow"] },
    { ...KIND, input: { height: 2, width: 1, channels: 1 } },
  ]) {
    expect(await digestOf({ ...DATA, kind })).not.toBe(own);
  }
});

test("a model of the registry gets the data's own input and classes, or says which model takes them", () => {
  const kind = { labels: ["a", "b", "c"], input: { height: 32, width: 40, channels: 3 } };
  const { inputs, classes, tensors } = summarize(networkFor("compact", kind));
  expect([inputs, classes, tensors[0]?.shape]).toEqual([3840, 3, [3, 3, 3, 16]]);
  const small = { ...kind, input: { height: 20, width: 20, channels: 1 } };
  expect(() => networkFor("compact", small)).toThrow(LabConfigError);
  expect(() => networkFor("compact", small)).toThrow("These do: mnist-2nn, mnist-cnn, mnist-lenet.");
  expect(networkFor("compact", undefined)).toBe(networkFor("compact", undefined));
});
