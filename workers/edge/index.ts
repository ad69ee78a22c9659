import { Hono, type Context } from "hono";
import * as v from "valibot";
import { PROBLEMS, type ProblemCode } from "../../src/federation/problems";
import {
  alertsSchema,
  checkInSchema,
  evaluationSchema,
  type Evaluation,
  idSchema,
  invitationRequestSchema,
  noteSchema,
  pageSchema,
  roundChangeSchema,
  sha256Schema,
  taskNameSchema,
  whole,
} from "../../src/federation/protocol";
import { roundSchemaOf } from "../../src/federation/default-round";
import { CHANGEABLE, MOST_TASKS, taskChangeSchema, type TaskState } from "../../src/federation/tasks/description";
import { taskRequestSchema } from "../../src/federation/tasks/request";
import { isBuiltIn, taskNamed, type TaskName } from "../../src/federation/tasks/registry";
import { FormatError, MAX_HEADER_BYTES } from "../../src/model/safetensors";
import { secureMessageSchema } from "../../src/federation/secagg/messages";
import { SigningError, verify, type Signer } from "../../src/federation/signing";
import { addressOf, isForeign, isOwnMachine } from "./address";
import { FIRST_CHECKPOINT_MS, MAX_SECURE_BYTES, MAX_TASK_BYTES, parse, readBody, readJson, readSigned } from "./body";
import { catalogueOf, knowAll, knowTask } from "./catalogue";
import { count, countNow } from "./count";
import { checkpointKey, differenceKey, updateKey, type Env, type UpdateMessage } from "./env";
import { readFirst, type FirstCheckpoint } from "./first-checkpoint";
import { limit, limitByAddress, requireAdmin } from "./limits";
import { prometheus } from "./metrics";
import { methodsOf, openApi } from "./openapi";
import { preconditionOf } from "./precondition";
import { ProblemError } from "./problem";
import { takeRoom } from "./room";
import { headOf, lengthOf, modelOf, storeUpdate, type UploadHead } from "./upload";

export { Aggregator } from "./aggregator";
export { Catalogue } from "./catalogue";
export { Coordinator } from "./coordinator";
export { Hub } from "./hub";
export { Judge } from "./judge";

/** The queue of messages that were given up. */
const DEAD_QUEUE = "dead-updates";

const API_HEADERS = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/**
 * Sent only where Cloudflare has ended the TLS: its certificates renew themselves. A browser that has seen it opens this name by HTTPS alone
 * for a year, whatever its port, which would lock out who serves it otherwise tomorrow. Names below are somebody else's.
 */
const STRICT_TRANSPORT = "max-age=31536000";

/** The stateless router. Everything but /api is a static asset, served before this code runs. */
const app = new Hono<{ Bindings: Env }>();

const coordinator = (env: Env, task: TaskName) => env.COORDINATOR.get(env.COORDINATOR.idFromName(task));

/** The task in the path, which is known in this isolate then. @throws ProblemError `not-found` */
async function taskOf(c: Context<{ Bindings: Env }>): Promise<TaskName> {
  const task = c.req.param("task") ?? "";
  if (!v.is(taskNameSchema, task))
    throw new ProblemError("not-found", "No task has such a name; GET /api/tasks lists all.");
  await knowTask(c.env, task);
  return task;
}

/** A number in the path. @throws ProblemError `bad-request` */
function numberOf(c: Context<{ Bindings: Env }>, name: "round" | "version", least: number): number {
  const text = c.req.param(name) ?? "";
  return parse(whole(least, 1e9), /^\d{1,10}$/.test(text) ? Number(text) : NaN);
}

/** Who has signed a request. @throws ProblemError `bad-signature`, `stale` */
async function signerOf(c: Context<{ Bindings: Env }>): Promise<Signer> {
  try {
    return await verify(c.req.raw, Date.now());
  } catch (error) {
    if (error instanceof SigningError) throw new ProblemError(error.code, error.message);
    throw error;
  }
}

/**
 * That a request is signed by the client that its id was given to, and is the first of its kind.
 * @throws ProblemError `bad-signature`, `stale`, `other-key`, `replayed`
 */
