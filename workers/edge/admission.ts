import { localSteps } from "../../src/federation/aggregation/fednova";
import { needsInitialLoss, needsSteps } from "../../src/federation/aggregation/registry";
import type { ProblemCode } from "../../src/federation/problems";
import { mostExamples } from "../../src/federation/round/bounds";
import { hidesCohort, isKept, keptOf } from "../../src/federation/round/rule";
import type { RoundConfig } from "../../src/federation/protocol";
import { optimizerRule } from "../../src/federation/server-optimizers/registry";
import { steppedSpans } from "../../src/federation/server-optimizers/stepped-spans";
import { personalSpans, seesSteps } from "../../src/federation/strategies/live";
import type { Span } from "../../src/federation/strategies/strategy";
import type { UpdateMetadata, UpdateSummary } from "../../src/federation/update";
import type { RoundDriver, TaskContext } from "./round-driver";
import type { SecureRounds } from "./secure-rounds";
import type { RoundRow } from "./store/rounds";
import type { UpdateRow } from "./store/updates";
import { modelOf, type VectorFormat } from "./upload";
import { Uploads } from "./uploads";

/** The longest that one upload may take. */
const UPLOAD_MS = 600_000;

/** What became of an upload. A refusal crosses to the router as data: an exception would lose its class on the way. */
export type UploadAnswer =
  | { status: "accepted" | "already-accepted" }
  | { status: "refused"; code: ProblemCode }
  /**
   * The upload is worth reading; as a masked vector, where its round wants one; `ignored` of it counts as 0, and the norm of `stepped` is
   * asked for.
   */
  | ({ status: "go-on" } & Reading);

interface Reading {
  vector: VectorFormat | null;
  ignored: Span[];
  stepped: Span[];
}

/** That an upload may begin: until when it is of use, and its name, by which its end is told. */
export type Admitted =
  Exclude<UploadAnswer, { status: "go-on" }> | ({ status: "go-on"; until: number; upload: string } & Reading);

/** An upload whose bytes are in R2. */
export interface StoredUpload {
  digest: string;
  bytes: number;
  summary: UpdateSummary;
  continent: string | null;
  /** Its name, from when it was admitted. */
  upload: string;
}

/** Decides which uploads are worth reading, and which updates count. */
export class Admission {
  readonly #uploads = new Uploads();
  #most: { round: number; examples: number } | undefined;

  constructor(
    private readonly context: TaskContext,
    private readonly driver: RoundDriver,
    private readonly secure: SecureRounds,
    private readonly changed: (round: number) => void,
  ) {}

  /** Whether an upload is worth reading, before its body is, and until when. Its end is to be told: {@link over}. */
  admit(assignedRound: number, id: string, digest: string): Admitted {
    const answer = this.#answer(assignedRound, id, digest);
    if (answer.status !== "go-on") return answer;
    const now = Date.now();
    // After its deadline a round takes nothing; a moment later, so that it is the Coordinator that says so.
    const deadline = this.context.store.rounds.open()?.deadline ?? now + UPLOAD_MS;
    const until = Math.min(now + UPLOAD_MS, deadline + 1000);
    const upload = this.#uploads.begin(id, until, now);
    if (upload === undefined) return this.refuse(assignedRound, "too-many-requests");
    return { ...answer, until, upload };
  }

  over(id: string, upload: string): void {
    this.#uploads.end(id, upload);
  }

  /** Forgets the uploads under way, when none of them can count any more. */
  clear(): void {
    this.#uploads.clear();
    this.#most = undefined;
  }

  /** Accepts an update whose bytes are in R2. After this it counts, once, whatever fails. */
  accept(assignedRound: number, id: string, upload: StoredUpload): UploadAnswer {
    const { storage, store } = this.context;
    this.#uploads.end(id, upload.upload);
    return storage.transactionSync((): UploadAnswer => {
      const admitted = this.#answer(assignedRound, id, upload.digest);
      const member = store.updates.get(id);
      const open = store.rounds.open();
      if (admitted.status !== "go-on" || !member || !open) return admitted;
      const { metadata, norm, stepNorm } = upload.summary;
      const wrong = metadata && this.#whyWrong(metadata, member, open);
      if (wrong) return this.refuse(assignedRound, wrong);
      const now = Date.now();
      const driven = this.driver.send({ type: "uploaded", member }, now);
      if (!driven?.effects.some(({ effect }) => effect === "member")) return this.refuse(assignedRound, "round-closed");
      // A masked vector says nothing of itself: its id says where it belongs.
      const most = this.#mostExamples(open, id);
      const counted = metadata && {
        ...metadata,
        examples: Math.min(metadata.examples, member.claimed ?? Infinity, most),
        evalExamples: Math.min(metadata.evalExamples, open.config.maxExamples),
        // Of all that it has trained on, also of what does not count.
        ...((seesSteps(open.config) || needsSteps(open.config)) && {
          steps: localSteps(metadata.examples, open.config),
        }),
        ...(stepNorm !== undefined && { stepNorm }),
      };
      const place = { round: open.number, staleness: metadata ? open.base - member.base : 0 };
      store.updates.setUploaded(id, { ...upload, summary: { metadata: counted, norm } }, place, now);
      if (open.config.topology === "gossip") this.#takeToHub(id, open.number, upload.continent);
      return { status: "accepted" };
    });
  }

