import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import type { CheckInAnswer, Problem, Task } from "../../src/federation/protocol";
import { createSigningKey, sign } from "../../src/federation/signing";
import { encodeUpdate } from "../../src/federation/update";
import { fetchEdge, TestTask } from "./testing";

const task = new TestTask("expressions-compact");
const PATH = "/check-ins";
const URL_ = `http://edge/api/tasks/${task.name}${PATH}`;
const body = JSON.stringify({ examples: 4, round: 1 });

const codeOf = async (response: Response): Promise<string> => (await response.json<Problem>()).code;

test("a check-in that is not signed, or signed for something else, is refused and changes nothing", async () => {
  await task.startRound({ goalCount: 2, overSelection: 1 });
  const key = await createSigningKey();
  const post = (headers: Record<string, string>, sent = body): Promise<Response> =>
    fetchEdge(URL_, { method: "POST", headers, body: sent });
  const own = await sign({ method: "POST", url: URL_, body }, key, Date.now());
  const elsewhere = URL_.replace("-compact", "");

  const refused: [Promise<Response>, number, string][] = [
    [post({}), 401, "bad-signature"],
    [post(await sign({ method: "POST", url: elsewhere, body }, key, Date.now())), 401, "bad-signature"],
    [post(await sign({ method: "PUT", url: URL_, body }, key, Date.now())), 401, "bad-signature"],
    [post(own, body.replace("4", "400")), 422, "wrong-digest"],
    [post(await sign({ method: "POST", url: URL_, body }, key, Date.now() - 400_000)), 401, "stale"],
    [post(await sign({ method: "POST", url: URL_, body }, key, Date.now() + 90_000)), 401, "stale"],
  ];
  for (const [answer, status, code] of refused) {
    const response = await answer;
    expect(response.status, code).toBe(status);
    expect(Math.abs(Date.parse(response.headers.get("date") ?? "") - Date.now())).toBeLessThan(60_000);
    expect(await codeOf(response)).toBe(code);
  }
  const { rounds } = await task.until(() => true, "");
  expect(rounds[0]?.waiting).toBe(0);
});

test("the same request counts once, also after the edge was killed", async () => {
  await task.startRound({ goalCount: 2, overSelection: 1 });
  const headers = await sign({ method: "POST", url: URL_, body }, await createSigningKey(), Date.now());
  const post = (): Promise<Response> => fetchEdge(URL_, { method: "POST", headers, body });
  expect((await post()).status).toBe(200);
  expect(await codeOf(await post())).toBe("replayed");
  const stub = env.COORDINATOR.get(env.COORDINATOR.idFromName(task.name));
  await runInDurableObject(stub as DurableObjectStub, (_, state) => {
    state.abort("killed by the test");
  }).catch(() => undefined);
  expect(await codeOf(await post())).toBe("replayed");
});

test("who has not made a key for the open round is told so, as the task tells everybody, and is not counted", async () => {
  const open = async (): Promise<number | null> => (await task.get<Task>("")).round;
  expect(await open()).toBeNull();
  await task.startRound({ goalCount: 1, overSelection: 1 });
  expect(await open()).toBe(1);
  const key = await createSigningKey();
  for (const round of [null, 2]) {
    const response = await task.fetchSigned(PATH, key, {
      method: "POST",
      body: JSON.stringify({ examples: 4, round }),
    });
    expect(await response.json<CheckInAnswer>()).toMatchObject({ decision: "wait", reason: "other-round", round: 1 });
  }
  const response = await task.fetchSigned(PATH, key, { method: "POST", body });
  expect(await response.json<CheckInAnswer>()).toMatchObject({ decision: "train" });
});

test("an update is its client's own: nobody else can send it, take it back, or speak for it", async () => {
  await task.startRound({ goalCount: 2, overSelection: 1 });
  const [one, two] = await task.cohort(2);
  if (!one || !two) throw new Error("no cohort");
  const update = encodeUpdate(task.model, task.randomDelta(1), task.metadataFor(one, 4));
  const path = `/rounds/1/updates/${one.id}`;
  const asTwo = (method: string, sent?: Uint8Array<ArrayBuffer>): Promise<Response> =>
    task.fetchSigned(path, two, { method, ...(sent && { body: sent }) });

  expect(await codeOf(await asTwo("PUT", update))).toBe("other-key");
  expect((await task.fetch(path, { method: "PUT", body: update })).status).toBe(401);
  await task.send(one, task.randomDelta(1));
  expect(await codeOf(await asTwo("DELETE"))).toBe("other-key");
  expect((await task.fetch(path, { method: "DELETE" })).status).toBe(401);
  expect(await codeOf(await task.fetchSigned(`/rounds/1/secure/${one.id}`, two))).toBe("other-key");

  // An upload under the right key, with the bytes of another.
  const mine = encodeUpdate(task.model, task.randomDelta(2), task.metadataFor(two, 4));
  const swapped = await task.fetchSigned(`/rounds/1/updates/${two.id}`, two, { method: "PUT", body: mine }, update);
  expect(await codeOf(swapped)).toBe("wrong-digest");
  const { rounds } = await task.until(() => true, "");
  // What the id's own key has not signed is nothing of the round's.
  expect(rounds[0]?.refused).toEqual({ "wrong-digest": 1 });
});
