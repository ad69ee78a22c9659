import { randomBytes } from "node:crypto";

/**
 * By this header our front (front.mjs) shows the edge behind it (../serve.mjs) that it is one: only then is its `cf-connecting-ip`
 * believed. Whatever else speaks to the edge from this machine speaks for itself. Both run in one process, which makes the value.
 */
export const FRONT = { header: "x-best-actor-front", value: randomBytes(24).toString("base64url") };
