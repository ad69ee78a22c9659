import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { PROBLEMS, type ProblemCode } from "../../src/federation/problems";
import {
  alertsSchema,
  checkInAnswerSchema,
  checkInSchema,
  checkpointsSchema,
  deadLettersSchema,
  evaluationSchema,
  historySchema,
  invitationRequestSchema,
  invitationsSchema,
  newInvitationSchema,
  noteSchema,
  pageSchema,
  problemSchema,
  roundConfigSchema,
  roundSchema,
  sharedSchema,
  taskEventsSchema,
  taskNameSchema,
  taskSchema,
} from "../../src/federation/protocol";
import { taskChangeSchema, tasksSchema } from "../../src/federation/tasks/description";
import { taskRequestSchema } from "../../src/federation/tasks/request";

import { secureMessageSchema, secureStepSchema } from "../../src/federation/secagg/messages";

/** One call of the edge's interface: what the router serves, described for people and for generators of clients. */
interface Endpoint {
  method: "get" | "post" | "put" | "patch" | "delete";
  /** As the router writes it. */
  path: string;
  summary: string;
  /** Parameters of its query. */
  query?: v.StrictObjectSchema<v.ObjectEntries, undefined>;
  admin?: true;
  /** What it depends on by `If-Match` and `If-None-Match` (RFC 9110, section 13). */
  conditional?: true;
  /** Signed by the client's key, and, where an id is named, by the key that it was given to. */
  signed?: true;
  body?: v.GenericSchema | "binary";
  /** By status; a string names a media type. */
  answers: Partial<Record<200 | 201 | 202 | 206 | 503 | 101, v.GenericSchema | string>>;
  problems?: ProblemCode[];
}

const statusSchema = v.object({ status: v.string() });
const healthSchema = v.object({
  ok: v.boolean(),
  checkpoints: v.record(v.string(), v.number()),
  silent: v.array(v.string()),
});
const task = "/api/tasks/:task";

