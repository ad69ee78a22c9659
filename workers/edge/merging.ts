import type { DreamVerdict } from "../../src/federation/guard";
import { isRobust } from "../../src/federation/aggregation/registry";
import { optimizerRule } from "../../src/federation/server-optimizers/registry";
import { hidesUpdates, keptOf, noiseRuleOf, optimizerOf } from "../../src/federation/round/rule";
import { metadataOf, remembers, seesSteps, tellsMemory } from "../../src/federation/strategies/live";
import type { MergePlan, PublishedFile } from "./aggregator";
import { hubOf, judgeOf } from "./env";
import type { HubPlan, HubProgress } from "./hub";
import { log } from "./log";
import { mergeName, type UpdatePlaces } from "./placing";
import { newHub, type RoundDriver, type TaskContext } from "./round-driver";
import type { SecureRounds } from "./secure-rounds";
import type { StoredLife } from "./store/store";

/** After how long without an answer a hub is given up. */
const HUB_SILENCE_MS = 10_000;

/** Makes the candidate of a round that has all its updates. */
export class Merger {
  /** Since when a hub of the open round has not answered. */
  readonly #silentSince = new Map<string, number>();

  constructor(
    private readonly context: TaskContext,
    private readonly driver: RoundDriver,
    private readonly secure: SecureRounds,
    private readonly places: UpdatePlaces,
    private readonly changed: (round: number) => void,
  ) {}

  /** Forgets what the hubs of the round before did. */
  clear(): void {
    this.#silentSince.clear();
  }

  /**
   * Averages a round's updates and has its candidate evaluated or published; nothing yet, where that takes more time.
   * @throws Error where the next alarm may have more luck
   */
  async merge(round: StoredLife): Promise<void> {
    const { store } = this.context;
    const corrections = round.config.secure ? await this.secure.corrections(round.number) : null;
    if (corrections === undefined) return;
    const plan = this.#planOf(round, corrections);
    let merged: PublishedFile | undefined;
    try {
      merged = await this.#average(round, plan);
    } catch (error) {
      // Too few updates for a robust rule, or hubs that do not agree: no later try can help.
      if (!(error instanceof RangeError)) throw error;
      this.#giveUp(round, error.message);
    }
    if (!merged) return;
    const dreams = await this.#dreamsOf(round, merged.sha256);
    if (dreams === undefined) return;
    const { differenceBytes, facts, cosines = [], ...file } = merged;
    const difference = differenceBytes !== undefined && {
      difference: { from: plan.base.sha256, bytes: differenceBytes },
    };
    const checkpoint = { ...file, ...difference, version: plan.version, trained: true };
    this.context.storage.transactionSync(() => {
      const open = store.rounds.open();
      if (open?.number !== round.number || open.state !== "aggregating") return;
      const now = Date.now();
      if (facts) store.rounds.setFacts(round.number, facts);
      for (const { id, cosine } of cosines) store.updates.setCosine(id, cosine);
      store.checkpoints.add(checkpoint, "candidate", round.number, now);
      this.driver.send({ type: "merged", version: plan.version, dreams, evidence: [] }, now, round.number);
    });
  }