async function requireOwner(c: Context<{ Bindings: Env }>, id: string, signer?: Signer): Promise<void> {
  const claim = await coordinator(c.env, await taskOf(c)).claim(signer ?? (await signerOf(c)), id);
  if (claim !== "claimed") throw new ProblemError(claim);
}

/** What the interface answers is data: no page of another origin may use it, and no browser may take it for a page. */
app.use("/api/*", async (c, next) => {
  await next();
  if (c.res.status === 101) return;
  for (const [name, value] of Object.entries(API_HEADERS)) c.res.headers.set(name, value);
  if ((c.req.raw.cf as IncomingRequestCfProperties | undefined)?.tlsVersion) {
    c.res.headers.set("strict-transport-security", STRICT_TRANSPORT);
  }
  // A client whose clock is wrong signs by this one.
  c.res.headers.set("date", new Date().toUTCString());
});

app.use("/api/*", async (c, next) => {
  await limitByAddress(c.req.raw, c.env);
  await next();
});

app.use("/api/*", async (c, next) => {
  const methods = methodsOf(c.req.path);
  if (methods && !methods.includes(c.req.method)) {
    c.header("allow", methods.join(", "));
    throw new ProblemError("method-not-allowed", `Here is only ${methods.join(", ")}.`);
  }
  await next();
});

/** Asks every task for something; one whose object does not start says nothing of the others. */
async function askAll<T>(env: Env, ask: (task: TaskName) => Promise<T>): Promise<[TaskName, T | null][]> {
  const answerOf = async (task: TaskName): Promise<T | null> => {
    try {
      return await ask(task);
    } catch (error) {
      console.error(`The task ${task} does not answer:`, error);
      return null;
    }
  };
  return Promise.all((await knowAll(env)).map(async (task) => [task, await answerOf(task)] as const));
}

app.get("/api/health", async (c) => {
  const versions = await askAll(c.env, async (task) => (await coordinator(c.env, task).task()).checkpoint.version);
  const silent = versions.filter(([, version]) => version === null).map(([task]) => task);
  const checkpoints = Object.fromEntries(versions.filter(([, version]) => version !== null));
  return c.json({ ok: silent.length === 0, checkpoints, silent }, silent.length === 0 ? 200 : 503);
});

app.get("/api/problems", (c) => c.json(PROBLEMS));

app.get("/api/openapi.json", (c) => c.json(openApi()));

app.get("/api/metrics", async (c) => {
  const tasks = await askAll(c.env, (task) => coordinator(c.env, task).metrics());
  return c.text(prometheus(tasks), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
});

/** Nobody but the machine's own browser needs to be told: everybody else has come by one of these origins. */
app.get("/api/share", async (c) => {
  const { SHARED } = c.env;
  const isAsked = SHARED !== undefined && isOwnMachine(addressOf(c.req.raw, c.env));
  return c.json({ origins: isAsked ? await (await SHARED.fetch("http://shared/")).json<string[]>() : [] });
});

app.get("/api/tasks", async (c) => {
  return c.body(await catalogueOf(c.env).listText(), 200, { "content-type": "application/json" });
});

const SEE_REVISION = "GET /api/tasks says what there is, and its revision.";

/** Adds a task, or describes one otherwise, where it is as the request's precondition has it. */
app.put("/api/tasks/:task", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const task = parse(taskNameSchema, c.req.param("task"));
  if (isBuiltIn(task)) throw new ProblemError("built-in");
  const { isAsked, holds } = preconditionOf(c.req.raw);
  const { state, ...added } = await readJson(c.req.raw, taskRequestSchema, MAX_TASK_BYTES);
  const revision = (await catalogueOf(c.env).get(task))?.revision;
  if (!holds(revision)) throw new ProblemError("changed-meanwhile", SEE_REVISION);
  const answer = revision === undefined ? await catalogueOf(c.env).add(task, added, state ?? "open") : "known";
  // Two have added it at once.
  if (revision === undefined && answer === "known" && isAsked)
    throw new ProblemError("changed-meanwhile", SEE_REVISION);
  if (answer === "full") throw new ProblemError("too-many-tasks", `There may be ${MOST_TASKS} that were added.`);
  await knowTask(c.env, task);
  if (answer === "added") {
    try {
      // Its first version is made here, and not with the first player: whatever cannot be, fails before anybody comes.
      await coordinator(c.env, task).task();
    } catch (error) {
      await catalogueOf(c.env).remove(task);
      throw error;
    }
    if (state === "retired") await setState(c.env, task, state);
    return c.json(await coordinator(c.env, task).task(), 201);
  }
  const refused = await coordinator(c.env, task).redescribe(added, state, isAsked ? revision : undefined);
  if (refused === "changed-meanwhile") throw new ProblemError(refused, SEE_REVISION);
  if (refused === "has-rounds")
    throw new ProblemError(
      refused,
      `Of a task with rounds, ${CHANGEABLE.join(", ")} and the labels' words and how may change.`,
    );
  if (refused) throw new ProblemError(refused, STOP_FIRST);
  return c.json(await coordinator(c.env, task).task());
});