export const ENDPOINTS: Endpoint[] = [
  {
    method: "get",
    path: "/api/health",
    summary: "Whether the edge answers, each task's version, and which tasks do not answer",
    answers: { 200: healthSchema, 503: healthSchema },
  },
  { method: "get", path: "/api/openapi.json", summary: "This description", answers: { 200: "application/json" } },
  {
    method: "get",
    path: "/api/problems",
    summary: "Every refusal: its code, status and words",
    answers: { 200: "application/json" },
  },
  {
    method: "get",
    path: "/api/share",
    summary: "Where other machines find an own server, for a browser on its machine; none for anybody else",
    answers: { 200: sharedSchema },
  },
  { method: "get", path: "/api/metrics", summary: "Counts and gauges for Prometheus", answers: { 200: "text/plain" } },
  {
    method: "get",
    path: "/api/tasks",
    summary: "Every task, open or retired, and what those are that an administrator has added",
    answers: { 200: tasksSchema },
  },
  {
    method: "put",
    path: task,
    summary:
      "Add a task, or describe one otherwise; of one that has had rounds, its words, what players are asked and told among them, and default round",
    admin: true,
    conditional: true,
    body: taskRequestSchema,
    answers: { 200: taskSchema, 201: taskSchema },
    problems: ["built-in", "changed-meanwhile", "has-rounds", "round-open", "too-many-tasks"],
  },
  {
    method: "patch",
    path: task,
    summary: "Retire a task, whose checkpoints and history stay, or open it again",
    admin: true,
    body: taskChangeSchema,
    answers: { 200: taskSchema },
    problems: ["round-open"],
  },
  {
    method: "put",
    path: `${task}/first-checkpoint`,
    summary: "Give an added task its first checkpoint, a safetensors file of its network, before its first round",
    admin: true,
    conditional: true,
    body: "binary",
    answers: { 200: taskSchema },
    problems: [
      ...[
        "built-in",
        "changed-meanwhile",
        "has-rounds",
        "task-changed",
        "too-large",
        "too-slow",
        "truncated",
        "header-too-large",
        "bad-header",
      ],
      ...["wrong-shape", "wrong-length", "not-finite"],
    ] as ProblemCode[],
  },
  { method: "get", path: task, summary: "A task: its model and current checkpoint", answers: { 200: taskSchema } },
  {
    method: "get",
    path: `${task}/rounds`,
    summary: "The latest rounds, or those before one; a page tells of a hundred of their members at most",
    query: pageSchema,
    answers: { 200: historySchema },
    problems: ["bad-request"],
  },
  {
    method: "get",
    path: `${task}/rounds/:round`,
    summary: "A round with all its members, as long as they are kept",
    answers: { 200: roundSchema },
    problems: ["bad-request", "not-found"],
  },
  {
    method: "get",
    path: `${task}/live`,
    summary: "A WebSocket: the latest rounds once, then what changes of them, ten times a second at most",
    answers: { 101: "application/json" },
    problems: ["foreign-origin", "upgrade-required", "too-many-watchers"],
  },
  {
    method: "post",
    path: `${task}/check-ins`,
    summary: "Ask what to do: train, evaluate, or come back later",
    signed: true,
    body: checkInSchema,
    answers: { 200: checkInAnswerSchema },
    problems: ["bad-request", "too-many-requests", "not-invited", "invitation-used-up", "task-retired"],
  },
  {
    method: "get",
    path: "/api/checkpoints/:sha256",
    summary:
      "A checkpoint's file, or what the server of a strategy remembers with it, for ever the same, or the rest of it from an offset on",
    answers: { 200: "application/octet-stream", 206: "application/octet-stream" },
    problems: ["bad-request", "not-found", "range-not-satisfiable"],
  },
  {
    method: "get",
    path: "/api/checkpoints/:sha256/difference",
    summary: "A checkpoint as the gzipped difference to its base, where its round made one",
    answers: { 200: "application/octet-stream" },
    problems: ["bad-request", "not-found"],
  },
  {
    method: "put",
    path: `${task}/rounds/:round/updates/:id`,
    summary: "Send an update, gzipped or not, once or again: with its length and Content-Digest",
    signed: true,
    body: "binary",
    answers: { 200: statusSchema, 202: statusSchema },
    problems: [
      "not-selected",
      "round-closed",
      "wrong-round",
      "wrong-base",
      "repeated-id",
      "early-stopped",
      "length-required",
      "too-large",
      "unsupported-encoding",
      "wrong-codec",
      "wrong-digest",
      "truncated",
      "header-too-large",
      "bad-header",
      "wrong-shape",
      "wrong-length",
      "not-finite",
      "bad-index",
      "round-busy",
      "store-failed",
      "too-slow",
    ],
  },
  {
    method: "delete",
    path: `${task}/rounds/:round/updates/:id`,
    summary: "Take an update back before a mean is made of it: `withdrawn`, or `too-late`",
    signed: true,
    answers: { 200: statusSchema },
    problems: ["not-found"],
  },
  {
    method: "get",
    path: `${task}/rounds/:round/secure/:id`,
    summary: "In a round with secure aggregation: what a member has to do next",
    signed: true,
    answers: { 200: secureStepSchema },
  },
  {
    method: "post",
    path: `${task}/rounds/:round/secure/:id`,
    summary: "A member's keys, sealed shares, confirmation or opened shares; answers what is next",
    signed: true,
    body: secureMessageSchema,
    answers: { 200: secureStepSchema },
    problems: ["secure-refused"],
  },
  {
    method: "post",
    path: `${task}/evaluations/:id`,
    summary: "Say how a candidate did on held-out faces",
    signed: true,
    body: evaluationSchema,
    answers: { 200: statusSchema },
    problems: ["contradiction", "not-possible"],
  },
  {
    method: "put",
    path: `${task}/rounds/:round/evaluation`,
    summary: "Say how the round's candidate does on the operator's own labelled faces",
    admin: true,
    body: evaluationSchema,
    answers: { 200: statusSchema },
    problems: ["contradiction", "not-possible"],
  },
  {
    method: "post",
    path: `${task}/rounds`,
    summary: "Start rounds; what is not said of them is as the task has it",
    admin: true,
    body: roundConfigSchema,
    answers: { 201: roundSchema },
    problems: ["contradiction", "round-open", "task-retired"],
  },
  {
    method: "patch",
    path: `${task}/rounds/current`,
    summary: "Change the open round's configuration",
    admin: true,
    body: v.partial(roundConfigSchema),
    answers: { 200: roundSchema },
    problems: ["contradiction", "no-open-round", "not-possible"],
  },
  {
    method: "delete",
    path: `${task}/rounds/current`,
    summary: "Stop the open round",
    admin: true,
    answers: { 200: roundSchema },
    problems: ["no-open-round"],
  },
  {
    method: "put",
    path: `${task}/rounds/:round/note`,
    summary: "An operator's words and tags on a round; empty ones take them away",
    admin: true,
    body: noteSchema,
    answers: { 200: roundSchema },
    problems: ["not-found", "not-possible"],
  },
  {
    method: "get",
    path: `${task}/events`,
    summary: "What happened lately and why, the newest first; older events are forgotten",
    answers: { 200: taskEventsSchema },
  },
  {
    method: "get",
    path: `${task}/alerts`,
    summary: "Where the operator is told of what goes wrong",
    admin: true,
    answers: { 200: alertsSchema },
  },
  {
    method: "put",
    path: `${task}/alerts`,
    summary: "Set a webhook that the edge calls when a round fails, dead letters wait, or nobody comes; null for none",
    admin: true,
    body: alertsSchema,
    answers: { 200: alertsSchema },
    problems: ["bad-request"],
  },
  {
    method: "get",
    path: `${task}/checkpoints`,
    summary: "Every checkpoint, the newest first",
    answers: { 200: checkpointsSchema },
  },
  {
    method: "post",
    path: `${task}/checkpoints/:version/restore`,
    summary: "Go back to a published checkpoint",
    admin: true,
    answers: { 200: checkpointsSchema },
    problems: ["not-found", "round-open"],
  },
  {
    method: "post",
    path: `${task}/invitations`,
    summary: "Makes an invitation for rounds that are for invited devices; its token is told this once",
    admin: true,
    body: invitationRequestSchema,
    answers: { 201: newInvitationSchema },
    problems: ["too-many-invitations"],
  },
  {
    method: "get",
    path: `${task}/invitations`,
    summary: "The valid invitations, without their tokens, with the uses that are left in the open round",
    admin: true,
    answers: { 200: invitationsSchema },
  },
  {
    method: "delete",
    path: `${task}/invitations/:id`,
    summary: "Revokes an invitation",
    admin: true,
    answers: { 200: statusSchema },
  },
  {
    method: "get",
    path: `${task}/dead-letters`,
    summary: "Accepted updates that could not be added",
    admin: true,
    answers: { 200: deadLettersSchema },
  },
  {
    method: "post",
    path: `${task}/dead-letters/:id/replay`,
    summary: "Try to add one again",
    admin: true,
    answers: { 202: statusSchema },
    problems: ["not-found", "round-closed"],
  },
];

