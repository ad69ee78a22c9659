import { DEFAULT_ROUND } from "../federation/default-round";
import { roundConfigSchema, type RoundConfig } from "../federation/protocol";
import { drawCohort } from "../federation/round/draw";
import {
  beginRound,
  isOver,
  wantedClients,
  type MemberState,
  type RoundLife,
  type RoundMember,
} from "../federation/round/life";
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
    // A run's strategy averages by itself: strategy-round.ts.
    strategy: "none",
    learningRate: series.learningRate,
    updateClip: series.updateClip,
    // With noise the sum is divided by a number that is fixed before anybody comes.
    goalCount: config.noise > 0 || !config.schedule ? expectedCohort(config) : cohort,
    fraction: config.schedule ? 1 : config.fraction,
    // For those who will leave; a rehearsal has them all there. In an asynchronous run it says how many train at once.
    overSelection: config.mode === "async" ? config.overSelection : 1,
    selectionSeconds: 0,
    evaluators: 0,
    agreement: 0,
  };
}

/** A round of a simulation: the same machine as the edge's, with its members in memory and a clock that is simulated, too. */
export class SimulatedRound {
  #life: RoundLife;
  #now: number;
  readonly #members = new Map<string, RoundMember>();
  #effects: RoundEffect[] = [];

  /** @param now simulated milliseconds */
  constructor(number: number, config: RoundConfig, now = 0) {
    this.#now = now;
    this.#life = beginRound(number, config, now);
  }

  get life(): Readonly<RoundLife> {
    return this.#life;
  }

  /** Simulated milliseconds. */
  get now(): number {
    return this.#now;
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
    for (const id of cohort) this.carry(id, this.#life.number);
    this.#send({ type: "drawn", members: cohort.length });
    return this.#life.state === "training";
  }

  /** A client begins to train, in an asynchronous round. */
  join(id: string): void {
    this.carry(id, this.#life.number);
    this.#send({ type: "joined" });
  }

  /** A client trains that has begun in this round or, where they are asynchronous, an earlier one. */
  carry(id: string, round: number): void {
    this.#members.set(id, { id, state: "training", round });
  }

  isTraining(id: string): boolean {
    return this.#members.get(id)?.state === "training";
  }

  /** A member's update comes, at a time, or now if that is later. @returns whether it counts */
  take(id: string, time: number): boolean {
    this.#now = Math.max(this.#now, time);
    for (const type of ["uploaded", "counted"] as const) {
      const member = this.#members.get(id);
      if (!member) continue;
      this.#send({ type, member });
      // Once it is there it is a member of this round, whichever it has begun in.
      const moved = this.#members.get(id);
      if (moved && moved.state !== "training") this.#members.set(id, { ...moved, round: this.#life.number });
    }
    return this.#members.get(id)?.state === "counted";
  }

  /** It is this late now. */
  at(time: number): void {
    this.#now = time;
    this.#send({ type: "time" });
  }

  /** Nobody else comes. @returns whether there is something to average */
  close(): boolean {
    if (this.#life.state === "training") this.at(this.#life.deadline ?? this.#now);
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
      if (effect.effect === "member") this.#move(effect.id, effect.to);
      else if (effect.effect === "drop-missing") {
        for (const { id, state: at, round } of this.#members.values()) {
          if (at === "training" && round === this.#life.number) this.#move(id, "dropped");
        }
      }
    }
  }

  #move(id: string, state: MemberState): void {
    const member = this.#members.get(id);
    if (member) this.#members.set(id, { ...member, state });
  }
}
