import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import type { CheckInAnswer, Invitation, NewInvitation, Problem, RoundConfig } from "../../src/federation/protocol";
import { createSigningKey } from "../../src/federation/signing";
import { fetchEdge, TestTask } from "./testing";

const task = new TestTask("expressions-compact");

const invite = async (uses: number, note = ""): Promise<NewInvitation> => {
  const response = await task.admin("POST", "/invitations", { uses, note });
  expect(response.status).toBe(201);
  return response.json();
};

const list = async (): Promise<Invitation[]> => (await task.admin("GET", "/invitations")).json();

const start = (config: Partial<RoundConfig> = {}): Promise<void> =>
  task.startRound({ goalCount: 100, invited: true, ...config });

/** What the edge answers a key that checks in: what to do, or the code of its refusal. */
async function checkIn(key: CryptoKeyPair, invitation?: string, round = 1): Promise<string> {
  const body = JSON.stringify({ examples: 10, round, ...(invitation !== undefined && { invitation }) });
  const response = await task.fetchSigned("/check-ins", key, { method: "POST", body });
  const answer = await response.json<CheckInAnswer | Problem>();
  expect(response.status).toBe("decision" in answer ? 200 : answer.status);
  return "decision" in answer ? (answer.decision === "wait" ? answer.reason : answer.decision) : answer.code;
}

test("a round for invited devices lets in as many keys as an invitation has uses, and each of them as often as it asks", async () => {
  const { token, ...made } = await invite(2, "  front row ");
  expect(made).toMatchObject({ note: "front row", uses: 2, usesLeft: 2 });
  await start();
  const [one, two, three] = [await createSigningKey(), await createSigningKey(), await createSigningKey()];
  for (let i = 0; i < 3; i++) expect(await checkIn(one, token)).toBe("selecting");
  expect(await list()).toEqual([{ ...made, usesLeft: 1 }]);
  expect(await checkIn(two, token)).toBe("selecting");
  expect(await checkIn(three, token)).toBe("invitation-used-up");
  expect(await checkIn(one, token)).toBe("selecting");
  expect(await list()).toEqual([{ ...made, usesLeft: 0 }]);

  // Every round has keys of its own, and the same uses.
  await task.admin("DELETE", "/rounds/current");
  expect(await list()).toEqual([{ ...made, usesLeft: 2 }]);
  await start();
  expect(await checkIn(three, token, 2)).toBe("selecting");
  expect(await list()).toEqual([{ ...made, usesLeft: 1 }]);
});

test("a liar who has one token and makes up as many keys as it likes is one device", async () => {
  const { token } = await invite(1);
  await start();
  const answers = await Promise.all(Array.from({ length: 100 }, async () => checkIn(await createSigningKey(), token)));
  expect(answers.filter((answer) => answer === "selecting")).toHaveLength(1);
  expect(answers.filter((answer) => answer === "invitation-used-up")).toHaveLength(99);
  const waiting = /best_actor_waiting\w*\{task="expressions-compact"\} (\d+)/;
  const metrics = await (await fetchEdge("http://edge/api/metrics")).text();
  expect(waiting.exec(metrics)?.[1]).toBe("1");
});

test("who has no token, guesses one, or has one that was revoked or is another task's, does not take part", async () => {
  const { id, token } = await invite(5);
  const other = new TestTask("expressions");
  const { token: foreign } = await (await other.admin("POST", "/invitations", {})).json<NewInvitation>();
  await start();
  const key = await createSigningKey();
  expect(await checkIn(key)).toBe("not-invited");
  for (let i = 0; i < 50; i++) {
    const guess = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
    expect(await checkIn(key, guess.replaceAll(/[+/]/g, "_").slice(0, 22))).toBe("not-invited");
  }
  expect(await checkIn(await createSigningKey(), foreign)).toBe("not-invited");
  // Neither its digest nor anything else of another form is read as a token.
  expect(await checkIn(key, "x".repeat(64))).toBe("bad-request");
  expect(await checkIn(key, token)).toBe("selecting");
  expect((await task.admin("DELETE", `/invitations/${id}`)).status).toBe(200);
  expect(await checkIn(key, token)).toBe("not-invited");
  expect(await list()).toEqual([]);
  expect((await task.admin("DELETE", `/invitations/${id}`)).status).toBe(404);
});

test("a round that is open to everybody asks nobody for a token, and takes no use of one", async () => {
  const { token } = await invite(1);
  await start({ invited: false });
  expect(await checkIn(await createSigningKey())).toBe("selecting");
  expect(await checkIn(await createSigningKey(), token)).toBe("selecting");
  expect(await checkIn(await createSigningKey(), token)).toBe("selecting");
  expect((await list())[0]?.usesLeft).toBe(1);
});

test("invitations are an administrator's, their tokens lie nowhere, and there are a thousand of them at most", async () => {
  expect((await task.admin("POST", "/invitations", { uses: 1 }, "guess")).status).toBe(401);
  expect((await task.admin("GET", "/invitations", undefined, "guess")).status).toBe(401);
  // A list is no object that leaves all its fields out; nor is it a round, or a change of one.
  for (const path of ["/invitations", "/rounds"]) expect((await task.admin("POST", path, [])).status).toBe(400);
  expect((await task.admin("PATCH", "/rounds/current", [])).status).toBe(400);
  for (const uses of [0, 1001, 1.5]) expect((await task.admin("POST", "/invitations", { uses })).status).toBe(400);
  const tokens = new Set<string>();
  for (let i = 0; i < 1000; i++) tokens.add((await invite(10)).token);
  expect(tokens.size).toBe(1000);
  const more = await task.admin("POST", "/invitations", {});
  expect([more.status, (await more.json<Problem>()).code]).toEqual([409, "too-many-invitations"]);
  const listed = await list();
  expect(listed).toHaveLength(1000);
  expect((await task.admin("DELETE", `/invitations/${listed.at(-1)?.id}`)).status).toBe(200);
  // Their uses have a bound of their own.
  expect((await task.admin("POST", "/invitations", { uses: 11 })).status).toBe(409);

  const stub = env.COORDINATOR.get(env.COORDINATOR.idFromName("expressions-compact"));
  await runInDurableObject(stub, (_, { storage }) => {
    const tables = storage.sql.exec<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'").toArray();
    const names = tables.map(({ name }) => name).filter((name) => !name.startsWith("_cf"));
    const all = JSON.stringify(names.map((name) => storage.sql.exec(`SELECT * FROM "${name}"`).toArray()));
    expect(all).toContain(listed[0]?.id);
    for (const token of tokens) expect(all).not.toContain(token);
  });
  // The last of a thousand is as good as the first.
  await start();
  expect(await checkIn(await createSigningKey(), [...tokens].at(-1))).toBe("selecting");
});

test("the uses of rounds that are over are forgotten", async () => {
  const { token } = await invite(3);
  const stub = env.COORDINATOR.get(env.COORDINATOR.idFromName("expressions-compact"));
  const kept = (): Promise<number> =>
    runInDurableObject(
      stub,
      (_, { storage }) => storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM invitation_uses").one().n,
    );
  for (let round = 1; round <= 5; round++) {
    if (round > 1) await task.admin("DELETE", "/rounds/current");
    await start();
    for (let i = 0; i < 3; i++) expect(await checkIn(await createSigningKey(), token, round)).toBe("selecting");
    expect(await kept()).toBe(3);
  }
});
