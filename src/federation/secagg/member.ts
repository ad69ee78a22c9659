import {
  beginSecure,
  check,
  confirm,
  keysOf,
  maskVector,
  reveal,
  SecureError,
  share,
  type SecureClient,
} from "./client";
import type { SecureMessage, SecureStep } from "./messages";
import { pack, toRing, type Ring, type RingFacts } from "./ring";

/** A client of a round with secure aggregation, and how it reaches the edge and its own memory. */
export interface SecureMember {
  /** Names the task and the round. */
  round: string;
  /** Undefined until the first step is done. */
  state: SecureClient | undefined;
  /** Keeps a state, before anything that follows from it is sent. */
  save: (state: SecureClient) => Promise<void>;
  /** Answers the edge, or only asks it what is next. */
  send: (message?: SecureMessage) => Promise<SecureStep>;
  pause: (seconds: number) => Promise<void>;
}

/**
 * Takes a member through the steps until the edge wants its vector, or until all is over.
 * @returns the step that it has come to
 * @throws SecureError where the edge wants what a client does not do
 */
export async function follow(
  member: SecureMember,
  until: "mask" | "over",
): Promise<Extract<SecureStep, { step: "mask" | "over" }>> {
  const keep = async (state: SecureClient): Promise<void> => {
    member.state = state;
    await member.save(state);
  };
  const begun = (): SecureClient => {
    if (!member.state) throw new SecureError("This device no longer has its secrets of this round.");
    return member.state;
  };
  for (let step = await member.send(); ;) {
    switch (step.step) {
      case "over":
        return step;
      case "mask":
        if (until === "mask") return step;
        await member.pause(1);
        step = await member.send();
        break;
      case "wait":
        await member.pause(step.seconds);
        step = await member.send();
        break;
      case "keys":
        if (!member.state) await keep(await beginSecure(member.round));
        step = await member.send({ step: "keys", ...(await keysOf(begun())) });
        break;
      case "shares": {
        const { state, message } = await share(begun(), step);
        await keep(state);
        step = await member.send({ step: "shares", ...message });
        break;
      }
      case "check": {
        const { state, message } = await check(begun(), step);
        await keep(state);
        step = await member.send({ step: "check", ...message });
        break;
      }
      case "confirm": {
        const { state, message } = await confirm(begun(), step);
        await keep(state);
        step = await member.send({ step: "confirm", ...message });
        break;
      }
      case "reveal":
        step = await member.send({ step: "reveal", ...(await reveal(begun(), step)) });
        break;
    }
  }
}

/**
 * The body of a member's upload: its delta as a masked vector, packed.
 * @param delta clipped
 * @throws SecureError
 */
export async function maskedBody(
  member: SecureMember,
  step: Extract<SecureStep, { step: "mask" }>,
  ring: Ring,
  { delta, facts, seed, rotation }: { delta: Float32Array; facts: RingFacts; seed: number; rotation: number },
): Promise<Uint8Array<ArrayBuffer>> {
  if (!member.state) throw new SecureError("This device no longer has its secrets of this round.");
  const vector = toRing(ring, delta, facts, { seed, rotation });
  const state = await maskVector(member.state, step, vector);
  member.state = state;
  await member.save(state);
  return pack(vector, ring.bits);
}