/** Retires a task, a built-in one too, or opens it again. */
app.patch("/api/tasks/:task", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const task = await taskOf(c);
  await setState(c.env, task, (await readJson(c.req.raw, taskChangeSchema)).state);
  return c.json(await coordinator(c.env, task).task());
});

const STOP_FIRST = "Stop the round first, then retire the task.";

/** @throws ProblemError `round-open` */
async function setState(env: Env, task: TaskName, state: TaskState): Promise<void> {
  const refused = await coordinator(env, task).setState(state);
  if (refused) throw new ProblemError(refused, STOP_FIRST);
}

/** Takes a file as the first version of an added task, for as long as it has had no round, and where the precondition holds. */
app.put("/api/tasks/:task/first-checkpoint", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const task = parse(taskNameSchema, c.req.param("task"));
  if (isBuiltIn(task)) throw new ProblemError("built-in");
  const revision = await knowTask(c.env, task);
  if (!preconditionOf(c.req.raw).holds(revision)) throw new ProblemError("changed-meanwhile", SEE_REVISION);
  const most = 8 + MAX_HEADER_BYTES + 4 * modelOf(task).parameters;
  const file = await readBody(c.req.raw, most, FIRST_CHECKPOINT_MS);
  let first: FirstCheckpoint;
  try {
    first = await readFirst(task, file);
  } catch (error) {
    if (error instanceof FormatError) throw new ProblemError(error.code, error.message);
    throw error;
  }
  const refused = await coordinator(c.env, task).setFirst(first, revision);
  if (refused) throw new ProblemError(refused);
  return c.json(await coordinator(c.env, task).task());
});

app.get("/api/tasks/:task", async (c) => c.json(await coordinator(c.env, await taskOf(c)).task()));

app.get("/api/tasks/:task/rounds", async (c) =>
  c.json(await coordinator(c.env, await taskOf(c)).history(parse(pageSchema, c.req.query()))),
);

app.get("/api/tasks/:task/rounds/:round", async (c) => {
  const round = await coordinator(c.env, await taskOf(c)).round(numberOf(c, "round", 1));
  if (!round) throw new ProblemError("not-found", "There is no such round.");
  return c.json(round);
});

app.get("/api/tasks/:task/live", async (c) => {
  const stub = coordinator(c.env, await taskOf(c));
  if (isForeign(c.req.raw)) throw new ProblemError("foreign-origin");
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    c.header("upgrade", "websocket");
    throw new ProblemError("upgrade-required");
  }
  const answer = await stub.fetch(c.req.raw);
  if (answer.status !== 101) throw new ProblemError("too-many-watchers");
  return answer;
});

app.post("/api/tasks/:task/check-ins", async (c) => {
  const signer = await signerOf(c);
  // Before anything of it is read.
  await limit(c.env.CLIENT_LIMIT, signer.client);
  const checkIn = await readSigned(c.req.raw, checkInSchema);
  const answer = await coordinator(c.env, await taskOf(c)).checkIn(signer, checkIn);
  if (typeof answer === "string") throw new ProblemError(answer);
  if (answer.decision === "wait") c.header("retry-after", String(Math.ceil(answer.retryAfterSeconds)));
  return c.json(answer);
});

