import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { compress, decodeDelta } from "../../src/federation/codecs/delta";
import { CODEC_NAMES } from "../../src/federation/codecs/registry";
import { applyDifference } from "../../src/federation/difference";
import { sha256Hex } from "../../src/base/digest";
import { gunzip, gzip } from "../../src/base/gzip";
import type { Task } from "../../src/federation/protocol";
import { encodeUpdate } from "../../src/federation/update";
import { fetchEdge, TestTask, worst } from "./testing";

const compact = new TestTask("expressions-compact");
const { model } = compact;
const GZIP = { "content-encoding": "gzip" };

test.each(CODEC_NAMES)("updates in %s, gzipped, are averaged as what they decode to", async (codec) => {
  const base = await compact.download(await compact.get<Task>(""));
  await compact.startRound({ goalCount: 2, codec, topShare: 0.05 });
  const examples = [3, 5];
  const decoded: Float32Array[] = [];
  const bytes: number[] = [];
  for (const [i, assignment] of (await compact.cohort(2)).entries()) {
    expect(assignment.plan).toMatchObject({ codec, topShare: 0.05 });
    const delta = compact.randomDelta(i);
    const { payload, decoded: own } = compress(model, delta, undefined, { codec, share: 0.05, seed: i });
    const metadata = compact.metadataFor(assignment, examples[i] ?? 0);
    const body = await gzip(encodeUpdate(model, codec === "float32" ? delta : payload, metadata));
    bytes.push(body.length);
    expect(await compact.upload(assignment, body, GZIP)).toEqual({ status: 202, body: { status: "accepted" } });
    decoded.push(own);
  }
  const next = await compact.download(await compact.published(1));
  const mean = (i: number): number => ((decoded[0]?.[i] ?? NaN) * 3 + (decoded[1]?.[i] ?? NaN) * 5) / 8;
  expect(worst(next, (i) => (base[i] ?? NaN) + mean(i))).toBeLessThan(1e-6);
  const { cohort } = await compact.ended(1);
  expect(cohort.map(({ bytesUp }) => bytesUp).sort()).toEqual(bytes.sort());
});

test("who has the base gets the difference, which leads to the very bytes of the next checkpoint", async () => {
  await compact.startRound({ goalCount: 1, downloadCodec: "int4", rounds: 2 });
  const wanted = (await compact.download(await compact.get<Task>(""))).slice();
  let base = await compact.file(await compact.get<Task>(""));
  for (const version of [1, 2]) {
    const [assignment] = await compact.cohort(1);
    if (!assignment) throw new Error("no cohort");
    const delta = compact.randomDelta(version);
    await compact.send(assignment, delta);
    delta.forEach((value, i) => ((wanted[i] as number) += value));
    const { checkpoint } = await compact.published(version);
    expect(checkpoint.difference?.from).toBe(await sha256Hex(base));
    const response = await fetchEdge(`http://edge/api/checkpoints/${checkpoint.sha256}/difference`);
    const packed = new Uint8Array(await response.arrayBuffer());
    expect(packed.length).toBe(checkpoint.difference?.bytes);
    expect(packed.length).toBeLessThan(checkpoint.bytes / 7);
    base = applyDifference(model, base, await gunzip(packed));
    expect(await sha256Hex(base)).toBe(checkpoint.sha256);
  }
  // What the first difference has lost, the second one has sent: what is left is one step of one rounding, of [-0.05, 0.05].
  const next = await compact.download(await compact.get<Task>(""));
  expect(worst(next, (i) => wanted[i] ?? NaN)).toBeLessThan((0.1 / 7) * 1.3);
});

test("a body that is not what its round and its headers say is refused, and nothing of it is kept", async () => {
  await compact.startRound({ goalCount: 1, codec: "int8" });
  const [assignment] = await compact.cohort(1);
  if (!assignment) throw new Error("no cohort");
  const delta = compact.randomDelta(1);
  const metadata = compact.metadataFor(assignment, 4);
  const { payload } = compress(model, delta, undefined, { codec: "int8", share: 1, seed: 1 });
  const good = encodeUpdate(model, payload, metadata);
  const packed = await gzip(good);
  const refusal = async (body: Uint8Array<ArrayBuffer>, headers: Record<string, string> = GZIP): Promise<unknown[]> => {
    const answer = await compact.upload(assignment, body, headers);
    return [answer.status, answer.body.code];
  };
  expect(await refusal(good)).toEqual([422, "truncated"]); // Not gzip at all.
  expect(await refusal(packed, {})).toEqual([422, "header-too-large"]); // Gzip that is not announced.
  expect(await refusal(packed, { "content-encoding": "br" })).toEqual([415, "unsupported-encoding"]);
  expect(await refusal(packed.slice(0, -9))).toEqual([422, "truncated"]);
  expect(await refusal(await gzip(good.slice(0, -9)))).toEqual([422, "truncated"]);
  expect(await refusal(new Uint8Array([...packed, 1, 2, 3]))).toEqual([422, "truncated"]);
  expect(await refusal(await gzip(encodeUpdate(model, delta, { ...metadata, codec: "float32" })))).toEqual([
    409,
    "wrong-codec",
  ]);
  const lie = { ...GZIP, "content-digest": `sha-256=:${btoa("\0".repeat(32))}:` };
  expect(await refusal(packed, lie)).toEqual([422, "wrong-digest"]);
  expect((await env.STORE.list({ prefix: "updates/" })).objects).toEqual([]);

  expect((await compact.upload(assignment, packed, GZIP)).status).toBe(202);
  const base = await compact.download({ checkpoint: assignment.checkpoint });
  const next = await compact.download(await compact.published(1));
  const decoded = decodeDelta(model, payload, "int8");
  expect(worst(next, (i) => (base[i] ?? NaN) + (decoded[i] ?? NaN))).toBeLessThan(1e-6);
});

test("a bomb is refused after its first megabytes, whatever it would unpack to", async () => {
  await compact.startRound({ goalCount: 1, codec: "topk" });
  const [assignment] = await compact.cohort(1);
  if (!assignment) throw new Error("no cohort");
  // An update that is right until its end, and then goes on with zeros: 600 MB of them, in 0.6 MB.
  const { payload } = compress(model, compact.randomDelta(1), undefined, { codec: "topk", share: 0.01, seed: 1 });
  const update = encodeUpdate(model, payload, compact.metadataFor(assignment, 4));
  const gigabytes = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(update);
    },
    pull: (() => {
      const zeros = new Uint8Array(1 << 20);
      let left = 600;
      return (controller: ReadableStreamDefaultController<Uint8Array>) => {
        if (left-- > 0) controller.enqueue(zeros);
        else controller.close();
      };
    })(),
  });
  const bomb = new Uint8Array(await new Response(gigabytes.pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
  expect(bomb.length).toBeLessThan(1_000_000);
  expect(await compact.upload(assignment, bomb, GZIP)).toMatchObject({ status: 422, body: { code: "wrong-length" } });
  expect((await env.STORE.list({ prefix: "updates/" })).objects).toEqual([]);
});
