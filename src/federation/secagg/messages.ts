import * as v from "valibot";

/** What clients and edge tell each other in a round with secure aggregation. Bytes are base64. */

const member = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(999));
/** As a pattern, so that the edge's description says how long they are. */
const bytes = (length: number) => {
  const pattern = `^[A-Za-z0-9+/]{${Math.ceil((8 * length) / 6)}}={${(3 - (length % 3)) % 3}}$`;
  return v.pipe(v.string(), v.regex(new RegExp(pattern), `not ${length} bytes in base64`));
};
/** A share is a byte longer than its secret. */
const SHARE = 33;
/** Two shares, with AES-GCM's nonce and tag. */
const SEALED = 2 * SHARE + 12 + 16;

const keys = { cipherKey: bytes(32), maskKey: bytes(32) };

export const keysSchema = v.strictObject({
  ...keys,
  /** SHA-256 of the seed of the client's own mask: nobody can open another one in its place. */
  seedDigest: bytes(32),
});
export type Keys = v.InferOutput<typeof keysSchema>;

export const sharesSchema = v.strictObject({
  shares: v.pipe(v.array(v.strictObject({ to: member, sealed: bytes(SEALED) })), v.maxLength(1000)),
});
export type Shares = v.InferOutput<typeof sharesSchema>;

export const checkSchema = v.strictObject({
  /** Peers whose sealed shares this member cannot open. */
  unopened: v.pipe(v.array(member), v.maxLength(1000)),
});
export type Check = v.InferOutput<typeof checkSchema>;

const macs = v.pipe(v.array(v.strictObject({ member, mac: bytes(32) })), v.maxLength(1000));
export const confirmationSchema = v.strictObject({ macs });
export type Confirmation = v.InferOutput<typeof confirmationSchema>;

const opened = v.pipe(v.array(v.strictObject({ of: member, share: bytes(SHARE) })), v.maxLength(1000));
export const revealSchema = v.strictObject({
  /** Of the own masks of those whose vectors have come. */
  seeds: opened,
  /** Of the keys of those who have left after they had shared them. */
  keys: opened,
});
export type Reveal = v.InferOutput<typeof revealSchema>;

export const secureMessageSchema = v.variant("step", [
  v.strictObject({ step: v.literal("keys"), ...keysSchema.entries }),
  v.strictObject({ step: v.literal("shares"), ...sharesSchema.entries }),
  v.strictObject({ step: v.literal("check"), ...checkSchema.entries }),
  v.strictObject({ step: v.literal("confirm"), ...confirmationSchema.entries }),
  v.strictObject({ step: v.literal("reveal"), ...revealSchema.entries }),
]);
export type SecureMessage = v.InferOutput<typeof secureMessageSchema>;

/** What the edge wants of a member next. */
export const secureStepSchema = v.variant("step", [
  v.object({ step: v.literal("keys") }),
  v.object({ step: v.literal("wait"), seconds: v.number() }),
  v.object({
    step: v.literal("shares"),
    me: member,
    threshold: v.pipe(v.number(), v.integer(), v.minValue(2)),
    peers: v.array(v.object({ member, ...keys })),
  }),
  /** These have shared their secrets: what they have sealed for this member is to be opened. */
  v.object({ step: v.literal("check"), inbox: v.array(v.object({ member, sealed: bytes(SEALED) })) }),
  /** Mask and send: these peers do so too. */
  v.object({ step: v.literal("mask"), partners: v.array(member) }),
  /** These vectors have come. */
  v.object({ step: v.literal("confirm"), survivors: v.array(member) }),
  /** What the neighbours say has come. */
  v.object({ step: v.literal("reveal"), macs }),
  v.object({ step: v.literal("over"), published: v.boolean() }),
]);
export type SecureStep = v.InferOutput<typeof secureStepSchema>;
export type StepOf<K extends SecureStep["step"]> = Extract<SecureStep, { step: K }>;
