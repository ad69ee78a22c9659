/**
 * Serves the built app and edge from workerd through Miniflare's API: the runtime, the bindings and the state on disk are
 * those of `wrangler dev`, without its proxy in front (which takes 1.1 s for a 20 MB update; this takes 0.1 s).
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Log, LogLevel, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions as workerOptions } from "wrangler";
import { root } from "./setup.mjs";

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

/**
 * @param {{ port: number, stateFolder?: string, host?: string, bindings?: object, ratelimits?: object, inspectorPort?: number }} options port 0 takes
 *   any free one; bindings and limits replace those of wrangler.jsonc
 */
export async function serve({
  port,
  stateFolder = join(root, ".state"),
  host = "127.0.0.1",
  bindings,
  ratelimits,
  inspectorPort,
}) {
  const state = resolve(stateFolder);
  const adminToken = adminTokenOf(state);
  const config = join(root, "dist/best_actor/wrangler.json");
  const { workerOptions: options, main } = workerOptions(config);
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
    bindings: { ...options.bindings, ...bindings, ADMIN_TOKEN: adminToken },
    ...(ratelimits ? { ratelimits } : {}),
    ...(inspectorPort ? { inspectorPort } : {}),
    defaultPersistRoot: join(state, "v3"),
  });
  const url = (await miniflare.ready).origin;
  return { url, adminToken, stateFolder: state, stop: () => miniflare.dispose() };
}
