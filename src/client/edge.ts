import * as v from "valibot";
import { FederatedClient } from "../federation/federated-client";
import { sign, type Signable } from "../federation/signing";
import {
  alertsSchema,
  checkpointsSchema,
  deadLettersSchema,
  historySchema,
  invitationsSchema,
  liveEventSchema,
  newInvitationSchema,
  READING,
  READING_EVERY,
  roundSchema,
  sharedSchema,
  taskEventsSchema,
  taskSchema,
  type Alerts,
  type CheckpointRecord,
  type DeadLetter,
  type History,
  type Invitation,
  type InvitationRequest,
  type LiveEvent,
  type NewInvitation,
  type Note,
  type Round,
  type RoundConfig,
  type Shared,
  type Task,
  type TaskEvent,
} from "../federation/protocol";
import type { TaskName } from "../federation/tasks/registry";
import { EdgeAwayError, edgeNow, EdgeRefusalError, noteClock, PATIENCE, request } from "./http";
import { sent } from "./sent.svelte";
import type { SentName } from "../faces/kept";

export const api = (task: TaskName): string => `/api/tasks/${task}`;

/** The header that has the administrator's token. */
export const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

/** What a call sends, by the name that the device's own log has for it. */
function nameOf(path: string): SentName {
  if (path.endsWith("/check-ins")) return "check-in";
  if (path.includes("/secure/")) return "secure";
  if (path.includes("/evaluations/")) return "evaluation";
  return path.includes("/updates/") ? "update" : "admin";
}

/** As `request` of http.ts, and counted in the device's own log. */
function send(path: string, init?: RequestInit, patience?: number): Promise<Response> {
  const { body } = init ?? {};
  if (typeof body === "string" || body instanceof Uint8Array) void sent.count(nameOf(path), body.length);
  return request(path, init, patience);
}

type SignedInit = Pick<Signable, "method" | "headers" | "body"> & { signal?: AbortSignal };

/** A request that the edge knows to come from this client. @throws EdgeAwayError, EdgeRefusalError, or the signal's reason. */
async function signedRequest(path: string, key: CryptoKeyPair, init: SignedInit, patience: number): Promise<Response> {
  const { method, body, headers = {}, signal } = init;
  const attempt = async (): Promise<Response> => {
    const url = new URL(path, location.origin).href;
    const signed = await sign({ method, url, headers, body }, key, edgeNow());
    return send(path, { method, headers: signed, body: body ?? null, signal: signal ?? null }, patience);
  };
  try {
    return await attempt();
  } catch (error) {
    // The refusal told the time.
    if (!(error instanceof EdgeRefusalError && error.code === "stale")) throw error;
    return attempt();
  }
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

/** What the edge answers, checked. @throws EdgeAwayError, EdgeRefusalError */
export async function read<S extends v.GenericSchema>(
  schema: S,
  path: string,
  init?: RequestInit,
  patience?: number,
): Promise<v.InferOutput<S>> {
  const response = await send(path, init, patience);
  noteClock(response);
  return v.parse(schema, await jsonOf(response, init?.signal));
}

export const getTask = (task: TaskName, signal?: AbortSignal): Promise<Task> =>
  read(taskSchema, api(task), signal ? { signal } : {});

/** Where other machines find this server, as a browser on its own machine is told. */
export const getShared = (): Promise<Shared> => read(sharedSchema, "/api/share");

/** The latest rounds, or those before one. */
export const getHistory = (task: TaskName, before?: number): Promise<History> =>
  read(historySchema, `${api(task)}/rounds${before === undefined ? "" : `?before=${before}`}`);

/** A round with all its members. */
export const getRound = (task: TaskName, number: number): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds/${number}`);

export const startRounds = (task: TaskName, config: RoundConfig, token: string): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds`, {
    method: "POST",
    body: JSON.stringify(config),
    headers: bearer(token),
  });

