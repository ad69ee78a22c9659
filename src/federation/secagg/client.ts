import { split } from "shamir-secret-sharing";
import { base64ToUint8Array, concatUint8Arrays, uint8ArrayToBase64 } from "uint8array-extras";
import type { Check, Confirmation, Keys, Reveal, Shares, StepOf } from "./messages";
import { addMask, agree, mac, newKeyPair, open, randomBytes, seal, SECRET, type Bytes, type KeyPair } from "./secrets";

/**
 * A client's side of secure aggregation (Bonawitz et al. 2017, figure 4, with the neighbours of Bell et al. 2020): keys, shares,
 * the masked vector, a check that all were told the same, and shares of what has to be taken away from the sum. Its state is plain
 * data, so that it outlives a reload; every function returns the next state.
 *
 * A server that lies learns nothing more for it: a client refuses a threshold that half of its neighbours reach, names who has
 * come once and for all, opens nothing before enough neighbours have confirmed the same list to it under keys that the server
 * does not have, and opens of each peer the mask or the key, never both. What it cannot know is whether its peers are people: a
 * server that invents most of a cohort sees the rest of it (SECURITY.md).
 */
export interface SecureClient {
  /** Names the task and the round: keys of one round mean nothing in another. */
  round: string;
  cipher: KeyPair;
  mask: KeyPair;
  /** Of the own mask. */
  seed: Bytes;
  me?: number;
  threshold?: number;
  peers?: { member: number; cipherKey: string; maskKey: string }[];
  /** The own share of the own seed. */
  ownShare?: Bytes;
  /** What peers have entrusted, of those whose shares could be opened. */
  entrusted?: { member: number; seedShare: Bytes; keyShare: Bytes }[];
  /** Peers with whom it shares a mask in the vector that it has sent. */
  partners?: number[];
  survivors?: number[];
}

/** The edge asks for something that would give a secret away, or that the protocol does not know. Nothing is sent. */
export class SecureError extends Error {
  override readonly name = "SecureError";
}

/** @param round of which task, and its number */
export const beginSecure = async (round: string): Promise<SecureClient> => ({
  round,
  cipher: await newKeyPair(),
  mask: await newKeyPair(),
  seed: randomBytes(SECRET),
});

export const keysOf = async ({ cipher, mask, seed }: SecureClient): Promise<Keys> => ({
  cipherKey: uint8ArrayToBase64(cipher.publicKey),
  maskKey: uint8ArrayToBase64(mask.publicKey),
  seedDigest: uint8ArrayToBase64(await crypto.subtle.digest("SHA-256", seed)),
});

/** Cuts both secrets into shares, one for each peer. @throws SecureError */
export async function share(
  state: SecureClient,
  { me, threshold, peers }: StepOf<"shares">,
): Promise<{ state: SecureClient; message: Shares }> {
  if (state.peers) throw new SecureError("The edge asks for shares a second time.");
  const members = new Set([me, ...peers.map(({ member }) => member)]);
  const keys = new Set(peers.flatMap(({ cipherKey, maskKey }) => [cipherKey, maskKey]));
  if (members.size !== peers.length + 1 || keys.size !== 2 * peers.length) {
    throw new SecureError("The edge names the same peer twice.");
  }
  if (peers.length < 2 || threshold > members.size || 2 * threshold <= members.size) {
    throw new SecureError(`The edge would open secrets with ${threshold} of ${members.size} shares.`);
  }
  const [seedShares, keyShares] = await Promise.all([
    split(state.seed, members.size, threshold),
    split(state.mask.privateKey, members.size, threshold),
  ]);
  const shares = await Promise.all(
    peers.map(async ({ member, cipherKey }, i) => {
      const secret = await agree(state.cipher.privateKey, base64ToUint8Array(cipherKey), state.round, "shares");
      const both = concatUint8Arrays([seedShares[i] as Uint8Array, keyShares[i] as Uint8Array]);
      return { to: member, sealed: uint8ArrayToBase64(await seal(secret, both, `${me} to ${member}`)) };
    }),
  );
  const ownShare = concatUint8Arrays([seedShares.at(-1) as Uint8Array]);
  return { state: { ...state, me, threshold, peers, ownShare }, message: { shares } };
}

/**
 * Opens what peers have sealed for this client, and says of whom that cannot be done: who has sealed rubbish for many is left out before
 * anybody masks with it, and what few cannot open, the shares of the others open.
 * @throws SecureError
 */
export async function check(
  state: SecureClient,
  { inbox }: StepOf<"check">,
): Promise<{ state: SecureClient; message: Check }> {
  const { me, peers } = after(state, "shares");
  if (new Set(inbox.map(({ member }) => member)).size !== inbox.length) {
    throw new SecureError("The edge names the same peer twice.");
  }
  const unopened: number[] = [];
  const opened = await Promise.all(
    inbox.map(async ({ member, sealed }) => {
      const secret = await agree(state.cipher.privateKey, keyOf(peers, member, "cipherKey"), state.round, "shares");
      const both = await open(secret, base64ToUint8Array(sealed), `${member} to ${me}`).catch(() => undefined);
      if (both) return { member, seedShare: both.slice(0, both.length / 2), keyShare: both.slice(both.length / 2) };
      unopened.push(member);
      return undefined;
    }),
  );
  const entrusted = opened.filter((one) => one !== undefined);
  if (state.entrusted && String(namesOf(state.entrusted)) !== String(namesOf(entrusted))) {
    throw new SecureError("The edge names other peers than before.");
  }
  return { state: { ...state, entrusted }, message: { unopened: unopened.sort((a, b) => a - b) } };
}

