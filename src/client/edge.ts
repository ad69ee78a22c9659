import { sign, type Signable } from "../core/signing";
import * as v from "valibot";
import { applyDifference } from "../core/difference";
import { sha256Hex } from "../core/digest";
import { gunzip } from "../core/gzip";
import { secureStepSchema, type SecureMessage, type SecureStep } from "../core/secagg/messages";
import { MODELS, summarize, type ModelSummary } from "../core/model";
import {
  checkInAnswerSchema,
  checkpointsSchema,
  deadLettersSchema,
  historySchema,
  liveEventSchema,
  problemSchema,
  roundSchema,
  taskSchema,
  TASKS,
  type Assignment,
  type CheckIn,
  type CheckInAnswer,
  type CheckpointInfo,
  type CheckpointRecord,
  type DeadLetter,
  type Evaluation,
  type EvaluationTask,
  type History,
  type LiveEvent,
  type Round,
  type RoundConfig,
  type Task,
  type TaskName,
} from "../core/protocol";

import { sent, type SentName } from "./sent.svelte";

/** The edge could not be reached: it is away, or the device is offline. Trying again later is the thing to do. */
export class EdgeAwayError extends Error {
  override readonly name = "EdgeAwayError";
}

/** The edge answered, and said no. */
export class EdgeRefusalError extends Error {
  override readonly name = "EdgeRefusalError";
  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const api = (task: TaskName): string => `/api/tasks/${task}`;

const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

/** An answer that takes longer than this is not coming: seconds for a question, and for a whole update or checkpoint. */
const PATIENCE = { question: 30, transfer: 600 };

/** What a call sends, by the name that the device's own log has for it. */
function nameOf(path: string): SentName {
  if (path.endsWith("/check-ins")) return "check-in";
  if (path.includes("/secure/")) return "secure";
  if (path.includes("/evaluations/")) return "evaluation";
  return path.includes("/updates/") ? "update" : "admin";
}

/** How far the edge's clock is ahead of this device's, in milliseconds, as its last answer says. */
let clockAhead = 0;

/** What the edge's clock says, Unix time in milliseconds: a device's own may be years off. */
export const edgeNow = (): number => Date.now() + clockAhead;

function noteClock(response: Response): void {
  const date = Date.parse(response.headers.get("date") ?? "");
  if (Number.isFinite(date)) clockAhead = date - Date.now();
}

type SignedInit = Pick<Signable, "method" | "headers" | "body"> & { signal?: AbortSignal };

/** A request that the edge knows to come from this client. @throws EdgeAwayError, EdgeRefusalError, or the signal's reason. */
async function signedRequest(
  path: string,
  key: CryptoKeyPair,
  init: SignedInit,
  patience = PATIENCE.question,
): Promise<Response> {
  const { method, body, headers = {}, signal } = init;
  const attempt = async (): Promise<Response> => {
    const url = new URL(path, location.origin).href;
    const signed = await sign({ method, url, headers, body }, key, edgeNow());
    return request(path, { method, headers: signed, body: body ?? null, signal: signal ?? null }, patience);
  };
  try {
    return await attempt();
  } catch (error) {
    // The refusal told the time.
    if (!(error instanceof EdgeRefusalError && error.code === "stale")) throw error;
    return attempt();
  }
}

async function readSigned<S extends v.GenericSchema>(
  schema: S,
  ...args: Parameters<typeof signedRequest>
): Promise<v.InferOutput<S>> {
  return v.parse(schema, await jsonOf(await signedRequest(...args), args[2].signal));
}

/** @throws EdgeAwayError where the answer breaks off, or the signal's reason. */
async function jsonOf(response: Response, signal?: AbortSignal | null): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    throw new EdgeAwayError("The server's answer broke off.", { cause: error });
  }
}

/** @throws EdgeAwayError, EdgeRefusalError, or the signal's reason. */
async function request(path: string, init?: RequestInit, patience = PATIENCE.question): Promise<Response> {
  const timeout = AbortSignal.timeout(patience * 1000);
  const signal = init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  const { body } = init ?? {};
  if (typeof body === "string" || body instanceof Uint8Array) void sent.count(nameOf(path), body.length);
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal });
  } catch (error) {
    init?.signal?.throwIfAborted();
    throw new EdgeAwayError("The server cannot be reached.", { cause: error });
  }
  if (response.ok) return response;
  const problem = v.safeParse(problemSchema, await response.json().catch(() => undefined));
  if (problem.success && problem.output.status < 500) {
    noteClock(response);
    throw new EdgeRefusalError(problem.output.code, problem.output.status, problem.output.detail);
  }
  throw new EdgeAwayError(`The server answered with ${response.status} ${response.statusText}.`);
}