app.get("/api/checkpoints/:sha256", async (c) => {
  const sha256 = parse(sha256Schema, c.req.param("sha256"));
  const from = rangeStart(c.req.header("range"));
  if (from > 0) {
    const size = (await c.env.STORE.head(checkpointKey(sha256)))?.size ?? Infinity;
    if (from >= size) {
      c.header("content-range", `bytes */${size}`);
      throw new ProblemError("range-not-satisfiable", `The file has ${size} bytes.`);
    }
  }
  const object = await c.env.STORE.get(checkpointKey(sha256), from > 0 ? { range: { offset: from } } : {});
  if (!object) throw new ProblemError("not-found", `There is no checkpoint ${sha256}.`);
  return immutable(object, from);
});

/** Where a download that broke off goes on, by its header (`bytes=123-`); 0 for the whole file and for any other range. */
const rangeStart = (range: string | undefined): number => Number(/^bytes=(\d{1,12})-$/.exec(range ?? "")?.[1] ?? 0);

/** A file that is for ever the same, or what of it comes from an offset on. */
const immutable = (object: R2ObjectBody, from = 0): Response =>
  new Response(object.body, {
    status: from > 0 ? 206 : 200,
    headers: {
      "content-type": "application/octet-stream",
      "content-length": String(object.size - from),
      ...(from > 0 ? { "content-range": `bytes ${from}-${object.size - 1}/${object.size}` } : {}),
      "accept-ranges": "bytes",
      "cache-control": "public, max-age=31536000, immutable, no-transform",
      etag: object.httpEtag,
    },
  });

app.get("/api/checkpoints/:sha256/difference", async (c) => {
  const sha256 = parse(sha256Schema, c.req.param("sha256"));
  const object = await c.env.STORE.get(differenceKey(sha256));
  if (!object) throw new ProblemError("not-found", `There is no difference to ${sha256}: take all of it.`);
  return immutable(object);
});

app.put("/api/tasks/:task/rounds/:round/updates/:id", async (c) => {
  const task = await taskOf(c);
  const round = numberOf(c, "round", 1);
  const id = parse(idSchema, c.req.param("id"));
  const stub = coordinator(c.env, task);
  const signer = await signerOf(c);
  let head: UploadHead;
  try {
    head = headOf(c.req.raw, task);
  } catch (error) {
    // What is not signed by the id's own key is nothing of the round's, and changes nothing that anybody sees.
    await requireOwner(c, id, signer);
    if (error instanceof ProblemError && isOfTheBody(error.code)) await stub.refuse(round, error.code);
    throw error;
  }
  try {
    const { digest, gzipped, bytes } = head;
    const admitted = await stub.admit(signer, round, id, digest);
    if (admitted.status === "refused") throw new ProblemError(admitted.code);
    if (admitted.status !== "go-on") return c.json(admitted);
    const body = c.req.raw.body as ReadableStream<Uint8Array> | null;
    if (!body) throw new ProblemError("truncated", "The body is empty.");
    const { vector, ignored, stepped, until, upload } = admitted;
    const leaveRoom = takeRoom(4 * lengthOf(task, vector));
    let counting: Promise<void> | undefined;
    try {
      const what = { task, round, id, digest, gzipped, vector, ignored, stepped, until, keep: leaveRoom !== undefined };
      const { summary, numbers } = await storeUpdate(c.env, body, what);
      const continent = (c.req.raw.cf as IncomingRequestCfProperties | undefined)?.continent ?? null;
      const answer = await stub.accept(round, id, { digest, bytes, summary, continent, upload });
      if (answer.status === "refused") {
        await c.env.STORE.delete(updateKey(task, round, id, digest));
        throw new ProblemError(answer.code);
      }
      // The Coordinator has the update: should this end here, its alarm puts it into the queue.
      if (answer.status === "accepted") {
        counting = countNow(c.env, { task, id }, numbers);
        c.executionCtx.waitUntil(counting);
      }
      return c.json({ status: answer.status }, answer.status === "accepted" ? 202 : 200);
    } catch (error) {
      await stub.uploadOver(id, upload);
      throw error;
    } finally {
      if (leaveRoom) void (counting ?? Promise.resolve()).catch(() => undefined).finally(leaveRoom);
    }
  } catch (error) {
    // The Coordinator has counted its own refusals already.
    if (error instanceof ProblemError && isOfTheBody(error.code)) await stub.refuse(round, error.code);
    throw error;
  }
});

/** Whether a refusal is about the bytes of an update, and not about when it came: that, the Coordinator says itself. */
const isOfTheBody = (code: ProblemCode): boolean => [411, 413, 415, 422].includes(PROBLEMS[code].status);

