import type { Env } from "./env";

/** Where a request comes from, to count requests by. */

/**
 * The address of a request: what Cloudflare says it is, or on an own server (tools/serve.mjs) the socket's. Where that is a proxy which
 * the operator has named in `TRUSTED_PROXIES`, the last address that the proxies themselves did not add: anything before it is whatever
 * the client has written.
 */
export function addressOf({ headers }: Request, { TRUSTED_PROXIES }: Pick<Env, "TRUSTED_PROXIES">): string {
  const socket = headers.get("cf-connecting-ip") ?? "unknown";
  const trusted = new Set(listOf(TRUSTED_PROXIES));
  if (!trusted.has(socket)) return socket;
  return listOf(headers.get("x-forwarded-for") ?? "").findLast((address) => !trusted.has(address)) ?? socket;
}

const listOf = (text: string): string[] =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");

/** Whether a page of another origin asks: browsers say who asks, and everybody else may say nothing. */
export function isForeign({ url, headers }: Request): boolean {
  const origin = headers.get("origin");
  if (origin === null) return false;
  // A page without an origin of its own says "null".
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1];
  return host !== new URL(url).host;
}
