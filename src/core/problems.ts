/** Every refusal of the edge: its stable code, HTTP status, and words for a person. */
export const PROBLEMS = {
  "bad-request": { status: 400, title: "The request is not what the edge expects" },
  unauthorized: { status: 401, title: "The admin token is missing or wrong" },
  "not-selected": { status: 403, title: "This update id was not given out" },
  "not-found": { status: 404, title: "There is nothing here" },
  "round-open": { status: 409, title: "A round is already under way" },
  "no-open-round": { status: 409, title: "No round is under way" },
  "round-busy": { status: 503, title: "The round is being averaged; the update can be sent in a moment" },
  "early-stopped": { status: 409, title: "The training has been stopped: it no longer gets better" },
  "not-possible": { status: 409, title: "This cannot be done now" },
  "too-many-requests": { status: 429, title: "Too many requests" },
  "round-closed": { status: 409, title: "The round no longer takes updates" },
  "wrong-round": { status: 409, title: "The update belongs to another round" },
  "wrong-base": { status: 409, title: "The update starts from another checkpoint" },
  "repeated-id": { status: 409, title: "Another update was already accepted under this id" },
  "length-required": { status: 411, title: "The update's length must be announced" },
  "too-large": { status: 413, title: "The update is larger than its model" },
  "wrong-digest": { status: 422, title: "The bytes do not match their SHA-256" },
  truncated: { status: 422, title: "The update ends too early" },
  "header-too-large": { status: 422, title: "The update's header is too long" },
  "bad-header": { status: 422, title: "The update's header cannot be read" },
  "wrong-shape": { status: 422, title: "The update has another model's shape" },
  "wrong-length": { status: 422, title: "The update has another length than it announced" },
  "not-finite": { status: 422, title: "The update holds a number that is not finite" },
  "internal-error": { status: 500, title: "The edge failed" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;
