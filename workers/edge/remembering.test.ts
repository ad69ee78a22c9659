import { expect, test } from "vitest";
import type { Assignment, Problem, RoundConfig, Task } from "../../src/federation/protocol";
import { takePart } from "./taking-part";
import { TestTask, worst } from "./testing";

// @module-tag slow

/** Rounds whose server remembers something of its clients, which goes with the version that it belongs to. */
const task = new TestTask("expressions-compact");
const { model } = task;
const norms = model.tensors.filter(({ name }) => name.includes("_norm"));
/** Of all that is trained: batch normalization is frozen in these rounds. */
function deltaOf(seed: number): Float32Array {
  const delta = task.randomDelta(seed);
  for (const { offset, size } of norms) delta.fill(0, offset, offset + size);
  return delta;
}
const [ONE, OTHER] = [deltaOf(1), deltaOf(2)];
const lengthOf = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** Two clients of ten. */
const FEDDYN: Partial<RoundConfig> = {
  strategy: "feddyn",
  alignment: 0.5,
  population: 10,
  goalCount: 2,
  overSelection: 1,
  batchNorm: "frozen",
};

const current = async (): Promise<Float32Array> => task.download(await task.get<Task>(""));

/** A round's updates. @returns what its clients were told */
async function send(deltas: Float32Array[], config: Partial<RoundConfig> = {}): Promise<Assignment> {
  await task.startRound({ ...FEDDYN, ...config });
  const assignments = await task.cohort(2);
  for (const [k, delta] of deltas.entries()) {
    // What they claim differs, and counts for nothing.
    await task.send(assignments[k] as Assignment, delta, k === 0 ? 90 : 4);
  }
  return assignments[0] as Assignment;
}

/** The same to its end. @param number the round's @returns which rounds the server remembered */
async function round(number: number, config: Partial<RoundConfig> = {}): Promise<unknown> {
  const { remembered } = await send([ONE, OTHER], config);
  await task.ended(number);
  return remembered?.rounds;
}

/** Every weight is as many times the two deltas from others. */
async function expectMoved(from: Float32Array, times: number): Promise<void> {
  const now = await current();
  expect(worst(now, (i) => (from[i] ?? NaN) + times * ((ONE[i] ?? NaN) + (OTHER[i] ?? NaN)))).toBeLessThan(1e-6);
}

test("what FedDyn's server remembers goes with its version: undone with it, gone back to with it, and begun anew after another strategy", async () => {
  // By the paper, with two of ten clients that always come with the same deltas a and b: the mean is (a + b) / 2, and -h / alpha grows by
  // (a + b) / 10 in each round.
  const start = await current();
  expect(await round(1)).toEqual([]);
  await expectMoved(start, 0.6);
  const first = await current();

  // An abandoned round leaves nothing, nor does one whose candidate is rejected.
  expect((await send([ONE])).remembered).toEqual({ rounds: [[1, 1]] });
  expect((await task.admin("DELETE", "/rounds/current")).status).toBe(200);
  expect((await send([ONE, OTHER], { evaluators: 1, tolerance: 0 })).remembered).toEqual({ rounds: [[1, 1]] });
  await task.until(({ rounds }) => rounds[2]?.state === "evaluating", "round 3 is evaluated");
  const answer = await task.checkIn(crypto.randomUUID(), { heldOut: 100 });
  if (answer.decision !== "evaluate") throw new Error("nothing to evaluate");
  const { id } = answer.evaluation;
  const judged = { examples: 100, loss: 9, accuracy: 0, baseLoss: 1, baseAccuracy: 1 };
  const body = JSON.stringify(judged);
  expect((await task.fetchSigned(`/evaluations/${id}`, { id }, { method: "POST", body })).status).toBe(200);
  expect((await task.ended(3)).state).toBe("rejected");

  expect(await round(4)).toEqual([[1, 1]]);
  await expectMoved(first, 0.7);
  const fourth = await current();
  // Hubs that gossip come to the same.
  expect(await round(5, { topology: "gossip" })).toEqual([
    [4, 4],
    [1, 1],
  ]);
  await expectMoved(fourth, 0.8);

  await round(6, { strategy: "none" });
  const plain = await current();
  expect(await round(7)).toEqual([]);
  await expectMoved(plain, 0.6);

  expect((await task.admin("POST", "/checkpoints/1/restore")).status).toBe(200);
  expect(await round(8)).toEqual([[1, 1]]);
  await expectMoved(first, 0.7);
  // With another way of batch normalization other tensors move, and what is kept of the rest would no longer be the server's.
  expect(await round(9, { batchNorm: "average" })).toEqual([]);
});