  /** Counts a refusal on the dashboard, unless its round hides its cohort, and returns it. */
  refuse(round: number, code: ProblemCode): { status: "refused"; code: ProblemCode } {
    const { store } = this.context;
    if (store.rounds.exists(round) && !hidesCohort(store.rounds.get(round).config)) {
      store.refusals.add(round, code);
      this.changed(round);
    }
    return { status: "refused", code };
  }

  #answer(assignedRound: number, id: string, digest: string): UploadAnswer {
    const { store } = this.context;
    const refused = (code: ProblemCode) => this.refuse(assignedRound, code);
    const update = store.updates.get(id);
    if (!update) return refused("not-selected");
    if (update.assignedRound !== assignedRound) return refused("wrong-round");
    if (update.state === "uploaded" || update.state === "counted" || update.state === "dead") {
      return update.digest === digest ? { status: "already-accepted" } : refused("repeated-id");
    }
    if (store.settings.earlyStop !== undefined) return refused("early-stopped");
    // Withdrawn by its client, or out of the round.
    if (update.state === "dropped") return refused("round-closed");
    const open = store.rounds.open();
    if (open?.config.mode === "async") {
      // It counts in the open round, whichever it was assigned in.
      if (open.state !== "training") return { status: "refused", code: "round-busy" };
      return { status: "go-on", vector: null, ignored: [], stepped: this.#stepped(open.config) };
    }
    if (open?.number !== assignedRound || open.state !== "training") return refused("round-closed");
    if (!open.config.secure) {
      const ignored = personalSpans(open.config, modelOf(this.context.task));
      return { status: "go-on", vector: null, ignored, stepped: this.#stepped(open.config) };
    }
    // A vector that nobody has agreed on masks for would stay masked for ever.
    if (!store.secure.wantsVector(open.number, id)) return refused("not-selected");
    const { bits, length } = this.secure.ring(open);
    return { status: "go-on", vector: { bits, length }, ignored: [], stepped: [] };
  }

  /** What the norms are of that a round's server optimizer goes by; nothing where it sees none. */
  #stepped(config: RoundConfig): Span[] {
    if (!optimizerRule(config.serverOptimizer).seesUpdates) return [];
    const model = modelOf(this.context.task);
    return steppedSpans(model.tensors, (tensor) => isKept(model, tensor, keptOf(config)));
  }

  #whyWrong(metadata: UpdateMetadata, member: UpdateRow, { config }: RoundRow): ProblemCode | undefined {
    const { task, store } = this.context;
    if (metadata.round !== member.assignedRound || metadata.task !== task) return "wrong-round";
    if (metadata.codec !== config.codec) return "wrong-codec";
    if (metadata.base !== store.checkpoints.get(member.base).sha256) return "wrong-base";
    if (needsInitialLoss(config) && metadata.initialLoss === undefined) return "bad-header";
    return undefined;
  }

  /** The most faces that an update counts for. A synchronous round's members are those that were drawn, so that once is enough. */
  #mostExamples({ number, config }: RoundRow, id: string): number {
    if (this.#most?.round === number) return this.#most.examples;
    const examples = mostExamples(config, this.context.store.updates.claims(number, id));
    if (config.mode === "sync") this.#most = { round: number, examples };
    return examples;
  }

  /** In a round that gossips, the hub of a client's region takes its update. */
  #takeToHub(id: string, round: number, continent: string | null): void {
    const { env, store } = this.context;
    if (continent === null) return;
    const near = env.HUBS.find(({ continents }) => continents.includes(continent))?.name;
    const hub = store.rounds.hubs(round).findIndex(({ name, state }) => name === near && state !== "gone");
    if (hub >= 0) store.updates.setShard(id, hub);
  }
}
