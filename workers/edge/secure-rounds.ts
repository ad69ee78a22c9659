import { summarize } from "../../src/model/model";
import { isRingCodec } from "../../src/federation/codecs/registry";
import type { Assignment, RoundConfig } from "../../src/federation/protocol";
import { networkOf } from "../../src/federation/tasks/network";
import type { RoundLife } from "../../src/federation/round/life";
import { ringFactsOf } from "../../src/federation/round/secure";
import { whyUnusable } from "../../src/federation/secagg/check";
import type { SecureMessage, SecureStep } from "../../src/federation/secagg/messages";
import { ringOf, type Ring } from "../../src/federation/secagg/ring";
import { UnmaskingError, type Correction } from "../../src/federation/secagg/server";
import { log } from "./log";
import type { RoundDriver, TaskContext } from "./round-driver";

/** Takes the open round's members through secure aggregation: what they say is in `store.secure`, what it means for the round here. */
export class SecureRounds {
  constructor(
    private readonly context: TaskContext,
    private readonly driver: RoundDriver,
  ) {}

  /** The ring of a round's masked vectors. */
  ring({ number, config }: Pick<RoundLife, "number" | "config">): Ring {
    const { codec } = config;
    if (!isRingCodec(codec)) throw new Error(`There is no ring for ${codec}.`);
    const model = summarize(networkOf(this.context.task));
    return ringOf(model, { codec, ...this.facts(number, config) });
  }

  /** What the members of a round are told of the ring of its vectors. */
  facts(round: number, config: RoundConfig): NonNullable<Assignment["secure"]> {
    return ringFactsOf(config, this.context.store.updates.claims(round));
  }

  /**
   * A member's answer, or only its question: what does it have to do next? One whose answer cannot be right is out of the round, and the
   * others go on without it.
   */
  async take(round: number, id: string, message: SecureMessage | null): Promise<SecureStep | { refused: string }> {
    const { storage, store, task } = this.context;
    const unusable = message?.step === "keys" ? await whyUnusable(message) : undefined;
    const open = store.rounds.open();
    const update = store.updates.get(id);
    if (open?.number !== round || !open.config.secure || update?.assignedRound !== round) {
      const published = store.rounds.exists(round) && store.rounds.get(round).state === "published";
      return { step: "over", published };
    }
    if (message) {
      const now = Date.now();
      const refused = storage.transactionSync(() => {
        const why = store.secure.take(round, id, message, unusable);
        if (why !== undefined) this.#exclude(round, id, now);
        return why;
      });
      this.advance(round, now);
      if (refused !== undefined) {
        log("secure-member-out", { task, round, reason: refused });
        return { refused };
      }
    }
    return store.secure.stepOf(round, id);
  }

  /** Takes a round to its next step, when that is due. */
  advance(number: number, now: number): void {
    const { storage, store } = this.context;
    storage.transactionSync(() => {
      const round = store.life();
      if (round?.number !== number) return;
      let next = store.secure.advance(number, round.config, now);
      if (!next && round.state === "aggregating" && round.tally.uploaded === 0) {
        const counted = store.updates.counted(number).map(({ id }) => id);
        next = store.secure.close(number, counted, round.config, now);
      }
      if (!next) return;
      if ("stuck" in next) this.driver.send({ type: "failed", reason: next.stuck, lasting: true }, now, number);
      else for (const id of next.out) this.#exclude(number, id, now);
    });
  }

  /** What takes the masks off a round's sum; undefined while its members still open their shares, or when they cannot. */
  async corrections(round: number): Promise<Correction[] | undefined> {
    try {
      return await this.context.store.secure.corrections(round, Date.now());
    } catch (error) {
      if (!(error instanceof UnmaskingError)) throw error;
      this.driver.send({ type: "failed", reason: error.message, lasting: true }, Date.now(), round);
      return undefined;
    }
  }

  #exclude(round: number, id: string, now: number): void {
    const { store } = this.context;
    const member = store.updates.get(id);
    store.secure.exclude(round, id);
    if (member) this.driver.send({ type: "excluded", member }, now, round);
  }
}