/** The paths, those without a parameter before those that they would also fit, each with what can be done there. */
const PATHS = [...new Set(ENDPOINTS.map(({ path }) => path))]
  .sort((a, b) => a.split(":").length - b.split(":").length)
  .map((path) => ({
    pattern: new RegExp(`^${path.replace(/:\w+/g, "[^/]+").replaceAll(".", "\\.")}$`),
    methods: ENDPOINTS.filter((endpoint) => endpoint.path === path).map(({ method }) => method.toUpperCase()),
  }));

/** What can be done at a path; undefined where there is nothing. */
export function methodsOf(path: string): string[] | undefined {
  const methods = PATHS.find(({ pattern }) => pattern.test(path))?.methods;
  return methods?.includes("GET") ? [...methods, "HEAD"] : methods;
}

type Json = Record<string, unknown>;

/** What travels as JSON, as JSON Schema 2020-12, which is what OpenAPI 3.1 uses. */
function schemaOf(schema: v.GenericSchema, typeMode: "input" | "output"): Json {
  const { $schema: _, ...rest } = toJsonSchema(schema, { target: "draft-2020-12", typeMode, errorMode: "ignore" });
  return rest;
}

const PARAMETERS: Record<string, Json> = {
  task: schemaOf(taskNameSchema, "input"),
  round: { type: "integer", minimum: 1, maximum: 1e9 },
  id: { type: "string", format: "uuid" },
  sha256: { type: "string", pattern: "^[0-9a-f]{64}$" },
  version: { type: "integer", minimum: 0, maximum: 1e9 },
};