const namesOf = (entrusted: NonNullable<SecureClient["entrusted"]>): number[] => entrusted.map(({ member }) => member);

/**
 * Masks a vector, in place: with the own mask, and with one for each partner, which that partner takes away.
 * @throws SecureError when too few have entrusted their shares to this client
 */
export async function maskVector(
  state: SecureClient,
  { partners }: StepOf<"mask">,
  vector: Uint32Array,
): Promise<SecureClient> {
  const { me, threshold, peers, entrusted } = { ...after(state, "shares"), entrusted: state.entrusted ?? [] };
  const inside = new Set(partners);
  const trusting = entrusted.filter(({ member }) => inside.has(member));
  if (inside.size !== partners.length || trusting.length + 1 < threshold) {
    throw new SecureError(`${trusting.length} of ${peers.length} peers have shared; ${threshold - 1} are needed.`);
  }
  if (state.partners && String(state.partners) !== String(partners)) {
    throw new SecureError("The edge names other peers than before.");
  }
  for (const member of partners) {
    const seed = await agree(state.mask.privateKey, keyOf(peers, member, "maskKey"), state.round, "mask");
    await addMask(vector, seed, me < member ? 1 : -1);
  }
  await addMask(vector, state.seed, 1);
  return { ...state, partners };
}

/** Tells the peers, through the edge, whose vectors it says have come. @throws SecureError */
export async function confirm(
  state: SecureClient,
  { survivors }: StepOf<"confirm">,
): Promise<{ state: SecureClient; message: Confirmation }> {
  const { me, threshold } = after(state, "shares");
  const came = new Set(survivors);
  if (state.survivors && String(state.survivors) !== String(survivors)) {
    throw new SecureError("The edge says that others have come than before.");
  }
  const here = partnersOf(state).filter((member) => came.has(member));
  if (came.size !== survivors.length || !came.has(me) || here.length + 1 < threshold) {
    throw new SecureError(`${here.length} peers are left; ${threshold - 1} are needed.`);
  }
  const macs = await Promise.all(
    here.map(async (member) => ({ member, mac: uint8ArrayToBase64(await listMac(state, member, me, survivors)) })),
  );
  return { state: { ...state, survivors }, message: { macs } };
}

/**
 * Opens shares, once enough peers have confirmed the list: of the mask of who has come, of the key of who has not.
 * @throws SecureError
 */
export async function reveal(state: SecureClient, { macs }: StepOf<"reveal">): Promise<Reveal> {
  const { me, threshold, ownShare } = after(state, "shares");
  const { survivors } = state;
  const partners = new Set(partnersOf(state));
  const entrusted = (state.entrusted ?? []).filter(({ member }) => partners.has(member));
  if (!survivors) throw new SecureError("The edge has not said who has come.");
  const came = new Set(survivors);
  const confirmed = new Set<number>();
  for (const { member, mac: told } of macs) {
    if (!came.has(member) || !partners.has(member)) continue;
    // Told another list, or a liar: either way it confirms nothing. More than half of the peers have to confirm the very same list, so
    // that no two lists can be confirmed, and one member cannot stop all others by a wrong word.
    if (uint8ArrayToBase64(await listMac(state, member, member, survivors)) === told) confirmed.add(member);
  }
  if (confirmed.size + 1 < threshold) {
    throw new SecureError(`${confirmed.size} peers have confirmed the list; ${threshold - 1} are needed.`);
  }
  const seeds = entrusted.filter(({ member }) => came.has(member));
  return {
    seeds: [
      { of: me, share: uint8ArrayToBase64(ownShare) },
      ...seeds.map(({ member, seedShare }) => ({ of: member, share: uint8ArrayToBase64(seedShare) })),
    ],
    keys: entrusted
      .filter(({ member }) => !came.has(member))
      .map(({ member, keyShare }) => ({ of: member, share: uint8ArrayToBase64(keyShare) })),
  };
}

function partnersOf({ partners }: SecureClient): number[] {
  if (!partners) throw new SecureError("The edge has skipped a step: mask.");
  return partners;
}

/** What one member says to a peer of who has come; both can compute it, the edge cannot. */
async function listMac(
  { cipher, peers = [], round }: SecureClient,
  peer: number,
  from: number,
  survivors: number[],
): Promise<Bytes> {
  const secret = await agree(cipher.privateKey, keyOf(peers, peer, "cipherKey"), round, "list");
  return mac(secret, `${from}: ${survivors.join()}`);
}

function keyOf(peers: NonNullable<SecureClient["peers"]>, member: number, which: "cipherKey" | "maskKey"): Bytes {
  const peer = peers.find((one) => one.member === member);
  if (!peer) throw new SecureError(`Member ${member} is no peer of this client.`);
  return base64ToUint8Array(peer[which]);
}

function after(
  { me, threshold, peers, ownShare }: SecureClient,
  step: string,
): Required<Pick<SecureClient, "me" | "threshold" | "peers" | "ownShare">> {
  if (me === undefined || threshold === undefined || !peers || !ownShare) {
    throw new SecureError(`The edge has skipped a step: ${step}.`);
  }
  return { me, threshold, peers, ownShare };
}
