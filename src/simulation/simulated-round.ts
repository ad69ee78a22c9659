import { DEFAULT_ROUND } from "../federation/default-round";
import { roundConfigSchema, type RoundConfig } from "../federation/protocol";
import { drawCohort } from "../federation/round/draw";
import { beginRound, isOver, wantedClients, type MemberState, type RoundLife } from "../federation/round/life";
import { transition, type RoundEffect, type RoundEvent } from "../federation/round/machine";
import { expectedCohort } from "./cohort";
import type { LabConfig } from "./config";

/**
 * What a round on the edge would be told of a run, so that it does the same: all fields that both know, and for the others what a
 * rehearsal is without: strangers, evaluators, and clients to wait for.
 * @param series what the rounds before have made of the learning rate and the clip
 * @param cohort clients that the run's schedule has chosen, where it has one
 */
export function roundOf(
  config: LabConfig,
  series: Pick<RoundConfig, "learningRate" | "updateClip">,
  cohort: number,
): RoundConfig {
  const shared = Object.fromEntries(Object.entries(config).filter(([key]) => key in roundConfigSchema.entries));
  return {
    ...DEFAULT_ROUND,
    ...(shared as Partial<RoundConfig>),
    learningRate: series.learningRate,
    updateClip: series.updateClip,
    // With noise the sum is divided by a number that is fixed before anybody comes.
    goalCount: config.noise > 0 || !config.schedule ? expectedCohort(config) : cohort,
    fraction: config.schedule ? 1 : config.fraction,
    overSelection: 1,
    selectionSeconds: 0,
    evaluators: 0,
    agreement: 0,
  };
}

/** A round of a simulation: the same machine as the edge's, with its members in memory and a clock that only its own end moves. */
export class SimulatedRound {
  #life: RoundLife;
  #now = 0;
  readonly #members = new Map<string, MemberState>();
  #effects: RoundEffect[] = [];

  constructor(number: number, config: RoundConfig) {
    this.#life = beginRound(number, config, this.#now);
  }

  get life(): Readonly<RoundLife> {
    return this.#life;
  }

  /** Draws the cohort of all clients: a rehearsal has them all there, however C of them is rounded. */
  draw(clients: readonly number[], random: () => number): number[] {
    const waiting = Math.max(clients.length, wantedClients(this.#life.config));
    this.#send({ type: "waiting", clients: waiting });
    const draw = this.#effects.find(({ effect }) => effect === "draw");
    if (draw?.effect !== "draw") throw new Error("A simulated round is not drawn.");
    return drawCohort(clients, draw.draw, random).sort((a, b) => a - b);
  }

  /** The cohort is this. @returns whether it is large enough to train */
  begin(cohort: readonly string[], clients: number): boolean {
    this.#life = { ...this.#life, waiting: clients };
    for (const id of cohort) this.#members.set(id, "training");
    this.#send({ type: "drawn", members: cohort.length });
    return this.#life.state === "training";
  }

  /** A member's update has come. @returns whether it counts */
  take(id: string): boolean {
    for (const type of ["uploaded", "counted"] as const) {
      const state = this.#members.get(id);
      if (state) this.#send({ type, member: { id, state, round: this.#life.number } });
    }
    return this.#members.get(id) === "counted";
  }

  /** Nobody else comes. @returns whether there is something to average */
  close(): boolean {
    if (this.#life.state === "training") {
      this.#now = this.#life.deadline ?? this.#now;
      this.#send({ type: "time" });
    }
    return this.#effects.some(({ effect }) => effect === "merge");
  }

  /** The average was made, or cannot be. @returns whether the candidate is published */
  conclude(event: Extract<RoundEvent, { type: "merged" | "failed" }>): boolean {
    this.#send(event);
    if (!isOver(this.#life)) throw new Error(`A simulated round waits in ${this.#life.state}.`);
    return this.#life.state === "published";
  }

  #send(event: RoundEvent): void {
    const { state, effects } = transition(this.#life, event, this.#now);
    this.#life = state;
    this.#effects = effects;
    for (const effect of effects) {
      if (effect.effect === "member") this.#members.set(effect.id, effect.to);
      if (effect.effect !== "drop-missing") continue;
      for (const [id, state] of this.#members) if (state === "training") this.#members.set(id, "dropped");
    }
  }
}
