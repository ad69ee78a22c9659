import { expect } from "vitest";
import type { Assignment } from "../../src/federation/protocol";
import { clipTo } from "../../src/federation/privacy/clip";
import { follow, maskedBody, type SecureMember } from "../../src/federation/secagg/member";
import type { SecureMessage, SecureStep } from "../../src/federation/secagg/messages";
import { ringOf, type RingFacts } from "../../src/federation/secagg/ring";
import type { TestTask } from "./testing";

/** Before which of its messages a member leaves. */
export type Leaves = "shares" | "vector" | "confirmation" | undefined;
/** What a liar says instead of what the protocol wants; undefined where it says nothing. */
export type Lie = (message: SecureMessage) => SecureMessage | undefined;

/** What a member of a secure round sends, and how it misbehaves. */
export interface Part {
  delta: Float32Array;
  facts: Omit<RingFacts, "below">;
  /** Decides the rounding. */
  seed: number;
  leaves?: Leaves | undefined;
  lie?: Lie;
}

/** A client's whole part in a round with secure aggregation, up to where it leaves. */
export async function takePart(
  task: TestTask,
  assignment: Assignment,
  { delta, facts, seed, leaves, lie = (message) => message }: Part,
): Promise<void> {
  const { round, id, secure, plan } = assignment;
  const { codec } = plan;
  if (!secure || (codec !== "int8" && codec !== "int4")) throw new Error("not secure");
  const path = `/rounds/${round}/secure/${id}`;
  let gone = false;
  const member: SecureMember = {
    round: `${task.name}/${round}`,
    state: undefined,
    save: () => Promise.resolve(),
    send: async (message?: SecureMessage) => {
      if (leaves === "shares" && message?.step === "shares") gone = true;
      if (gone) return { step: "over", published: false };
      const said = message && lie(message);
      const init = said ? { method: "POST", body: JSON.stringify(said) } : {};
      // An edge that is being killed answers 500; asking again is harmless.
      for (;;) {
        const response = await task.fetchSigned(path, assignment, init);
        if (response.status === 200) return response.json<SecureStep>();
        // A liar that was found out.
        if (response.status === 422 && said !== message) return { step: "over", published: false };
        expect(response.status).toBe(500);
      }
    },
    pause: () => new Promise((resolve) => setTimeout(resolve, 50)),
  };
  const step = await follow(member, "mask");
  if (step.step === "over" || leaves === "vector") return;
  const { delta: clipped, isBelow } = clipTo(delta, secure.clip);
  const ring = ringOf(task.model, { codec, ...secure });
  const vector = { delta: clipped, facts: { ...facts, below: isBelow ? 1 : 0 }, seed, rotation: round };
  const body = await maskedBody(member, step, ring, vector);
  expect(body.length).toBe(Math.ceil((ring.length * ring.bits) / 8));
  let { status } = await task.upload(assignment, body);
  while (status === 500) ({ status } = await task.upload(assignment, body));
  expect([200, 202]).toContain(status);
  if (leaves !== "confirmation") await follow(member, "over");
}