app.delete("/api/tasks/:task/rounds/:round/updates/:id", async (c) => {
  const id = parse(idSchema, c.req.param("id"));
  await requireOwner(c, id);
  const status = await coordinator(c.env, await taskOf(c)).withdraw(numberOf(c, "round", 1), id);
  if (status === "not-found") throw new ProblemError(status, "There is no such update.");
  return c.json({ status });
});

app.get("/api/tasks/:task/rounds/:round/secure/:id", async (c) => {
  const id = parse(idSchema, c.req.param("id"));
  await requireOwner(c, id);
  return c.json(await coordinator(c.env, await taskOf(c)).secure(numberOf(c, "round", 1), id, null));
});

app.post("/api/tasks/:task/rounds/:round/secure/:id", async (c) => {
  const id = parse(idSchema, c.req.param("id"));
  await requireOwner(c, id);
  const message = await readSigned(c.req.raw, secureMessageSchema, MAX_SECURE_BYTES);
  const answer = await coordinator(c.env, await taskOf(c)).secure(numberOf(c, "round", 1), id, message);
  if ("refused" in answer) throw new ProblemError("secure-refused", answer.refused);
  return c.json(answer);
});

app.post("/api/tasks/:task/evaluations/:id", async (c) => {
  const id = parse(idSchema, c.req.param("id"));
  await requireOwner(c, id);
  const evaluation = countedAsSaid(await taskOf(c), await readSigned(c.req.raw, evaluationSchema));
  const status = await coordinator(c.env, await taskOf(c)).evaluated(id, evaluation);
  if (status === "not-asked") {
    throw new ProblemError("not-possible", "The round does not ask for counts by class: leave confusion out.");
  }
  return c.json({ status });
});

/** @throws ProblemError where an evaluation's counts are of other classes than the task's, or of another number of examples than it says */
function countedAsSaid(task: TaskName, evaluation: Evaluation): Evaluation {
  const classes = taskNamed(task).labels.length;
  const { confusion = [] } = evaluation;
  if (evaluation.confusion && [confusion, ...confusion].some(({ length }) => length !== classes)) {
    throw new ProblemError(
      "contradiction",
      `confusion: the task ${task} has ${classes} classes, in rows and in columns.`,
    );
  }
  const counted = evaluation.confusion?.flat().reduce((sum, count) => sum + count, 0) ?? evaluation.examples;
  if (counted === evaluation.examples) return evaluation;
  throw new ProblemError(
    "contradiction",
    `Its counts by class are of ${counted} examples, not ${evaluation.examples}.`,
  );
}

app.put("/api/tasks/:task/rounds/:round/evaluation", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const evaluation = countedAsSaid(await taskOf(c), await readJson(c.req.raw, evaluationSchema));
  const status = await coordinator(c.env, await taskOf(c)).operatorEvaluated(numberOf(c, "round", 1), evaluation);
  if (status === "not-evaluating") {
    throw new ProblemError("not-possible", "No candidate of this round waits to be evaluated.");
  }
  return c.json({ status });
});

app.post("/api/tasks/:task/rounds", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const task = await taskOf(c);
  const { fromScratch } = await coordinator(c.env, task).task();
  const config = await readJson(c.req.raw, roundSchemaOf(task, fromScratch));
  const round = await coordinator(c.env, task).startRounds(config);
  if (typeof round === "string") throw new ProblemError(round);
  if ("conflict" in round) throw new ProblemError("contradiction", round.conflict);
  return c.json(round, 201);
});

app.patch("/api/tasks/:task/rounds/current", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const task = await taskOf(c);
  const change = await readJson(c.req.raw, roundChangeSchema);
  const round = await coordinator(c.env, task).changeRound(change);
  if (round === "no-open-round") throw new ProblemError(round);
  if ("fixed" in round) {
    throw new ProblemError("not-possible", `This cannot change any more in this round: ${round.fixed.join(", ")}.`);
  }
  if ("conflict" in round) throw new ProblemError("contradiction", round.conflict);
  return c.json(round);
});

app.get("/api/tasks/:task/checkpoints", async (c) => c.json(await coordinator(c.env, await taskOf(c)).checkpoints()));

