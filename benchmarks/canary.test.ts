import { describe, expect, test } from "vitest";
import { addGaussian } from "../src/federation/privacy/discrete-gaussian";
import { shareBelow, type Below } from "../src/federation/privacy/adaptive-clip";
import oracle from "../src/federation/privacy/oracle.json";
import { audit, AUDITED, RULES, SERIES, type AuditedSeries, type Rules } from "./canary";
import { clopperPearson } from "./clopper-pearson";

test.each(oracle.limits)("of $seen of $of, scipy has the same limits", ({ seen, of, error, low, high }) => {
  const own = clopperPearson(seen, of, error);
  expect(own.low).toBeCloseTo(low, 10);
  expect(own.high).toBeCloseTo(high, 10);
});

/** The published clip once moved by a count of norms below it, which one client changes by 1, with noise for a change of one half. */
const countedWhole: Rules["nextClip"] = (clip, below: Below, quantile) => {
  const share = Float64Array.of(below.below / below.expected);
  addGaussian(share, 1 / 20);
  return clip * Math.exp(-0.2 * (Math.max(0, Math.min(1, share[0] ?? 0)) - quantile));
};
/** A round with noise once ended at its goal, as one without does, and who came later did not count: without one client another one does. */
const goalFirst: Rules["transition"] = (life, event, now) => {
  if (event.type !== "counted") return RULES.transition(life, event, now);
  const { config } = life;
  const { state, effects } = RULES.transition({ ...life, config: { ...config, noise: 0 } }, event, now);
  return { state: { ...state, config }, effects };
};

const FOLLOWED: AuditedSeries = { ...SERIES, noise: 2, goalCount: 21, others: 21, clipQuantile: 0.5, isLoud: false };
const CROWDED: AuditedSeries = { ...SERIES, goalCount: 4, noise: 2, others: 4, against: true };
const RUNS = 160_000;

describe("an attacker who sees what is published tells no more of one client than the page says", () => {
  test.each(Object.entries(AUDITED))("%s", (_, series) => {
    const { published, atLeast } = audit(series, Math.ceil(60_000 / (series.others + 1) / series.rounds));
    expect(atLeast).toBeLessThan(published);
  });

  test("and of a plain round with noise an attacker does tell something", () => {
    expect(audit(SERIES, 40_000).ratio).toBeGreaterThan(0.3);
  });

  test("where the clip follows the norms", () => {
    const { published, atLeast } = audit(FOLLOWED, RUNS);
    expect(atLeast).toBeLessThan(published);
  });

  test("where more are drawn than the goal", () => {
    const { published, atLeast } = audit(CROWDED, RUNS);
    expect(atLeast).toBeLessThan(published);
  });
});

describe("the audit notices", () => {
  test("a clip that follows a count with noise for half of what one client changes", () => {
    const { published, atLeast } = audit(FOLLOWED, RUNS, { ...RULES, nextClip: countedWhole });
    expect(atLeast).toBeGreaterThan(published);
    // What the count was, the share is not: both follow the same quantile.
    expect(shareBelow({ below: 10, counted: 20, expected: 20 })).toBe(0.5);
  });

  test("a goal that lets another client in for one who leaves", () => {
    const { published, atLeast } = audit(CROWDED, RUNS, { ...RULES, transition: goalFirst });
    expect(atLeast).toBeGreaterThan(published);
  });

  test("noise for a sum that one client changes by twice as much", () => {
    const halved: Rules["noiseRuleOf"] = (config) => {
      const rule = RULES.noiseRuleOf(config);
      return rule && { ...rule, deviation: rule.deviation / 2 };
    };
    const { published, atLeast } = audit({ ...SERIES, noise: 2 }, RUNS, { ...RULES, noiseRuleOf: halved });
    expect(atLeast).toBeGreaterThan(published);
  });
});