test("with another alpha FedDyn's server and its devices begin anew: what one has summed is no other's", async () => {
  await round(1, { alignment: 1 });
  const first = await current();
  // A thousandth of the alpha would step a thousand times as far.
  expect(await round(2, { alignment: 0.001 })).toEqual([]);
  await expectMoved(first, 0.6);
  expect(await round(3, { alignment: 0.001 })).toEqual([[2, 2]]);
});

test("a sum under masks is enough for FedDyn's server, and however many examples a client has, it counts once", async () => {
  const start = await current();
  const clip = Math.max(lengthOf(ONE), lengthOf(OTHER));
  await task.startRound({
    ...FEDDYN,
    goalCount: 3,
    secure: true,
    codec: "int8",
    updateClip: clip,
    secureStepSeconds: 10,
  });
  const assignments = await task.cohort(3);
  const facts = { weight: 9, trainLoss: 2, trainAccuracy: 0.5, evalExamples: 1, evalLoss: 3, evalAccuracy: 0 };
  const deltas = [ONE, OTHER, OTHER];
  await Promise.all(
    assignments.map((one, k) =>
      takePart(task, one, { delta: deltas[k] as Float32Array, facts: { ...facts, weight: 1 + 50 * k }, seed: k }),
    ),
  );
  await task.ended(1);
  const now = await current();
  // (a + 2 b) / 3 + (a + 2 b) / 10, to what int8 rounds: the difference lies in no direction.
  const wanted = ONE.map((a, i) => (a + 2 * (OTHER[i] ?? NaN)) * (1 / 3 + 1 / 10));
  const off = now.map((value, i) => value - (start[i] ?? NaN) - (wanted[i] ?? NaN));
  expect(lengthOf(off) / lengthOf(wanted)).toBeLessThan(0.05);
  const along = off.reduce((sum, value, i) => sum + value * (wanted[i] ?? NaN), 0) / lengthOf(wanted) ** 2;
  expect(Math.abs(along)).toBeLessThan(0.002);
});

test("a liar leaves no more in it than one update's clip, divided by the population, and says to no use how many examples it has", async () => {
  const start = await current();
  const clip = 0.02 * lengthOf(start);
  const lie = ONE.map((value) => 1e4 * value);
  const none = new Float32Array(model.parameters);
  await task.startRound({ ...FEDDYN, maxUpdateNorm: 0.02, maxExamples: 100_000, maxExamplesRatio: 0 });
  const [liar, honest] = await task.cohort(2);
  if (!liar || !honest) throw new Error("no cohort");
  // Who is honest keeps to it, and keeps no more of it.
  expect(honest.plan.updateNorm).toBeCloseTo(clip, 4);
  await task.send(liar, lie, 100_000);
  await task.send(honest, none, 4);
  await task.ended(1);
  const first = await current();
  expect(lengthOf(first.map((value, i) => value - (start[i] ?? NaN))) / (clip / 2 + clip / 10)).toBeCloseTo(1, 4);
  // From then on, of every round in which nobody moves: all that is left of it.
  await send([none, none], { maxUpdateNorm: 0.02 });
  await task.ended(2);
  const second = await current();
  expect(lengthOf(second.map((value, i) => value - (first[i] ?? NaN))) / (clip / 10)).toBeCloseTo(1, 4);
});