app.post("/api/tasks/:task/checkpoints/:version/restore", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const checkpoints = await coordinator(c.env, await taskOf(c)).rollBack(numberOf(c, "version", 0));
  if (checkpoints === "round-open") throw new ProblemError(checkpoints, "Stop the round first, then go back.");
  if (checkpoints === "not-found") throw new ProblemError(checkpoints, "No published checkpoint has this version.");
  return c.json(checkpoints);
});

app.post("/api/tasks/:task/invitations", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const invitation = await coordinator(c.env, await taskOf(c)).invite(
    await readJson(c.req.raw, invitationRequestSchema),
  );
  if (!invitation) throw new ProblemError("too-many-invitations", "Revoke some that are not needed any more.");
  c.header("cache-control", "no-store");
  return c.json(invitation, 201);
});

app.get("/api/tasks/:task/invitations", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  return c.json(await coordinator(c.env, await taskOf(c)).invitations());
});

app.delete("/api/tasks/:task/invitations/:id", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const wasThere = await coordinator(c.env, await taskOf(c)).revokeInvitation(parse(idSchema, c.req.param("id")));
  if (!wasThere) throw new ProblemError("not-found", "There is no such invitation.");
  return c.json({ status: "revoked" });
});

app.get("/api/tasks/:task/dead-letters", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  return c.json(await coordinator(c.env, await taskOf(c)).deadLetters());
});

app.post("/api/tasks/:task/dead-letters/:id/replay", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const status = await coordinator(c.env, await taskOf(c)).replay(parse(idSchema, c.req.param("id")));
  if (status !== "replayed") throw new ProblemError(status);
  return c.json({ status }, 202);
});

app.get("/api/tasks/:task/events", async (c) => c.json(await coordinator(c.env, await taskOf(c)).events()));

app.get("/api/tasks/:task/alerts", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  c.header("cache-control", "no-store");
  return c.json(await coordinator(c.env, await taskOf(c)).alerts());
});

app.put("/api/tasks/:task/alerts", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const alerts = await readJson(c.req.raw, alertsSchema);
  return c.json(await coordinator(c.env, await taskOf(c)).setAlerts(alerts));
});

app.put("/api/tasks/:task/rounds/:round/note", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const number = numberOf(c, "round", 1);
  const round = await coordinator(c.env, await taskOf(c)).setNote(number, await readJson(c.req.raw, noteSchema));
  if (round === "not-found") throw new ProblemError(round, "There is no such round.");
  if (round === "not-possible") throw new ProblemError(round, "There are as many notes as there may be.");
  return c.json(round);
});

app.delete("/api/tasks/:task/rounds/current", async (c) => {
  await requireAdmin(c.req.raw, c.env);
  const round = await coordinator(c.env, await taskOf(c)).stopRound();
  if (round === "no-open-round") throw new ProblemError("no-open-round");
  return c.json(round);
});

app.notFound((c) =>
  c.newResponse(...new ProblemError("not-found", `There is no ${c.req.method} ${c.req.path}.`).toAnswer()),
);

app.onError((error, c) => {
  if (error instanceof ProblemError) return c.newResponse(...error.toAnswer());
  console.error(error);
  const failed = new ProblemError("internal-error", "The edge failed; its log says why. Try again later.");
  return c.newResponse(...failed.toAnswer());
});

/** Every route that is served, for the test that holds the description to it. */
export const routes = app.routes;

export default {
  fetch: app.fetch,

  /**
   * Hands an accepted update to its shard, where that has failed right after its upload. A message that fails is retried; one that comes twice is added once; one that
   * failed five times comes back through the dead queue, and waits for an administrator.
   */
  async queue(batch, env) {
    await Promise.all(
      batch.messages.map(async (message) => {
        const { task, id } = message.body;
        if (batch.queue.endsWith(DEAD_QUEUE)) {
          await coordinator(env, task).dead(id, "It could not be added five times in a row.");
          message.ack();
          return;
        }
        try {
          await count(env, message.body, { numbers: null, attempts: message.attempts });
          message.ack();
        } catch (error) {
          console.error(`Update ${id} was not added:`, error);
          message.retry({ delaySeconds: 2 });
        }
      }),
    );
  },
} satisfies ExportedHandler<Env, UpdateMessage>;
