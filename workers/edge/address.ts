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

/** Whether a request comes from a program on the very machine that serves it. */
export const isOwnMachine = (address: string): boolean => address === "127.0.0.1" || address === "::1";

/**
 * What counts as one address in a limit: an IPv4 address, or of an IPv6 address the network, its first 64 bits, of which every household
 * has one or more and each of its machines as many addresses as it likes (RFC 6177).
 */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [left = [], right] = address.split("::").map((part) => part.split(":").filter((group) => group !== ""));
  const zeros = right ? Array<string>(Math.max(0, 8 - left.length - right.length)).fill("0") : [];
  const groups = [...left, ...zeros, ...(right ?? [])];
  return `${groups
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}

/** Whether a page of another origin asks: browsers say who asks, and everybody else may say nothing. */
export function isForeign({ url, headers }: Request): boolean {
  const origin = headers.get("origin");
  if (origin === null) return false;
  // A page without an origin of its own says "null".
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1];
  return host !== new URL(url).host;
}