/** Two clients of ten, in plain steps. */
const SCAFFOLD: Partial<RoundConfig> = { ...FEDDYN, strategy: "scaffold", epochs: 1, batchSize: 5, learningRate: 0.02 };
/** What members are told of c: the sum over all ten devices. */
const toldIn = (assignment: Assignment | undefined): Promise<Float32Array> => {
  const vector = assignment?.remembered?.vector;
  if (!vector) throw new Error("nothing is told");
  return task.download({ checkpoint: { ...vector, version: 0 } });
};

test("SCAFFOLD's server finds the clients' changes of c in their updates and steps, and tells it with the version that it belongs to", async () => {
  const start = await current();
  // By the paper: K is 18 and 1, eta_l is 0.02, and c = C / 10. Each client's change is -c - delta / (K eta_l), and c is zero before the
  // first round.
  const { remembered } = await send([ONE, OTHER], SCAFFOLD);
  expect(remembered).toEqual({ rounds: [] });
  await task.ended(1);
  await expectMoved(start, 0.5);
  const expected = ONE.map((a, i) => -50 * (a / 18 + (OTHER[i] ?? NaN)));
  const longest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  // Half of the mean is taken where the base counts as many examples as the updates, and all of what it says of c.
  const first = await current();
  await task.startRound({ ...SCAFFOLD, prior: 94 });
  const [one, other] = await task.cohort(2);
  const told = await toldIn(one);
  expect(worst(told, (i) => expected[i] ?? NaN) / longest).toBeLessThan(1e-6);
  await task.send(one as Assignment, ONE, 90);
  await task.send(other as Assignment, OTHER, 4);
  await task.ended(2);
  await expectMoved(first, 0.25);

  // C - 2 C / 10 and as much again.
  await task.startRound(SCAFFOLD);
  const [third] = await task.cohort(2);
  expect(third?.remembered?.rounds).toEqual([[1, 2]]);
  const second = await toldIn(third);
  expect(worst(second, (i) => 1.8 * (expected[i] ?? NaN)) / longest).toBeLessThan(1e-6);
  expect((await task.admin("DELETE", "/rounds/current")).status).toBe(200);

  // Gone back to, with the weights.
  expect((await task.admin("POST", "/checkpoints/1/restore")).status).toBe(200);
  await task.startRound(SCAFFOLD);
  const [fourth] = await task.cohort(2);
  expect(fourth?.remembered?.rounds).toEqual([[1, 1]]);
  expect(await toldIn(fourth)).toEqual(told);
});

test("a liar moves c by no more than one update's clip in an epoch of a single step, and by what c is", async () => {
  const clip = 0.02 * lengthOf(await current());
  const none = new Float32Array(model.parameters);
  await task.startRound({ ...SCAFFOLD, epochs: 2, maxUpdateNorm: 0.02 });
  const [liar, honest] = await task.cohort(2);
  if (!liar || !honest) throw new Error("no cohort");
  // The fewest examples that anybody can claim: the fewest steps, and the longest way in each.
  await task.send(
    liar,
    ONE.map((value) => 1e4 * value),
    1,
  );
  await task.send(honest, none, 100);
  await task.ended(1);
  await task.startRound(SCAFFOLD);
  const [next] = await task.cohort(2);
  expect(lengthOf(await toldIn(next)) / (clip / (2 * 0.02))).toBeCloseTo(1, 4);
});

test.each([
  [{ population: 1 }, "choose population"],
  [{ noise: 1, updateClip: 1 }, "noise 0"],
] as const)("what does not go with such a server is refused in words: %o", async (config, words) => {
  const answer = await task.admin("POST", "/rounds", { ...FEDDYN, prior: 0, evaluators: 0, ...config });
  expect(answer.status).toBe(422);
  expect((await answer.json<Problem>()).detail).toContain(words);
});