async function read<S extends v.GenericSchema>(schema: S, path: string, init?: RequestInit): Promise<v.InferOutput<S>> {
  const response = await request(path, init);
  noteClock(response);
  return v.parse(schema, await jsonOf(response, init?.signal));
}

export const getTask = (task: TaskName, signal?: AbortSignal): Promise<Task> =>
  read(taskSchema, api(task), signal ? { signal } : {});

export const getHistory = (task: TaskName): Promise<History> => read(historySchema, `${api(task)}/rounds`);

export const checkIn = (
  task: TaskName,
  client: CheckIn,
  key: CryptoKeyPair,
  signal: AbortSignal,
): Promise<CheckInAnswer> =>
  readSigned(checkInAnswerSchema, `${api(task)}/check-ins`, key, {
    ...{ method: "POST", body: JSON.stringify(client), signal },
  });

/** Answers an evaluation. Sending it again is harmless. */
export async function sendEvaluation(
  { task, id }: EvaluationTask,
  evaluation: Evaluation,
  key: CryptoKeyPair,
  signal: AbortSignal,
): Promise<void> {
  const body = JSON.stringify(evaluation);
  await signedRequest(`${api(task)}/evaluations/${id}`, key, { method: "POST", body, signal });
}

export const startRounds = (task: TaskName, config: RoundConfig, token: string): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds`, {
    method: "POST",
    body: JSON.stringify(config),
    headers: bearer(token),
  });

export const stopRound = (task: TaskName, token: string): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds/current`, { method: "DELETE", headers: bearer(token) });

export const getCheckpoints = (task: TaskName): Promise<CheckpointRecord[]> =>
  read(checkpointsSchema, `${api(task)}/checkpoints`);

export const restoreCheckpoint = (task: TaskName, version: number, token: string): Promise<CheckpointRecord[]> =>
  read(checkpointsSchema, `${api(task)}/checkpoints/${version}/restore`, { method: "POST", headers: bearer(token) });

export const getDeadLetters = (task: TaskName, token: string): Promise<DeadLetter[]> =>
  read(deadLettersSchema, `${api(task)}/dead-letters`, { headers: bearer(token) });

export async function replayDeadLetter(task: TaskName, id: string, token: string): Promise<void> {
  await request(`${api(task)}/dead-letters/${id}/replay`, { method: "POST", headers: bearer(token) });
}

/** Answers the edge in a round with secure aggregation, or only asks it what is next. Doing so again is harmless. */
export const secureStep = (
  { task, round, id }: Pick<Assignment, "task" | "round" | "id">,
  message: SecureMessage | undefined,
  key: CryptoKeyPair,
  signal: AbortSignal,
): Promise<SecureStep> =>
  readSigned(secureStepSchema, `${api(task)}/rounds/${round}/secure/${id}`, key, {
    ...(message ? { method: "POST", body: JSON.stringify(message) } : { method: "GET" }),
    signal,
  });

/** Sends an update: gzipped, or a masked vector, which nothing makes smaller. Sending it again is harmless. */
export async function sendUpdate(
  { task, round, id, secure }: Assignment,
  update: Uint8Array<ArrayBuffer>,
  key: CryptoKeyPair,
  signal: AbortSignal,
): Promise<void> {
  const headers = { "content-type": "application/octet-stream", ...(!secure && { "content-encoding": "gzip" }) };
  const init: SignedInit = { method: "PUT", body: update, headers, signal };
  await signedRequest(`${api(task)}/rounds/${round}/updates/${id}`, key, init, PATIENCE.transfer);
}

/** Takes an update back, if no mean has been made of it yet. */
export async function withdrawUpdate(
  { task, round, id }: Pick<Assignment, "task" | "round" | "id">,
  key: CryptoKeyPair,
): Promise<"withdrawn" | "too-late"> {
  const answer = v.object({ status: v.picklist(["withdrawn", "too-late"]) });
  return (await readSigned(answer, `${api(task)}/rounds/${round}/updates/${id}`, key, { method: "DELETE" })).status;
}

/** A download does not match its SHA-256. */
export class IntegrityError extends Error {
  override readonly name = "IntegrityError";
}

export const CHECKPOINT_CACHE = "checkpoints";

/**
 * A checkpoint's file: from this device if it is here, else from the edge, as the difference to one that is here where there is
 * such a difference. Its SHA-256 is checked either way. The latest two are kept.
 * @returns the file, and how many bytes were downloaded for it.
 * @throws IntegrityError, EdgeAwayError, EdgeRefusalError
 */
