import { describe, expect, test } from "vitest";
import { held } from "./contract";
import type { AnyStrategy } from "./registry";
import { STRATEGIES } from "./registry";
import type { ClientContext, StrategyUpdate, Vectors } from "./strategy";
import { quadratic, start } from "./testing";

const whole = Float32Array.from(start);
const short = new Float32Array(1);
const context: ClientContext<never> = {
  options: {} as never,
  model: quadratic,
  clients: 3,
  global: whole,
  broadcast: {},
  state: {},
  learningRate: 1,
  epochs: 1,
  steps: 1,
};
const updates: StrategyUpdate[] = [{ client: 0, examples: 1, delta: whole, sent: {} }];

type Own = Omit<Partial<AnyStrategy>, "client" | "server"> & { client?: object; server?: object };
const heldTo = ({ client = {}, server = {}, wire = { down: [], up: [] } }: Own): AnyStrategy => {
  const delta = Float64Array.from(start);
  return held({ name: "mine", wire, client, server: { aggregate: () => ({ delta }), ...server } });
};
const up = (...names: string[]) => ({ down: [], up: names });
const down = (...names: string[]) => ({ down: names, up: [] });

/** Calls every part of a strategy that there is, as a run does. */
function play({ client, server }: AnyStrategy): void {
  const remembered: Vectors = server.init?.(context) ?? {};
  server.candidates?.(context, 2);
  server.select?.(context, [3, 5, 7], [1, 2, 3]);
  client.init?.(context);
  client.epochs?.(context, 1);
  client.beforeTraining?.(context);
  client.gradientHook?.(context)(whole, whole);
  client.contrast?.(context);
  client.afterTraining?.(context, whole);
  client.personal?.start(context);
  client.personal?.gradientHook(context);
  const { delta, state = remembered } = server.aggregate(context, updates, remembered);
  server.step?.(context, whole, delta, state);
}

const personal = { name: "own", start: () => whole, gradientHook: () => () => undefined };

describe("a part that makes what its interface does not want is named, with what it makes", () => {
  test.each<[string, Own, string]>([
    ["a state of plain numbers", { client: { init: () => ({ seen: [1] }) } }, "client.init makes seen, which is no"],
    ["a promise of a state", { client: { init: () => Promise.resolve({}) } }, "client.init makes a promise"],
    ["epochs below one", { client: { epochs: () => -1 } }, "client.epochs makes -1"],
    ["epochs that are no number", { client: { epochs: () => NaN } }, "client.epochs makes NaN"],
    ["half an epoch", { client: { epochs: () => 2.5 } }, "client.epochs makes 2.5"],
    ["too short a start", { client: { beforeTraining: () => short } }, "client.beforeTraining makes 1 numbers"],
    ["no hook", { client: { gradientHook: () => undefined } }, "client.gradientHook makes no function"],
    [
      "too short a contrast",
      { client: { contrast: () => ({ previous: short }) } },
      "previous: client.contrast makes 1",
    ],
    [
      "too short a delta",
      { client: { afterTraining: () => ({ delta: short }) } },
      "client.afterTraining makes 1 numbers",
    ],
    ["a promise of a delta", { client: { afterTraining: () => Promise.resolve({}) } }, "client.afterTraining makes a"],
    ["a number", { client: { afterTraining: () => 7 } }, "client.afterTraining makes 7, which is no object"],
    [
      "a vector that is not sent",
      { wire: up("change") },
      "wire.up names change, of which client.afterTraining makes no",
    ],
    [
      "too short a vector",
      { wire: up("change"), client: { afterTraining: () => ({ sent: { change: short } }) } },
      "wire.up names change, of which client.afterTraining makes 1",
    ],
    [
      "a vector that nobody has named",
      { client: { afterTraining: () => ({ sent: { change: whole } }) } },
      "sends change, which wire.up does not name",
    ],
    ["too short an own start", { client: { personal: { ...personal, start: () => short } } }, "personal.start makes 1"],
    [
      "no hook of an own model",
      { client: { personal: { ...personal, gradientHook: () => null } } },
      "client.personal.gradientHook makes no function",
    ],
    ["a vector down that is not there", { wire: down("control") }, "wire.down names control, of which server.init"],
    ["half a candidate", { server: { candidates: () => 2.5 } }, "server.candidates makes 2.5"],
    ["somebody who is no candidate", { server: { select: () => [3, 999] } }, "server.select chooses 999, which is no"],
    ["somebody twice", { server: { select: () => [5, 3, 5] } }, "server.select chooses 5 more than once"],
    ["nobody", { server: { select: () => [] } }, "server.select chooses nobody"],
    ["no list", { server: { select: () => new Set([3]) } }, "server.select makes no list"],
    [
      "no delta",
      { server: { aggregate: () => ({}) } },
      "delta: server.aggregate makes no Float64Array or Float32Array",
    ],
    ["bytes for a delta", { client: { afterTraining: () => ({ delta: new Uint8Array(5) }) } }, "makes no Float32Array"],
    [
      "a state without what goes down",
      {
        wire: down("control"),
        server: {
          init: () => ({ control: whole }),
          aggregate: () => ({ delta: Float64Array.from(start), state: { other: whole } }),
        },
      },
      "wire.down names control, of which server.aggregate",
    ],
    ["too short weights", { server: { step: () => short } }, "weights: server.step makes 1 numbers"],
  ])("%s", (_, own, message) => {
    expect(() => {
      play(heldTo(own));
    }).toThrow(expect.objectContaining({ name: "StrategyError", message: expect.stringContaining(message) as string }));
  });
});

test("what does as its interface wants goes through as it is", () => {
  const sent = { change: whole };
  const own = heldTo({
    wire: { down: ["control"], up: ["change"] },
    client: {
      epochs: (_: unknown, planned: number) => planned + 2,
      beforeTraining: () => whole,
      personal,
      afterTraining: () => ({ sent, delta: whole, state: { any: short } }),
    },
    server: {
      init: () => ({ control: whole, rounds: short }),
      select: () => [7, 3],
      aggregate: (_: unknown, __: unknown, before: Vectors) => ({ delta: Float64Array.from(start), state: before }),
    },
  });
  play(own);
  expect(own.name).toBe("mine");
  expect(own.client.epochs?.(context, 3)).toBe(5);
  expect(own.client.beforeTraining?.(context)).toBe(whole);
  expect(own.client.afterTraining?.(context, whole)).toEqual({ sent, delta: whole, state: { any: short } });
  expect(own.server.select?.(context, [3, 5, 7], [])).toEqual([7, 3]);
  // What a strategy does not say, a run does: nothing is called that is not there.
  expect("gradientHook" in own.client || "step" in own.server).toBe(false);
});

test("every built-in strategy has its parts as before", () => {
  for (const strategy of STRATEGIES.values()) {
    const own = held(strategy);
    expect(own.live).toBe(strategy.live);
    expect(own.options).toBe(strategy.options);
    for (const part of ["epochs", "beforeTraining", "gradientHook", "contrast", "personal"] as const) {
      expect(part in own.client && own.client[part] !== undefined, part).toBe(strategy.client[part] !== undefined);
    }
  }
});
