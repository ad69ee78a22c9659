import { combine } from "shamir-secret-sharing";
import type { Keys, Reveal } from "./messages";
import { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
import { agree, publicKeyOf, type Bytes } from "./secrets";

/** The edge's side of secure aggregation: which masks to take away from the sum of the vectors. */

/** A mask that has to be added to the sum for it to be plain. */
export interface Correction {
  /** base64 */
  seed: string;
  sign: 1 | -1;
}

/** Too few clients have opened their shares, or wrong ones: the sum stays masked. */
export class UnmaskingError extends Error {
  override readonly name = "UnmaskingError";
}

export interface Unmasking {
  /** Names the task and the round, as the clients do. */
  round: string;
  threshold: number;
  /** By member: what it has told of its keys, and its neighbours that have shared their secrets too. */
  members: ReadonlyMap<number, { keys: Keys; peers: readonly number[] }>;
  /** Members whose vectors are in the sum. */
  survivors: readonly number[];
  reveals: readonly Reveal[];
}

/**
 * What takes the masks off a sum: the own masks of all whose vectors are in it, and the masks that they share with members who
 * have left after they had shared their secrets.
 * @throws UnmaskingError
 */
export async function corrections(unmasking: Unmasking): Promise<Correction[]> {
  const { round, threshold, members, survivors, reveals } = unmasking;
  if (survivors.length < threshold) {
    throw new UnmaskingError(`${survivors.length} vectors have come; a sum of fewer than ${threshold} stays masked.`);
  }
  const came = new Set(survivors);
  const out: Correction[] = [];
  /** Who has opened a share that fitted nothing. */
  const liars = new Set<number>();
  for (const [member, { keys, peers }] of members) {
    const which = came.has(member) ? "seeds" : "keys";
    const shares = reveals.flatMap((reveal, from) => {
      const own = reveal[which].find(({ of }) => of === member);
      return own ? [{ from, share: own.share }] : [];
    });
    // Nobody that has come shares a mask with this one: there is nothing to take away.
    const touched = peers.filter((peer) => came.has(peer));
    if (!came.has(member) && touched.length === 0) continue;
    const fits = async (secret: Bytes): Promise<boolean> =>
      came.has(member)
        ? uint8ArrayToBase64(await crypto.subtle.digest("SHA-256", secret)) === keys.seedDigest
        : uint8ArrayToBase64(await publicKeyOf(secret)) === keys.maskKey;
    const secret = await openSecret(member, shares, { threshold, liars, fits });
    if (came.has(member)) {
      out.push({ seed: uint8ArrayToBase64(secret), sign: -1 });
      continue;
    }
    for (const peer of touched) {
      const other = members.get(peer);
      if (!other) continue;
      const seed = await agree(secret, base64ToUint8Array(other.keys.maskKey), round, "mask");
      // The peer has added it where it comes first, and taken it away where it comes second.
      out.push({ seed: uint8ArrayToBase64(seed), sign: peer < member ? -1 : 1 });
    }
  }
  return out;
}

/** Choices of shares that are tried where the first ones do not fit: with one liar among them, each of them is left out once. */
const MOST_TRIES = 64;

/**
 * A member's secret from its shares. Who opens a wrong share spoils the sum of those that are used with it, and nothing tells which it
 * is: others are tried, each time without one of those that were used. Who is found to have lied once is used last from then on.
 * @throws UnmaskingError
 */
async function openSecret(
  member: number,
  shares: readonly { from: number; share: string }[],
  { threshold, liars, fits }: { threshold: number; liars: Set<number>; fits: (secret: Bytes) => Promise<boolean> },
): Promise<Bytes> {
  // A share that came twice is one share.
  const all = [...new Map(shares.map((one) => [one.share, one])).values()].sort(
    (a, b) => Number(liars.has(a.from)) - Number(liars.has(b.from)),
  );
  if (all.length < threshold) {
    throw new UnmaskingError(`${all.length} of the ${threshold} shares that open member ${member}'s secret have come.`);
  }
  const attempt = async (used: typeof all): Promise<Bytes | undefined> => {
    try {
      const secret = Uint8Array.from(await combine(used.map(({ share }) => base64ToUint8Array(share))));
      return (await fits(secret)) ? secret : undefined;
    } catch {
      // Two shares of the same place, or a secret that is no key.
      return undefined;
    }
  };
  const first = all.slice(0, threshold);
  const found = await attempt(first);
  if (found) return found;
  const spare = all.slice(threshold);
  for (const [i, other] of first.slice(0, MOST_TRIES).entries()) {
    const [instead] = spare;
    if (!instead) break;
    const secret = await attempt(first.with(i, instead));
    if (!secret) continue;
    liars.add(other.from);
    return secret;
  }
  throw new UnmaskingError(`The shares of member ${member}'s secret do not fit it.`);
}