export async function getCheckpoint(
  task: TaskName,
  { sha256, bytes, difference }: CheckpointInfo,
  onProgress?: (share: number) => void,
  signal?: AbortSignal,
): Promise<{ file: Uint8Array<ArrayBuffer>; bytesDown: number }> {
  const cache = await caches.open(CHECKPOINT_CACHE);
  const known = await fromCache(cache, sha256);
  if (known) return { file: known, bytesDown: 0 };
  const base = difference && (await fromCache(cache, difference.from));
  let bytesDown = base ? difference.bytes : 0;
  let file =
    base && (await fromDifference(summarize(MODELS[TASKS[task].model]), base, sha256, difference.bytes, signal));
  if (!file) {
    file = await download(urlOf(sha256), bytes, onProgress, signal);
    bytesDown += bytes;
    if ((await sha256Hex(file)) !== sha256) {
      throw new IntegrityError("The checkpoint does not match its SHA-256. Try again.");
    }
  }
  for (const old of (await cache.keys()).slice(0, -1)) await cache.delete(old);
  await cache.put(urlOf(sha256), new Response(file));
  return { file, bytesDown };
}

const urlOf = (sha256: string): string => `/api/checkpoints/${sha256}`;

/** A checkpoint that is on this device, and undamaged. */
async function fromCache(cache: Cache, sha256: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const cached = await cache.match(urlOf(sha256));
  if (!cached) return undefined;
  const file = new Uint8Array(await cached.arrayBuffer());
  if ((await sha256Hex(file)) === sha256) return file;
  await cache.delete(urlOf(sha256));
  return undefined;
}

/** A checkpoint made of the one before; undefined where that does not lead to it: then there is still the whole. */
async function fromDifference(
  model: ModelSummary,
  base: Uint8Array<ArrayBuffer>,
  sha256: string,
  bytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const packed = await download(`${urlOf(sha256)}/difference`, bytes, undefined, signal);
    const file = applyDifference(model, base, await gunzip(packed));
    return (await sha256Hex(file)) === sha256 ? file : undefined;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof EdgeAwayError) throw error;
    console.warn("The difference to the next checkpoint could not be used:", error);
    return undefined;
  }
}

/** A download that broke off goes on from here: so many bytes are written down at a time. */
const PART_BYTES = 1 << 20;

/**
 * A file of a known length. What has come before it broke off, with the page or with the connection, is kept, and is not
 * downloaded again.
 * @throws IntegrityError when it has another length
 */
async function download(
  url: string,
  bytes: number,
  onProgress?: (share: number) => void,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const cache = await caches.open(CHECKPOINT_CACHE);
  const partUrl = `${url}/part`;
  const file = new Uint8Array(bytes);
  const part = new Uint8Array((await (await cache.match(partUrl))?.arrayBuffer()) ?? new ArrayBuffer());
  let received = part.length < bytes ? part.length : 0;
  const init = { ...(signal && { signal }), ...(received > 0 && { headers: { range: `bytes=${received}-` } }) };
  const response = await request(url, init, PATIENCE.transfer);
  if (response.status !== 206) received = 0;
  file.set(part.subarray(0, received));
  let kept = received;
  const keep = async (): Promise<void> => {
    // A device without room downloads all of it once more.
    await cache.put(partUrl, new Response(file.slice(0, received))).catch(() => undefined);
    kept = received;
  };
  const reader = response.body?.getReader();
  const next = async (): Promise<Uint8Array | undefined> => {
    try {
      return (await reader?.read())?.value;
    } catch (error) {
      await keep();
      signal?.throwIfAborted();
      throw new EdgeAwayError("The download of the model broke off. It goes on from there when you try again.", {
        cause: error,
      });
    }
  };
  for (let part = await next(); part; part = await next()) {
    if (received + part.length > bytes) throw new IntegrityError("The checkpoint is longer than announced.");
    file.set(part, received);
    received += part.length;
    onProgress?.(received / bytes);
    if (received - kept >= PART_BYTES && received < bytes) await keep();
  }
  await cache.delete(partUrl);
  if (received !== bytes) throw new IntegrityError("The checkpoint is shorter than announced. Try again.");
  return file;
}

/**
 * Listens to the rounds over a WebSocket and connects again when it breaks, after one second, then two, up to thirty.
 * @returns what ends it.
 */
export function watchRounds(
  task: TaskName,
  onEvent: (event: LiveEvent) => void,
  onConnected: (connected: boolean) => void,
): () => void {
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let delay = 1000;
  let ended = false;
  const connect = (): void => {
    socket = new WebSocket(`${location.origin.replace("http", "ws")}${api(task)}/live`);
    socket.onmessage = ({ data }) => {
      delay = 1000;
      onConnected(true);
      onEvent(v.parse(liveEventSchema, JSON.parse(String(data))));
    };
    socket.onclose = () => {
      if (ended) return;
      onConnected(false);
      timer = setTimeout(connect, delay);
      delay = Math.min(30_000, delay * 2);
    };
  };
  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    socket?.close();
  };
}
