import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seededRandom } from "../src/base/random";
import { addGaussian } from "../src/federation/privacy/discrete-gaussian";
import { shareBelow } from "../src/federation/privacy/adaptive-clip";
import oracle from "../src/federation/privacy/oracle.json";
import { audit, AUDITED, RULES, SERIES, SMALL, type AuditedSeries, type Rules } from "./canary";
import { clopperPearson } from "./clopper-pearson";

// @module-tag slow

// An audit errs once in a hundred by its own limits: here it is always the same one, and `npm run bench:audit` draws anew.
const real = { random: Math.random, getRandomValues: crypto.getRandomValues.bind(crypto) };
beforeEach(() => {
  const random = seededRandom(24);
  // A spy would note millions of calls.
  Math.random = random;
  crypto.getRandomValues = (drawn) => {
    if (!(drawn instanceof Uint16Array)) throw new TypeError("Only noise is drawn here.");
    for (let i = 0; i < drawn.length; i++) drawn[i] = random() * 2 ** 16;
    return drawn;
  };
});
afterEach(() => {
  Math.random = real.random;
  crypto.getRandomValues = real.getRandomValues;
});

test.each(oracle.limits)("of $seen of $of, scipy has the same limits", ({ seen, of, error, low, high }) => {
  const own = clopperPearson(seen, of, error);
  expect(own.low).toBeCloseTo(low, 10);
  expect(own.high).toBeCloseTo(high, 10);
});

/** The published clip once moved by a count of norms below it, which one client changes by 1, with noise for a change of one half. */
const countedWhole: Rules["afterRound"] = (before, facts) => {
  const { next, ...rest } = RULES.afterRound(before, facts);
  const share = Float64Array.of(facts.below / before.goalCount);
  addGaussian(share, 1 / 20);
  const told = Math.max(0, Math.min(1, share[0] ?? 0));
  const updateClip = before.updateClip * Math.exp(-0.2 * (told - before.clipQuantile));
  return { ...rest, next: next && { ...next, updateClip } };
};
/** A round with noise once ended at its goal, as one without does, and who came later did not count: without one client another one does. */
const goalFirst: Rules["transition"] = (life, event, now) => {
  if (event.type !== "counted") return RULES.transition(life, event, now);
  const { config } = life;
  const { state, effects } = RULES.transition({ ...life, config: { ...config, noise: 0 } }, event, now);
  return { state: { ...state, config }, effects };
};
/** A draw that gave few was once given up, where everybody could see it. */
const smallGivenUp: Rules["transition"] = (life, event, now) => {
  if (event.type !== "drawn") return RULES.transition(life, event, now);
  const { config } = life;
  const { state, effects } = RULES.transition({ ...life, config: { ...config, secure: true } }, event, now);
  return { state: { ...state, config }, effects };
};
/** Once it ended as soon as all had come. */
const endsAlone: Rules["transition"] = (life, event, now) => {
  const { state, effects } = RULES.transition(life, event, now);
  const isAlone = event.type === "counted" && state.state === "training" && state.tally.training === 0;
  return isAlone ? RULES.transition({ ...state, deadline: now }, { type: "time" }, now) : { state, effects };
};

const FOLLOWED: AuditedSeries = { ...SERIES, noise: 2, goalCount: 21, others: 21, clipQuantile: 0.5, isLoud: false };
const CROWDED: AuditedSeries = { ...SERIES, goalCount: 4, noise: 2, others: 4, against: true };
/** Nobody is drawn once in 37 rounds, and with one more client once in 123: enough to tell, in a few seconds, that it can be seen. */
const HARDLY: AuditedSeries = { ...SMALL, others: 3, fraction: 0.7 };
const RUNS = 100_000;

describe("an attacker who sees what is published tells no more of one client than the page says", () => {
  test.each(Object.entries(AUDITED))("%s", (_, series) => {
    const { published, atLeast } = audit(series, Math.ceil(30_000 / (series.others + 1) / series.rounds));
    expect(atLeast).toBeLessThan(published);
  });

  test("and of a plain round with noise an attacker does tell something", () => {
    expect(audit(SERIES, 20_000).ratio).toBeGreaterThan(0.3);
  });

  test("where the clip follows the norms", () => {
    const { published, atLeast } = audit(FOLLOWED, RUNS / 10);
    expect(atLeast).toBeLessThan(published);
  });

  test("where hardly anybody is drawn", () => {
    const { published, atLeast } = audit(HARDLY, RUNS / 10);
    expect(atLeast).toBeLessThan(published);
  });

  test("where more are drawn than the goal", () => {
    const { published, atLeast } = audit(CROWDED, RUNS / 10);
    expect(atLeast).toBeLessThan(published);
  });
});

describe("the audit notices", () => {
  // These two take minutes beside everything else: `npm run test:soak` has them.
  test.runIf(process.env["SOAK"])("a clip that follows a count with noise for half of what one client changes", () => {
    const { published, atLeast } = audit(FOLLOWED, 0.6 * RUNS, { ...RULES, afterRound: countedWhole });
    expect(atLeast).toBeGreaterThan(published);
    // What the count was, the share is not: both follow the same quantile.
    expect(shareBelow({ below: 10, counted: 20, expected: 20 })).toBe(0.5);
  });

  test.runIf(process.env["SOAK"])("a goal that lets another client in for one who leaves", () => {
    const { published, atLeast } = audit(CROWDED, RUNS, { ...RULES, transition: goalFirst });
    expect(atLeast).toBeGreaterThan(published);
  });

  test.each<[string, Partial<Rules>]>([
    ["a draw of few that is given up where everybody sees it", { transition: smallGivenUp }],
    ["a round that ends when all have come", { transition: endsAlone }],
    ["a cohort that is told", { shown: (round) => round }],
  ])("%s", (_, fault) => {
    const { published, atLeast } = audit(HARDLY, RUNS / 8, { ...RULES, ...fault });
    // Of ten audits with a fault none has stayed below 0.6.
    expect(published).toBeLessThan(0.12);
    expect(atLeast).toBeGreaterThan(published);
  });

  test("noise for a sum that one client changes by twice as much", () => {
    const halved: Rules["noiseRuleOf"] = (config) => {
      const rule = RULES.noiseRuleOf(config);
      return rule && { ...rule, deviation: rule.deviation / 2 };
    };
    const { published, atLeast } = audit({ ...SERIES, noise: 2 }, RUNS / 2, { ...RULES, noiseRuleOf: halved });
    expect(atLeast).toBeGreaterThan(published);
  });
});