const CONDITIONS: Json[] = [
  ["If-Match", "Only a task of this revision in GET /api/tasks, in quotes, is changed; `*`: whichever it is."],
  ["If-None-Match", "`*`: only where there is no task of this name yet."],
].map(([name, description]) => ({ name, in: "header", required: false, description, schema: { type: "string" } }));

const content = (schema: v.GenericSchema | string): Json =>
  typeof schema === "string" ? { [schema]: {} } : { "application/json": { schema: schemaOf(schema, "output") } };

const BODY = ["unfit", "too-large", "too-slow", "truncated"] as const satisfies ProblemCode[];
const SIGNED: ProblemCode[] = ["bad-signature", "stale", "other-key", "replayed", "wrong-digest"];

function operation(endpoint: Endpoint): Json {
  const { path, method, summary, query, admin, conditional, signed, body, answers, problems = [] } = endpoint;
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name as string);
  const codes: ProblemCode[] = [
    ...problems,
    "too-many-requests",
    ...(names.length > 0 ? (["bad-request", "not-found"] as const) : []),
    ...(body !== undefined && body !== "binary" ? (["bad-request", ...BODY] as const) : []),
    ...(admin ? (["unauthorized"] as const) : []),
    ...(signed ? SIGNED : []),
    "internal-error",
  ];
  const statuses = [...new Set(codes.map((code) => PROBLEMS[code].status))].sort();
  return {
    summary,
    operationId: `${method}${path.replace(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    ...((names.length > 0 || query || conditional) && {
      parameters: [
        ...names.map((name) => ({ name, in: "path", required: true, schema: PARAMETERS[name] ?? {} })),
        ...Object.entries(query?.entries ?? {}).map(([name, schema]) => ({
          name,
          in: "query",
          required: false,
          schema: schemaOf(schema, "output"),
        })),
        ...(conditional ? CONDITIONS : []),
      ],
    }),
    ...(admin && { security: [{ admin: [] }] }),
    ...(signed && { security: [{ client: [] }] }),
    ...(body !== undefined && {
      requestBody: {
        required: true,
        content:
          body === "binary"
            ? { "application/octet-stream": { schema: { type: "string", format: "binary", minLength: 1 } } }
            : { "application/json": { schema: schemaOf(body, "input") } },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, schema]) => [status, { description: summary, content: content(schema) }]),
      ),
      ...Object.fromEntries(
        statuses.map((status) => [
          status,
          {
            description: [...new Set(codes.filter((code) => PROBLEMS[code].status === status))].join(", "),
            content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
          },
        ]),
      ),
    },
  };
}

/** The whole interface as OpenAPI 3.1. */
export function openApi(): Json {
  const paths: Record<string, Json> = {};
  for (const endpoint of ENDPOINTS) {
    const path = endpoint.path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [endpoint.method]: operation(endpoint) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Best Actor's edge",
      version: "1",
      description: "Federated rounds: checking in, checkpoints, updates, and what an administrator can do.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: { Problem: schemaOf(problemSchema, "output") },
      securitySchemes: {
        admin: { type: "http", scheme: "bearer" },
        client: {
          type: "apiKey",
          in: "header",
          name: "Signature",
          description:
            'An HTTP Message Signature (RFC 9421) labelled `client` in ecdsa-p256-sha256 over "@method", "@path" and, with a body, "content-digest"; created, nonce, keyid (the raw public key in base64) and tag="best-actor" are its parameters.',
        },
      },
    },
  };
}
