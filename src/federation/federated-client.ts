import * as v from "valibot";
import {
  checkInAnswerSchema,
  type Assignment,
  type CheckIn,
  type CheckInAnswer,
  type Evaluation,
  type EvaluationTask,
} from "./protocol";
import { secureStepSchema, type SecureMessage, type SecureStep } from "./secagg/messages";
import type { TaskName } from "./tasks/registry";

/**
 * What every client of the federation asks the edge, whether it is a page or has no browser. How its requests are sent and where its keys
 * are kept, it is told; what it makes of a training stands in trained-update.ts.
 */

/** A request to the edge's interface, before it is signed. */
export interface ClientRequest {
  path: string;
  method: "GET" | "POST" | "PUT" | "DELETE";
  headers?: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
}

/** Signs a request with the client's key of the round and sends it. @returns what the answer's JSON holds; how it fails is its own affair */
type Transport = (request: ClientRequest, key: CryptoKeyPair) => Promise<unknown>;

/** A client's part of an assignment's address. */
type Assigned = Pick<Assignment, "task" | "round" | "id">;

const uploadPath = ({ task, round, id }: Assigned): string => `/api/tasks/${task}/rounds/${round}/updates/${id}`;

/** A client's calls, by a way to send them. What the transport throws comes through; an answer that is none is a ValiError. */
export class FederatedClient {
  constructor(readonly transport: Transport) {}

  /** Says that this client is there, and asks what to do. Doing so again is harmless. */
  async checkIn(task: TaskName, facts: CheckIn, key: CryptoKeyPair): Promise<CheckInAnswer> {
    const request = { path: `/api/tasks/${task}/check-ins`, method: "POST", body: JSON.stringify(facts) } as const;
    return v.parse(checkInAnswerSchema, await this.transport(request, key));
  }

  /** Answers the edge in a round with secure aggregation, or only asks it what is next. Doing so again is harmless. */
  async secureStep(
    { task, round, id }: Assigned,
    message: SecureMessage | undefined,
    key: CryptoKeyPair,
  ): Promise<SecureStep> {
    const path = `/api/tasks/${task}/rounds/${round}/secure/${id}`;
    const request: ClientRequest = message
      ? { path, method: "POST", body: JSON.stringify(message) }
      : { path, method: "GET" };
    return v.parse(secureStepSchema, await this.transport(request, key));
  }

  /** Sends an update: gzipped, or a masked vector, which nothing makes smaller. Sending it again is harmless. @returns the edge's word */
  async sendUpdate(assignment: Assignment, update: Uint8Array<ArrayBuffer>, key: CryptoKeyPair): Promise<string> {
    const headers = {
      "content-type": "application/octet-stream",
      ...(!assignment.secure && { "content-encoding": "gzip" }),
    };
    const answer = await this.transport({ path: uploadPath(assignment), method: "PUT", headers, body: update }, key);
    return v.parse(v.object({ status: v.string() }), answer).status;
  }

  /** Takes an update back, if no mean has been made of it yet. */
  async withdrawUpdate(assigned: Assigned, key: CryptoKeyPair): Promise<"withdrawn" | "too-late"> {
    const answer = await this.transport({ path: uploadPath(assigned), method: "DELETE" }, key);
    return v.parse(v.object({ status: v.picklist(["withdrawn", "too-late"]) }), answer).status;
  }

  /** Answers an evaluation. Sending it again is harmless. */
  async sendEvaluation({ task, id }: EvaluationTask, evaluation: Evaluation, key: CryptoKeyPair): Promise<void> {
    const path = `/api/tasks/${task}/evaluations/${id}`;
    await this.transport({ path, method: "POST", body: JSON.stringify(evaluation) }, key);
  }
}
