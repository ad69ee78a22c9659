/**
 * Serves the built app and edge from workerd through Miniflare's API: the runtime, the bindings and the state on disk are
 * those of `wrangler dev`, without its proxy in front (which takes 1.1 s for a 20 MB update; this takes 0.1 s).
 */
import { randomBytes } from "node:crypto";
import fs, { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Log, LogLevel, Miniflare, Response } from "miniflare";
import { unstable_getMiniflareWorkerOptions as workerOptions } from "wrangler";
import { root } from "./setup.mjs";
import { FRONT } from "./share/trust.mjs";
import { mendWorkerd } from "./workerd.mjs";

/** Miniflare's own worker, through which every request comes, and where it takes over the address that a client writes itself. */
const ENTRY = join("workers", "core", "entry.worker.js");
const BELIEVES = 'clientIp && !request.headers.get("CF-Connecting-IP")';

/**
 * Has Miniflare say where a request really comes from. It would pass a `cf-connecting-ip` on that a client has made up, and has no
 * setting for that; on Cloudflare, nobody can write this header, and here nobody but the front. Its worker is read once, when the first server starts.
 */
function knowSockets() {
  const read = fs.readFileSync;
  fs.readFileSync = function readAndMend(path, ...args) {
    const text = read.call(fs, path, ...args);
    if (typeof path !== "string" || !path.endsWith(ENTRY)) return text;
    if (!text.includes(BELIEVES)) throw new Error("Miniflare has changed: look how it tells a request's address.");
    return text.replace(BELIEVES, `clientIp && request.headers.get("${FRONT.header}") !== "${FRONT.value}"`);
  };
  return () => {
    fs.readFileSync = read;
  };
}

/** The administrator's token: from the environment, else made once and kept with the state. */
export function adminTokenOf(stateFolder) {
  if (process.env.ADMIN_TOKEN) return process.env.ADMIN_TOKEN;
  const file = join(stateFolder, "admin-token");
  if (!existsSync(file)) {
    mkdirSync(stateFolder, { recursive: true });
    writeFileSync(file, randomBytes(24).toString("base64url"), { mode: 0o600 });
  }
  return readFileSync(file, "utf8").trim();
}

/** A database of one page has no table. */
export const EMPTY_BYTES = 4096;

/**
 * Deletes what is left of objects that have deleted all they had, as those of a round do at its end: on Cloudflare they are no more, here
 * an empty file of each stays. Before a server starts, when nobody has them open.
 */
function sweep(state) {
  for (const kind of ["Aggregator", "Hub"]) {
    const folder = join(state, "v3/do", `best-actor-${kind}`);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    for (const name of names) {
      const file = join(folder, name);
      const isEmpty = /^[0-9a-f]{64}\.sqlite$/.test(name) && statSync(file).size <= EMPTY_BYTES;
      if (isEmpty && !names.includes(`${name}-wal`)) rmSync(file);
    }
  }
}

/**
 * @param {{ port: number, stateFolder?: string, host?: string, bindings?: object, ratelimits?: object, isInspected?: boolean,
 *   shared?: () => string[] }} options port 0 takes any free one; bindings and limits replace those of wrangler.jsonc; one that is
 *   inspected has an inspectorPort; `shared` gives the origins at which other machines find this server, through a front of it
 *   (share/front.mjs)
 */
export async function serve({
  port,
  stateFolder = join(root, ".state"),
  host = "127.0.0.1",
  bindings,
  ratelimits,
  isInspected,
  shared,
}) {
  const state = resolve(stateFolder);
  const adminToken = adminTokenOf(state);
  sweep(state);
  const config = join(root, "dist/best_actor/wrangler.json");
  const { workerOptions: options, main } = workerOptions(config);
  const trusted = process.env.TRUSTED_PROXIES;
  mendWorkerd();
  const forget = knowSockets();
  const miniflare = new Miniflare({
    ...options,
    host,
    port,
    name: "best-actor",
    log: new Log(LogLevel.WARN),
    // Miniflare would else say that every request comes from Austin, Texas, and one hub would get all updates.
    cf: {},
    modules: true,
    modulesRoot: join(root, "dist/best_actor"),
    scriptPath: main ?? join(root, "dist/best_actor/index.js"),
    bindings: {
      ...options.bindings,
      ...(trusted && { TRUSTED_PROXIES: trusted }),
      ...bindings,
      ADMIN_TOKEN: adminToken,
    },
    // Asked each time: the addresses of a machine change while it runs.
    ...(shared && { serviceBindings: { ...options.serviceBindings, SHARED: () => Response.json(shared()) } }),
    ratelimits: { ...options.ratelimits, ...ratelimits },
    ...(isInspected && { inspectorPort: 0 }),
    defaultPersistRoot: join(state, "v3"),
  });
  const url = (await miniflare.ready.finally(forget)).origin;
  const inspectorPort = isInspected ? Number((await miniflare.getInspectorURL()).port) : undefined;
  return { url, adminToken, stateFolder: state, inspectorPort, stop: () => miniflare.dispose() };
}
