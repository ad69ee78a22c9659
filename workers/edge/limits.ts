import { addressOf, networkOf } from "./address";
import { sameSecret } from "./digest";
import type { Env } from "./env";
import { ProblemError } from "./problem";

/** The longest key is 88 characters: a point of P-256 in base64. */
const CLAIMED_KEY = /;keyid="([^"]{1,100})"/;

/** The administrator's token as a request has it. */
const tokenOf = ({ headers }: Request): string | undefined =>
  /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1];

/** Whether a request has the administrator's token, compared in constant time. */
async function isAdmin(request: Request, { ADMIN_TOKEN }: Env): Promise<boolean> {
  const token = tokenOf(request);
  return token !== undefined && ADMIN_TOKEN !== "" && (await sameSecret(token, ADMIN_TOKEN));
}

/** Counts a request. @throws ProblemError `too-many-requests` */
export async function limit(limiter: RateLimit, key: string): Promise<void> {
  const { success } = await limiter.limit({ key });
  if (!success) throw new ProblemError("too-many-requests", "Too many requests came from here. Try again in a minute.");
}

/**
 * Counts a request among those of its address, before anything else is done for it. Who has the administrator's token is not counted, so
 * that no flood from the same address keeps the administrator out. Signed requests are counted apart from all others, and each key
 * has a share of its own, beyond which nothing counts for its neighbours: the key is only claimed here, by who sends from that address.
 * @throws ProblemError `too-many-requests`
 */
export async function limitByAddress(request: Request, env: Env): Promise<void> {
  if (await isAdmin(request, env)) return;
  const network = networkOf(addressOf(request, env));
  const key = CLAIMED_KEY.exec(request.headers.get("signature-input") ?? "")?.[1];
  if (key !== undefined) await limit(env.KEY_LIMIT, `${network} ${key}`);
  await limit(env.ADDRESS_LIMIT, key === undefined ? network : `${network} signed`);
}

/**
 * Who has the token always comes in: it is compared first, and only wrong ones are counted and limited. A request without any is no
 * guess: any page that an administrator visits can make the browser send one.
 * @throws ProblemError `unauthorized`, and after many wrong tokens `too-many-requests`
 */
export async function requireAdmin(request: Request, env: Env): Promise<void> {
  if (await isAdmin(request, env)) return;
  if (tokenOf(request) === undefined) throw new ProblemError("unauthorized");
  const { success } = await env.ADMIN_LIMIT.limit({ key: networkOf(addressOf(request, env)) });
  if (!success) {
    throw new ProblemError("too-many-requests", "Too many wrong admin tokens came from here. Try again in a minute.");
  }
  throw new ProblemError("unauthorized");
}
