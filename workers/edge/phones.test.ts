import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { encodeUpdate } from "../../src/federation/update";
import { createSigningKey } from "../../src/federation/signing";
import type { CheckInAnswer } from "../../src/federation/protocol";
import { networkOf } from "./address";
import { limitByAddress } from "./limits";
import { fetchEdge, TestTask } from "./testing";

const PHONES = 30;
/** The one address that a room's router shows. */
const ROUTER = { "cf-connecting-ip": "198.51.100.23" };

const task = new TestTask("expressions-compact");

test("thirty phones behind one address play, train, send and evaluate in one minute, and none is told to wait", async () => {
  await task.startRound({
    goalCount: PHONES,
    overSelection: 1,
    evaluators: PHONES,
    evaluationSeconds: 600,
    tolerance: 1000,
    agreement: 0,
  });
  const phones = await Promise.all(Array.from({ length: PHONES }, createSigningKey));
  const body = JSON.stringify({ examples: 20, heldOut: 5, round: 1 });
  const checkIn = async (key: CryptoKeyPair): Promise<CheckInAnswer> => {
    const response = await task.fetchSigned("/check-ins", key, { method: "POST", body, headers: ROUTER });
    expect(response.status).toBe(200);
    return response.json();
  };
  const get = async (path: string): Promise<Response> => {
    const response = await fetchEdge(`http://edge${path}`, { headers: ROUTER });
    expect(response.status, path).toBe(200);
    return response;
  };

  // Each opens the game, and asks as often as it would in a minute of waiting.
  for (const key of phones) {
    await get("/api/tasks/expressions-compact");
    for (let i = 0; i < 10; i++) await checkIn(key);
  }
  for (const [i, key] of phones.entries()) {
    const answer = await checkIn(key);
    if (answer.decision !== "train") throw new Error(`not selected: ${JSON.stringify(answer)}`);
    const { assignment } = answer;
    const file = await get(`/api/checkpoints/${assignment.checkpoint.sha256}`);
    expect((await file.arrayBuffer()).byteLength).toBe(assignment.checkpoint.bytes);
    const update = encodeUpdate(task.model, task.randomDelta(i + 1), task.metadataFor(assignment, 20));
    const sent = await task.fetchSigned(`/rounds/1/updates/${assignment.id}`, key, {
      method: "PUT",
      body: update,
      headers: ROUTER,
    });
    expect(sent.status).toBe(202);
  }
  await task.until(({ rounds }) => rounds[0]?.state === "evaluating", "all updates are averaged");
  for (const key of phones) {
    const answer = await checkIn(key);
    if (answer.decision !== "evaluate") throw new Error(`not asked: ${JSON.stringify(answer)}`);
    const found = { examples: 5, loss: 1, accuracy: 0.6, baseLoss: 1, baseAccuracy: 0.6 };
    const sent = await task.fetchSigned(`/evaluations/${answer.evaluation.id}`, key, {
      method: "POST",
      body: JSON.stringify(found),
      headers: ROUTER,
    });
    expect(sent.status).toBe(200);
  }
  const round = await task.ended(1);
  expect(round).toMatchObject({
    state: "published",
    tally: { counted: PHONES },
    evidence: { cohort: { clients: PHONES } },
  });
});

test("the addresses that one IPv6 network has count as one: it has more than anybody could count", async () => {
  expect(networkOf("2001:db8:12:34:aaaa::1")).toBe("2001:db8:12:34::/64");
  expect(networkOf("2001:0DB8:0012:0034:0:0:0:2")).toBe("2001:db8:12:34::/64");
  expect(networkOf("2001:db8::7")).toBe("2001:db8:0:0::/64");
  expect(networkOf("::1")).toBe("0:0:0:0::/64");
  expect(networkOf("::ffff:192.0.2.9")).toBe("192.0.2.9");
  expect(networkOf("192.0.2.9")).toBe("192.0.2.9");

  const guess = async (address: string): Promise<number> => {
    const headers = { "cf-connecting-ip": address, authorization: `Bearer guess` };
    return (await fetchEdge("http://edge/api/tasks/expressions-compact/dead-letters", { headers })).status;
  };
  for (let i = 0; i < 10; i++) expect(await guess(`2001:db8:0:1::${i}`)).toBe(401);
  expect(await guess("2001:db8:0:1:ffff::1")).toBe(429);
  expect(await guess("2001:db8:0:2::1")).toBe(401);
});

/** Counts as the platform's limiter does, within one minute. */
const limiterOf = (limit: number): RateLimit => {
  const counts = new Map<string, number>();
  return {
    limit: ({ key }) => {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return Promise.resolve({ success: (counts.get(key) ?? 0) <= limit });
    },
  };
};

test("neither a phone that asks without end nor a flood without signatures keeps neighbours or the administrator out", async () => {
  const limits = { KEY_LIMIT: limiterOf(600), ADDRESS_LIMIT: limiterOf(6000) };
  const isLetIn = async (headers: Record<string, string>): Promise<boolean> => {
    const request = new Request("http://edge/api/health", { headers: { ...ROUTER, ...headers } });
    return limitByAddress(request, { ...env, ...limits }).then(
      () => true,
      () => false,
    );
  };
  const signed = (key: string) => ({
    "signature-input": `client=("@method");created=1;keyid="${key}";tag="best-actor"`,
  });
  const times = async (count: number, headers: Record<string, string>): Promise<number> => {
    let letIn = 0;
    for (let i = 0; i < count; i++) if (await isLetIn(headers)) letIn += 1;
    return letIn;
  };
  expect(await times(10_000, signed("loud"))).toBe(600);
  expect(await times(600, signed("quiet"))).toBe(600);
  expect(await times(7_000, {})).toBe(6_000);
  expect(await isLetIn(signed("third"))).toBe(true);
  expect(await isLetIn({ authorization: `Bearer ${env.ADMIN_TOKEN}` })).toBe(true);
  expect(await isLetIn({ authorization: "Bearer guess" })).toBe(false);
});
