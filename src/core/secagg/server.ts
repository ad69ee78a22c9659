import { combine } from "shamir-secret-sharing";
import type { Keys, Reveal } from "./messages";
import { fromBase64, toBase64 } from "../base64";
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
  for (const [member, { keys, peers }] of members) {
    const which = came.has(member) ? "seeds" : "keys";
    const shares = new Map<string, Bytes>();
    for (const reveal of reveals) {
      const own = reveal[which].find(({ of }) => of === member);
      if (own) shares.set(own.share, fromBase64(own.share));
    }
    // Nobody that has come shares a mask with this one: there is nothing to take away.
    const touched = peers.filter((peer) => came.has(peer));
    if (!came.has(member) && touched.length === 0) continue;
    if (shares.size < threshold) {
      throw new UnmaskingError(
        `${shares.size} of the ${threshold} shares that open member ${member}'s secret have come.`,
      );
    }
    const secret = Uint8Array.from(await combine([...shares.values()].slice(0, threshold)));
    if (came.has(member)) {
      const digest = toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", secret)));
      if (digest !== keys.seedDigest) throw wrong(member);
      out.push({ seed: toBase64(secret), sign: -1 });
      continue;
    }
    if (toBase64(await publicKeyOf(secret)) !== keys.maskKey) throw wrong(member);
    for (const peer of touched) {
      const other = members.get(peer);
      if (!other) continue;
      const seed = await agree(secret, fromBase64(other.keys.maskKey), round, "mask");
      // The peer has added it where it comes first, and taken it away where it comes second.
      out.push({ seed: toBase64(seed), sign: peer < member ? -1 : 1 });
    }
  }
  return out;
}

const wrong = (member: number): UnmaskingError =>
  new UnmaskingError(`The shares of member ${member}'s secret do not fit it.`);