export const stopRound = (task: TaskName, token: string): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds/current`, { method: "DELETE", headers: bearer(token) });

/** What happened lately, the newest first. */
export const getEvents = (task: TaskName): Promise<TaskEvent[]> => read(taskEventsSchema, `${api(task)}/events`);

export const getAlerts = (task: TaskName, token: string): Promise<Alerts> =>
  read(alertsSchema, `${api(task)}/alerts`, { headers: bearer(token) });

export const setAlerts = (task: TaskName, alerts: Alerts, token: string): Promise<Alerts> =>
  read(alertsSchema, `${api(task)}/alerts`, {
    method: "PUT",
    body: JSON.stringify(alerts),
    headers: bearer(token),
  });

/** Writes an operator's words on a round in the place of those before. */
export const setNote = (task: TaskName, round: number, note: Note, token: string): Promise<Round> =>
  read(roundSchema, `${api(task)}/rounds/${round}/note`, {
    method: "PUT",
    body: JSON.stringify(note),
    headers: bearer(token),
  });

export const makeInvitation = (task: TaskName, wanted: InvitationRequest, token: string): Promise<NewInvitation> =>
  read(newInvitationSchema, `${api(task)}/invitations`, {
    method: "POST",
    body: JSON.stringify(wanted),
    headers: bearer(token),
  });

export const getInvitations = (task: TaskName, token: string): Promise<Invitation[]> =>
  read(invitationsSchema, `${api(task)}/invitations`, { headers: bearer(token) });

export async function revokeInvitation(task: TaskName, id: string, token: string): Promise<void> {
  await send(`${api(task)}/invitations/${id}`, { method: "DELETE", headers: bearer(token) });
}

export const getCheckpoints = (task: TaskName): Promise<CheckpointRecord[]> =>
  read(checkpointsSchema, `${api(task)}/checkpoints`);

export const restoreCheckpoint = (task: TaskName, version: number, token: string): Promise<CheckpointRecord[]> =>
  read(checkpointsSchema, `${api(task)}/checkpoints/${version}/restore`, { method: "POST", headers: bearer(token) });

export const getDeadLetters = (task: TaskName, token: string): Promise<DeadLetter[]> =>
  read(deadLettersSchema, `${api(task)}/dead-letters`, { headers: bearer(token) });

export async function replayDeadLetter(task: TaskName, id: string, token: string): Promise<void> {
  await send(`${api(task)}/dead-letters/${id}/replay`, { method: "POST", headers: bearer(token) });
}

/**
 * This device as a client: its calls throw EdgeAwayError, EdgeRefusalError, or the signal's reason.
 * @param signal ends what is under way
 */
export const clientOf = (signal?: AbortSignal): FederatedClient =>
  new FederatedClient(async ({ path, ...init }, key) => {
    // An update takes as long as a line takes.
    const patience = init.method === "PUT" ? PATIENCE.transfer : PATIENCE.question;
    const response = await signedRequest(path, key, { ...init, ...(signal && { signal }) }, patience);
    return jsonOf(response, signal);
  });

/**
 * Listens to the rounds over a WebSocket and connects again when it breaks, after up to one second, then two, up to thirty: by chance not
 * at once with all the others who have lost the same edge.
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
  // A socket to nowhere is silent for minutes; the browser knows at once that its network has gone, and when it is back.
  const noticing = new AbortController();
  addEventListener("offline", () => socket?.close(), { signal: noticing.signal });
  addEventListener(
    "online",
    () => {
      clearTimeout(timer);
      if (socket?.readyState !== WebSocket.OPEN) connect();
    },
    { signal: noticing.signal },
  );
  const connect = (): void => {
    const opened = new WebSocket(`${location.origin.replace("http", "ws")}${api(task)}/live`);
    let read = 0;
    socket = opened;
    socket.onmessage = ({ data }) => {
      delay = 1000;
      read += 1;
      if (read % READING_EVERY === 0) opened.send(READING);
      onConnected(true);
      const event = v.safeParse(liveEventSchema, JSON.parse(String(data)));
      // A newer edge may have more to say than this page understands.
      if (event.success) onEvent(event.output);
    };
    opened.onclose = () => {
      if (ended || socket !== opened) return;
      onConnected(false);
      timer = setTimeout(connect, delay * (0.5 + Math.random() / 2));
      delay = Math.min(30_000, delay * 2);
    };
  };
  connect();
  return () => {
    ended = true;
    noticing.abort();
    clearTimeout(timer);
    socket?.close();
  };
}
