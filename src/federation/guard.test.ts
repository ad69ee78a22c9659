import fc from "fast-check";
import { expect, test } from "vitest";
import { compareAnswers, objectionTo, summarizeEvidence, type Evidence, type GuardRules } from "./guard";

const RULES: GuardRules = { evaluators: 3, tolerance: 0.1, agreement: 0.8, awaitOperator: false, maxExamples: 200 };

const says = (rise: number, examples = 50, kind: Evidence["kind"] = "cohort"): Evidence => ({
  kind,
  examples,
  loss: 1 + rise,
  accuracy: 0.5,
  baseLoss: 1,
  baseAccuracy: 0.5,
});

test("nobody's word is no consent, unless nobody is asked", () => {
  expect(objectionTo([], null, RULES)).toContain("Nobody evaluated");
  expect(objectionTo([], null, { ...RULES, evaluators: 0 })).toBeNull();
});

test.each([
  ["all find it better", [-0.1, -0.1, -0.1], true],
  ["all find it worse", [0.2, 0.2, 0.2], false],
  ["two that are honest and a liar that wants a ruined one", [0.5, 0.4, -1000], false],
  ["two that are honest and a liar that wants none", [-0.1, -0.2, 1000], true],
  ["one that is honest and a liar: in doubt not", [-0.1, 1000], false],
] as const)("%s", (_, rises, isPublished) => {
  const evidence = rises.map((rise) => says(rise));
  expect(objectionTo(evidence, null, RULES) === null).toBe(isPublished);
});

test("a hundred thousand faces that somebody claims weigh no more than the cap, and no more than one voice", () => {
  const liar = says(-900, 100_000);
  expect(objectionTo([says(0.5, 50), says(0.5, 50), liar], null, RULES)).not.toBeNull();
  const sum = summarizeEvidence([says(0, 50), says(0, 50), liar], RULES.maxExamples);
  expect(sum).toMatchObject({ examples: 300, clients: 3 });
  expect(summarizeEvidence([says(0, 3589, "operator")], RULES.maxExamples)?.examples).toBe(3589);
});

test("few faces make the bound tighter, not absent", () => {
  expect(objectionTo([says(0.08, 50)], null, RULES)).toBeNull();
  expect(objectionTo([says(0.08, 3)], null, RULES)).toContain("3, evaluated by 1");
  expect(objectionTo([says(0.02, 3)], null, RULES)).toBeNull();
});

test("the operator's faces speak for themselves, whatever the clients say", () => {
  const happy = [says(-0.5), says(-0.5), says(-0.5)];
  expect(objectionTo([...happy, says(0.2, 500, "operator")], null, RULES)).toContain("operator");
  expect(objectionTo([...happy, says(0.02, 500, "operator")], null, RULES)).toBeNull();
});

test("a little harm is seen where there are many faces, and so is one that has added up over rounds", () => {
  // What one client can do to a model round after round, by a bias on one expression: the loss rises by 0.01 to 0.08 each time.
  expect(objectionTo([says(0.05, 200), says(0.05, 200), says(0.05, 200)], null, RULES)).toContain(
    "600, evaluated by 3",
  );
  const ofMany = (accuracy: number, baseAccuracy: number, best?: number): Evidence => ({
    kind: "operator",
    examples: 3589,
    loss: 0.7,
    baseLoss: 0.7,
    accuracy,
    baseAccuracy,
    best,
  });
  expect(objectionTo([ofMany(0.718, 0.79)], null, RULES)).toContain(
    "71.8 % of 3589 are recognized, 79.0 % were by its base",
  );
  expect(objectionTo([ofMany(0.785, 0.79)], null, RULES)).toBeNull();
  expect(objectionTo([ofMany(0.785, 0.79, 0.8)], null, RULES)).toContain("80.0 % were by an earlier version");
  // Of forty faces chance alone can take one away.
  expect(objectionTo([{ ...ofMany(0.5, 0.6), examples: 40 }], null, RULES)).toBeNull();
});

test("a round that waits for the operator publishes nothing without its word", () => {
  const waits = { ...RULES, awaitOperator: true };
  expect(objectionTo([says(-0.5), says(-0.5)], null, waits)).toContain("did not answer in time");
  expect(objectionTo([says(-0.5), says(-0.5), says(-0.1, 500, "operator")], null, waits)).toBeNull();
});

test("a candidate that answers otherwise on dreams has forgotten, whoever came", () => {
  const happy = [says(-0.5), says(-0.5), says(-0.5)];
  expect(objectionTo(happy, { agreement: 0.5, divergence: 1 }, RULES)).toContain("50 % of the dreamed faces");
  expect(objectionTo(happy, { agreement: 0.9, divergence: 0.1 }, RULES)).toBeNull();
  expect(objectionTo(happy, { agreement: 0.5, divergence: 1 }, { ...RULES, agreement: 0 })).toBeNull();
});

test("a liar's number of faces moves the bound no more than an honest voice would", () => {
  // Two with one face each are few, whatever a third claims; two with 25 are no more than they were.
  expect(objectionTo([says(0.05, 1), says(0.05, 1), says(-5, 48)], null, RULES)).not.toBeNull();
  expect(objectionTo([says(0.07, 25), says(0.07, 25), says(-5, 200)], null, RULES)).toBeNull();
  // The operator's twenty faces are few as well.
  expect(
    objectionTo([{ ...says(0.09, 20, "operator"), accuracy: 0.5, baseAccuracy: 0.9 }], null, RULES),
  ).not.toBeNull();
});

test("fewer than half of the evaluators change no more than as many honest ones would", () => {
  const rise = fc.double({ min: -1000, max: 1000, noNaN: true });
  const claims = fc.array(fc.record({ rise, faces: fc.integer({ min: 1, max: 100_000 }) }), { maxLength: 20 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 50 }),
      fc.double({ min: -0.2, max: 0.2, noNaN: true }),
      claims,
      (count, faces, truth, claimed) => {
        const liars = claimed.slice(0, Math.max(0, Math.ceil(count / 2) - 1));
        const honest = Array.from({ length: count }, () => says(truth, faces));
        const lied = liars.map((one) => says(one.rise, one.faces));
        const truthful = liars.map(() => says(truth, faces));
        expect(objectionTo([...lied, ...honest], null, RULES) === null).toBe(
          objectionTo([...truthful, ...honest], null, RULES) === null,
        );
      },
    ),
  );
});

test("answers are compared by their largest and by their divergence", () => {
  const base = Float32Array.from([2, 0, 0, 0, 2, 0]);
  expect(compareAnswers(base, base, 3)).toEqual({ agreement: 1, divergence: 0 });
  // The second picture is taken for the first class; by SciPy, rel_entr of both rows' softmax, mean over two.
  const other = compareAnswers(base, Float32Array.from([2, 0, 0, 2, 0, 0]), 3);
  expect(other.agreement).toBe(0.5);
  expect(other.divergence).toBeCloseTo(0.680479, 5);
});

test("in a round with noise or secure aggregation the reason gives no evaluator's number away", () => {
  const evidence = [says(0.11, 20), says(0.5323, 37), says(1.9, 30)];
  expect(objectionTo(evidence, null, RULES)).toContain("0.5323");
  for (const hidden of [{ noise: 1 }, { secure: true }]) {
    const reason = objectionTo(evidence, null, { ...RULES, ...hidden });
    expect(reason).toContain("the clients' held-out faces");
    expect(reason).not.toMatch(/\d/);
  }
});