  #planOf(
    { number, base: baseVersion, config, tally }: StoredLife,
    corrections: NonNullable<MergePlan["secure"]>["corrections"] | null,
  ): Omit<MergePlan, "shards" | "updates"> {
    const { store, task } = this.context;
    const base = store.checkpoints.get(baseVersion);
    const version = store.checkpoints.nextVersion();
    return {
      secure: corrections && { ring: this.secure.ring({ number, config }), corrections, rotation: number },
      aggregation: config.aggregation,
      byzantine: config.byzantine,
      optimizer: optimizerOf(config),
      server: remembers(config)
        ? {
            name: config.strategy,
            choice: config,
            updates: tally.counted,
            isBegun: store.rounds.isRemembered(baseVersion, config),
            isTold: tellsMemory(config),
            perStep: seesSteps(config) ? this.places.perStep({ number, config }) : [],
          }
        : null,
      meanSquare: optimizerRule(config.serverOptimizer).seesUpdates ? this.places.meanSquare({ number, config }) : 0,
      prior: config.prior,
      kept: keptOf(config),
      downloadCodec: config.downloadCodec,
      privacy: noiseRuleOf(config),
      base: { sha256: base.sha256, version: base.version },
      measured: hidesUpdates(config) ? [] : this.places.measured(number),
      version,
      expected: { count: tally.counted, examples: store.updates.examples(number) },
      metadata: {
        codec: "float32",
        task,
        version: String(version),
        round: String(number),
        base: base.sha256,
        ...metadataOf(config),
      },
    };
  }

  #average(round: StoredLife, plan: Omit<MergePlan, "shards" | "updates">): Promise<PublishedFile | undefined> {
    const { config, number } = round;
    if (config.topology === "gossip") return this.#gossip(number, plan);
    const compared = isRobust(config) ? this.places.compared(round) : [];
    const shards = isRobust(config) ? [] : this.places.shardsOf(number);
    const aggregator = this.places.aggregator(mergeName(this.context.task, number));
    return aggregator.merge({ ...plan, shards, updates: compared });
  }

  /**
   * What a round's candidate says of dreamed faces, held against its base.
   * @returns null where the round does not ask for it, or its base knows nothing that could be forgotten; undefined where the candidate
   *   cannot be used, and the round has been given up
   * @throws Error where the judge has not what it needs: tried again by the next alarm, until the round's time for it is over
   */
  async #dreamsOf(round: StoredLife, candidate: string): Promise<DreamVerdict | null | undefined> {
    const { store, env, task } = this.context;
    const base = store.checkpoints.get(round.base);
    if (round.config.agreement === 0 || !store.checkpoints.isTrained(round.base)) return null;
    const verdict = await judgeOf(env).judge(task, base.sha256, candidate);
    if (!("failure" in verdict)) return verdict;
    const { failure, detail } = verdict;
    if (failure === "no-checkpoint" || failure === "no-dreams") throw new Error(detail);
    this.#giveUp(round, detail);
    return undefined;
  }

  #giveUp({ number }: StoredLife, reason: string): void {
    this.driver.send({ type: "failed", reason, lasting: true }, Date.now(), number);
  }

  /**
   * Has the hubs of a round come to the mean, and asks them how far they are.
   * @returns the checkpoint that all of them have agreed on; undefined while they have not
   * @throws RangeError when one has computed another, or none is left
   */
  async #gossip(
    number: number,
    plan: Omit<HubPlan, "round" | "members" | "generation">,
  ): Promise<PublishedFile | undefined> {
    const { store, env, task } = this.context;
    const before = store.rounds.hubs(number);
    const names = before.filter(({ state }) => state !== "gone").map(({ name }) => name);
    if (names.length === 0) throw new RangeError("No hub of the round answers.");
    const generation = 1 + before.length - names.length;
    const hubPlan: HubPlan = { ...plan, round: number, members: names, generation };
    const answers = await Promise.all(
      names.map((name) => this.#answerOf(name, () => hubOf(env, task, number, name).mix(hubPlan))),
    );
    const now = Date.now();
    const states = new Map(before.map((hub) => [hub.name, hub]));
    for (const [i, answer] of answers.entries()) {
      const name = names[i] ?? "";
      if (answer) {
        this.#silentSince.delete(name);
        const { checkpoint: _, failure: __, ...progress } = answer;
        states.set(name, { ...newHub(name), ...progress });
      } else if (!this.#silentSince.has(name)) this.#silentSince.set(name, now);
    }
    store.rounds.setHubs(number, [...states.values()]);
    this.changed(number);
    for (const name of names) {
      if (now - (this.#silentSince.get(name) ?? now) < HUB_SILENCE_MS) continue;
      if (this.places.hubGone(number, name)) this.#silentSince.delete(name);
    }
    const failure = answers.find((answer) => answer?.failure != null)?.failure;
    if (failure != null) throw new RangeError(failure);
    if (answers.some((answer) => answer?.state === "disagrees")) {
      throw new RangeError("A hub has computed another mean than the one that was announced.");
    }
    const [first] = answers;
    const agreed = answers.every(
      (answer) => answer?.checkpoint && answer.checkpoint.sha256 === first?.checkpoint?.sha256,
    );
    return agreed ? (first?.checkpoint ?? undefined) : undefined;
  }

  /** What a hub answers; undefined when it does not within a time. */
  async #answerOf(name: string, ask: () => Promise<HubProgress>): Promise<HubProgress | undefined> {
    try {
      return await Promise.race([ask(), scheduler.wait(HUB_SILENCE_MS / 2)]).then((answer) => answer ?? undefined);
    } catch (error) {
      if (!this.#silentSince.has(name)) log("hub-silent", { task: this.context.task, hub: name, error: String(error) });
      return undefined;
    }
  }
}
