/** Clients of bench:soak: what each of them does with an assignment, and what else comes to an edge that stands open. */
import { request } from "node:http";
import { connect } from "node:net";

/** Faces that a client says it has. */
const EXAMPLES = 5;
/** A status of a request whose connection the edge has ended instead of answering. */
const CUT_OFF = 0;

/**
 * Sends a request whose body goes on as a function says, over a connection of its own, which the edge may end: fetch has no bodies that
 * end too early.
 * @returns the answer's status; {@link CUT_OFF} where there is none
 */
function send({ url, headers }, { method, length, body }) {
  return new Promise((resolve) => {
    const sized = length === undefined ? headers : { ...headers, "content-length": length };
    const call = request(url, { method, agent: false, headers: sized });
    call.once("response", (response) => {
      response.resume();
      resolve(response.statusCode);
      // What is left of a body is nobody's any more.
      if (!call.writableEnded) call.destroy();
    });
    call.on("error", () => resolve(CUT_OFF));
    call.once("close", () => resolve(CUT_OFF));
    body(call);
  });
}

const half = (file) => file.subarray(0, file.length >> 1);

/**
 * What a client does with an assignment, by its kind. Each gives what was seen, which counts under that name; what a round that was
 * over by then refuses, counts as `late`.
 */
export const KINDS = {
  honest: async ({ client, assignment, delta }) => {
    await client.send(assignment, delta, EXAMPLES);
    return "accepted";
  },
  /** Says that it has more faces than there are. */
  boaster: async ({ client, assignment, delta }) => {
    await client.send(assignment, delta, 100_000);
    return "boasted";
  },
  giant: async ({ client, assignment, delta }) => {
    await client.send(
      assignment,
      delta.map((value) => value * 1e30),
      EXAMPLES,
    );
    return "enormous";
  },
  /** Sends what is no number, and whatever is said to it, sends it again. */
  nonsense: async ({ client, assignment, delta }) => {
    const wrong = Float32Array.from(delta);
    wrong[wrong.length - 1] = NaN;
    const refusals = [];
    for (let i = 0; i < 2; i++) await client.send(assignment, wrong, EXAMPLES).catch(({ code }) => refusals.push(code));
    return refusals.every((code) => code === "not-finite") ? "nonsense refused" : "late";
  },
  /** Sends the same twice, as after a lost answer, and then a copy of a request that was somebody's. */
  parrot: async ({ client, assignment, delta }) => {
    const file = await client.pack(assignment, delta, EXAMPLES);
    const signed = await client.signedRequest(assignment, "PUT", file);
    const say = () => send(signed, { method: "PUT", length: file.length, body: (call) => call.end(file) });
    const first = await say();
    await client.upload(assignment, file);
    return first === 202 && (await say()) === 409 ? "replay refused" : "late";
  },
  /** Takes its update back, or is never heard of again. */
  deserter: async ({ client, assignment, turn }) => {
    if (turn % 2 === 0) return "silent";
    const signed = await client.signedRequest(assignment, "DELETE");
    const status = await send(signed, { method: "DELETE", body: (call) => call.end() });
    return status === 200 ? "withdrawn" : "late";
  },
  /** Stops in the middle of its body, for as long as the edge puts up with it: early in a turn, at whose end it has to be over. */
  staller: async ({ client, assignment, delta, playing, aside }) => {
    if (playing !== "central") return KINDS.honest({ client, assignment, delta });
    const file = await client.pack(assignment, delta, EXAMPLES);
    const signed = await client.signedRequest(assignment, "PUT", file);
    const body = (call) => call.write(half(file));
    aside(send(signed, { method: "PUT", length: file.length, body }).then(() => "stall ended"));
    return "stalled";
  },
  /** Breaks off in the middle, and comes back with all of it. */
  returner: async ({ client, assignment, delta }) => {
    const file = await client.pack(assignment, delta, EXAMPLES);
    const signed = await client.signedRequest(assignment, "PUT", file);
    const breakOff = (call) => call.write(half(file), () => call.destroy());
    await send(signed, { method: "PUT", length: file.length, body: breakOff });
    await client.upload(assignment, file);
    return "came back";
  },
};

/** The status of a body that took too long. */
const TOO_SLOW = 408;
/** Check-ins that stop in the middle of their bodies at the same time: any key may send one. */
const DAWDLERS = 100;

/**
 * Check-ins whose bodies stall, each of a key of its own and over a connection of its own.
 * @param sign signs a request with a new key
 * @returns of each, what was seen once it is over
 */
export async function dawdlers(api, sign) {
  const [method, url, text] = ["POST", `${api}/check-ins`, Buffer.from(JSON.stringify({ examples: 5, round: null }))];
  const signed = await Promise.all(
    Array.from({ length: DAWDLERS }, () => sign({ method, url, headers: {}, body: text })),
  );
  return signed.map(async (headers) => {
    const body = (call) => call.write(half(text));
    const status = await send({ url, headers }, { method, length: text.length, body });
    return status === TOO_SLOW ? "dawdler refused" : `dawdler answered by ${status}`;
  });
}

/** What comes from outside a round. @returns what was not answered as it should be */
export async function strangers(api) {
  const update = "/rounds/1/updates/00000000-0000-4000-8000-000000000000";
  const calls = [
    ["PUT", update, "x".repeat(100_000), 401],
    ["POST", "/check-ins", "{}", 401],
    ["POST", "/rounds", "[".repeat(20_000), 401],
    ["GET", "/rounds/999999999", undefined, 404],
    ["GET", "/rounds?limit=100000", undefined, 400],
    ["GET", "/nothing", undefined, 404],
  ];
  const answers = await Promise.all(
    calls.map(async ([method, path, text, expected]) => {
      const body = (call) => call.end(text);
      const status = await send({ url: `${api}${path}`, headers: {} }, { method, length: text?.length, body });
      return status === expected ? [] : [`${method} ${path} by ${status}`];
    }),
  );
  return answers.flat();
}

/** A watcher that reads what it is told, or one that never does. @returns what closes it */
export async function watch(api, isReading) {
  if (isReading) {
    const socket = new WebSocket(`${api.replace("http", "ws")}/live`);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("A watcher was not let in."));
    });
    return () => socket.close();
  }
  const { hostname, port, pathname } = new URL(`${api}/live`);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.write(
    [
      `GET ${pathname} HTTP/1.1`,
      `Host: ${hostname}:${port}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${Buffer.alloc(16, 7).toString("base64")}`,
      "\r\n",
    ].join("\r\n"),
  );
  socket.pause();
  return () => socket.destroy();
}
