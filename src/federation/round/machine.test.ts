import fc from "fast-check";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { DEFAULT_ROUND } from "../default-round";
import type { Evidence } from "../guard";
import { changeableOf, conflictOf, roundConfigSchema, type RoundConfig } from "../protocol";
import { beginRound, dueAt, isOver, NO_MEMBERS, type MemberState, type RoundLife } from "./life";
import { transition, type RoundEvent } from "./machine";
import { hidesCohort } from "./rule";
import { fewestVectors } from "./secure";
import { afterRound } from "./series";

/**
 * A round as whoever drives it keeps it: who waits, who is a member, and what is in the sum. It does what the machine says and nothing
 * else. Beside it stands what an onlooker would note: what was promised to whom.
 */
class World {
  life: RoundLife;
  now = 1_000_000;
  readonly waiting = new Set<number>();
  readonly members: { id: string; state: MemberState }[] = [];
  readonly evidence: Evidence[] = [];
  /** Updates that were accepted, those that were rightly taken out, and those that the average was made of. */
  readonly accepted = new Set<string>();
  readonly takenOut = new Set<string>();
  averaged: string[] | undefined;
  wantsMerge = false;
  published: number[] = [];
  continued = 0;
  isStopped = false;
  /** What the members were told when they were drawn. */
  promised: { config: RoundConfig; deadline: number | null } | undefined;
  private came = 0;
  /** How its series goes on; undefined while it does not. */
  next: RoundConfig | null | undefined;

  /** @param luck decides how many are drawn where each is by itself */
  constructor(
    config: RoundConfig,
    private readonly luck = 1,
  ) {
    this.life = beginRound(1, config, this.now);
    if (config.mode === "async") this.promised = { config, deadline: this.life.deadline };
  }

  send(event: RoundEvent): void {
    const before = this.life;
    const { state, effects } = transition(before, event, this.now);
    this.life = state;
    this.wantsMerge = false;
    for (const effect of effects) {
      switch (effect.effect) {
        case "draw": {
          const { draw } = effect;
          const { size: waiting } = this.waiting;
          const drawn = "size" in draw ? draw.size : draw.each === 1 ? waiting : this.luck % (waiting + 1);
          for (let i = 0; i < drawn; i++) this.join();
          this.waiting.clear();
          this.send({ type: "drawn", members: drawn });
          this.promised = { config: this.life.config, deadline: this.life.deadline };
          return;
        }
        case "member":
          this.member(effect.id).state = effect.to;
          break;
        case "drop-missing":
          for (const one of this.members) if (one.state === "training") one.state = "dropped";
          break;
        case "merge":
          this.wantsMerge = true;
          break;
        case "publish":
          this.published.push(effect.version);
          break;
        case "continue":
          this.continued += 1;
          this.goOn();
          break;
        case "reject":
        case "refuse":
          break;
      }
    }
  }

  /** The series' next round, as its driver would have it of these updates. */
  private goOn(): void {
    const { config, tally } = this.life;
    const facts = { losses: [], counted: tally.counted, below: this.luck % (tally.counted + 1) };
    this.next = afterRound(config, facts).next;
    if (!this.next) return;
    // It can be kept, read and opened, and of what is set only what a series changes is another.
    expect(v.safeParse(roundConfigSchema, this.next).success).toBe(true);
    expect(conflictOf(this.next)).toBeUndefined();
    const { rounds, updateClip } = this.next;
    expect({ ...this.next, rounds: config.rounds, updateClip: config.updateClip }).toEqual(config);
    expect(rounds).toBe(config.rounds - 1);
    if (config.clipQuantile === 0) expect(updateClip).toBe(config.updateClip);
    // eta of the paper is 0.2; a clip below a millionth comes back to that.
    else if (config.updateClip >= 1e-6)
      expect(Math.abs(Math.log(updateClip / config.updateClip))).toBeLessThanOrEqual(0.2 + 1e-9);
  }

  join(): void {
    this.members.push({ id: `m${this.came++}`, state: "training" });
  }

  member(id: string): { id: string; state: MemberState } {
    const found = this.members.find((one) => one.id === id);
    if (!found) throw new Error(`There is no member ${id}.`);
    return found;
  }

  /** A member as a store would say it is; undefined where there is none yet. */
  at(place: number): { id: string; state: MemberState; round: number } | undefined {
    const found = this.members[place % Math.max(1, this.members.length)];
    return found && { ...found, round: 1 };
  }

  idsIn(state: MemberState): string[] {
    return this.members.filter((one) => one.state === state).map(({ id }) => id);
  }
}

const PROMISED = (Object.keys(DEFAULT_ROUND) as (keyof RoundConfig)[]).filter((key) => changeableOf(key) !== "open");

/** What nobody who watches a round may ever see broken. */
function check(world: World, before: RoundLife): void {
  const { life, members, promised } = world;
  const tally = { ...NO_MEMBERS };
  for (const { state } of members) tally[state] += 1;
  expect(life.tally).toEqual(tally);
  // What was accepted waits, counts, is a dead letter, or was taken back: it is never just gone.
  for (const id of world.accepted) {
    if (world.takenOut.has(id)) continue;
    expect(["uploaded", "counted", "dead"], id).toContain(world.member(id).state);
  }
  if (promised && life.trainingAt !== null) {
    const broken = PROMISED.filter((key) => life.config[key] !== promised.config[key]);
    expect(broken).toEqual([]);
    expect(life.deadline ?? Infinity).toBeLessThanOrEqual(promised.deadline ?? Infinity);
  }
  if (isOver(life)) {
    expect(life.endedAt).not.toBeNull();
    expect(dueAt(life)).toBeNull();
  } else expect(dueAt(life)).toBeGreaterThan(0);
  // Who was drawn, came or left moves a round on by nothing, where that is a secret.
  if (hidesCohort(life.config) && before.state === "training" && life.state !== "training" && !world.isStopped) {
    expect(life.state).not.toBe("abandoned");
    expect(world.now).toBeGreaterThanOrEqual(before.deadline ?? Infinity);
  }
  if (isOver(before)) expect({ ...life, tally: null }).toEqual({ ...before, tally: null });
  expect(world.published.length).toBeLessThanOrEqual(1);
  expect(world.continued).toBeLessThanOrEqual(1);
}

/** Asked anew, after something has happened. */
const stateOf = ({ life }: World): RoundLife["state"] => life.state;

type Step = (world: World) => void;
class Command implements fc.Command<object, World> {
  constructor(
    private readonly name: string,
    private readonly step: Step,
  ) {}
  check(): boolean {
    return true;
  }
  run(_: object, world: World): void {
    const before = world.life;
    this.step(world);
    check(world, before);
  }
  toString(): string {
    return this.name;
  }
}
const command = (name: string, step: Step): Command => new Command(name, step);

const place = fc.nat(11);
const seconds = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 100_000 }));
const claim: fc.Arbitrary<Evidence> = fc.record({
  kind: fc.constantFrom("cohort", "others", "operator"),
  examples: fc.integer({ min: 1, max: 100_000 }),
  loss: fc.double({ min: 0, max: 1000, noNaN: true }),
  accuracy: fc.double({ min: 0, max: 1, noNaN: true }),
  baseLoss: fc.double({ min: 0, max: 1000, noNaN: true }),
  baseAccuracy: fc.double({ min: 0, max: 1, noNaN: true }),
});

const about = (
  name: string,
  of: (member: { id: string; state: MemberState; round: number }) => RoundEvent | RoundEvent[],
) =>
  place.map((at) =>
    command(`${name} ${at}`, (world) => {
      const member = world.at(at);
      if (!member) return;
      const events = [of(member)].flat();
      for (const event of events) {
        const wasThere = world.member(member.id).state;
        const stage = world.life.state;
        world.send(event);
        const is = world.member(member.id).state;
        // What comes late changes nothing.
        if (event.type === "uploaded" && stage !== "training") expect(is).toBe(wasThere);
        if (event.type === "uploaded" && wasThere === "training" && is !== "training" && stage === "training") {
          world.accepted.add(member.id);
        }
        if ((event.type === "withdrawn" || event.type === "excluded") && is === "dropped" && stage === "training") {
          world.takenOut.add(member.id);
        }
      }
    }),
  );

const commands = [
  place.map((client) =>
    command(`check-in ${client}`, (world) => {
      if (world.life.config.mode === "async") {
        if (world.life.state !== "training") return;
        world.join();
        world.send({ type: "joined" });
        return;
      }
      if (world.life.state !== "selecting") return;
      world.waiting.add(client);
      world.send({ type: "waiting", clients: world.waiting.size });
    }),
  ),
  place.map((client) =>
    command(`goes away ${client}`, (world) => {
      world.waiting.delete(client);
      if (world.life.state === "selecting") world.send({ type: "waiting", clients: world.waiting.size });
    }),
  ),
  seconds.map((time) =>
    command(`${time} s`, (world) => {
      world.now += time * 1000;
      world.send({ type: "time" });
    }),
  ),
  // Those who do what they are asked, so that walks come far.
  ...[1, 2].map((nth) =>
    fc.constant(
      command(nth === 1 ? "everybody does their part" : "every second member does their part", (world) => {
        if (world.life.state === "selecting") {
          for (let client = 0; client < 20; client++) {
            if (stateOf(world) !== "selecting") break;
            world.waiting.add(client);
            world.send({ type: "waiting", clients: world.waiting.size });
          }
          return;
        }
        for (const [i, { id, state }] of [...world.members].entries()) {
          if (world.life.state !== "training" || state !== "training" || i % nth > 0) continue;
          world.send({ type: "uploaded", member: { id, state, round: 1 } });
          world.accepted.add(id);
        }
        for (const id of world.idsIn("uploaded")) {
          world.send({ type: "counted", member: { id, state: "uploaded", round: 1 } });
        }
      }),
    ),
  ),
  about("upload", (member) => ({ type: "uploaded", member })),
  // As a store says it is at either time, and as a queue that delivers twice says it was.
  about("upload again", (member) => [
    { type: "uploaded", member },
    { type: "uploaded", member: { ...member, state: "uploaded" } },
  ]),
  about("count", (member) => ({ type: "counted", member })),
  about("withdraw", (member) => ({ type: "withdrawn", member })),
  about("exclude", (member) => ({ type: "excluded", member })),
  about("dead", (member) => ({ type: "dead", member })),
  about("revive", (member) => ({ type: "revived", member })),
  about("upload of another round", (member) => ({ type: "counted", member: { ...member, round: 0 } })),
  fc.constant(
    command("a hub is gone", (world) => {
      if (world.life.state !== "training" && world.life.state !== "aggregating") return;
      const lost = world.idsIn("counted").slice(0, 2);
      for (const id of lost) world.member(id).state = "uploaded";
      world.send({ type: "uncounted", members: lost.length });
    }),
  ),
  fc.boolean().map((lasting) =>
    command(`merge fails${lasting ? " for good" : ""}`, (world) => {
      if (world.wantsMerge) world.send({ type: "failed", reason: "The store is away.", lasting });
    }),
  ),
  fc
    .option(fc.record({ agreement: fc.double({ min: 0, max: 1, noNaN: true }), divergence: fc.constant(0) }))
    .map((dreams) =>
      command("merge", (world) => {
        if (!world.wantsMerge) return;
        const { config, tally } = world.life;
        if (config.secure && tally.counted < fewestVectors(world.members.length, config)) {
          world.send({ type: "failed", reason: "Too few have sent a vector.", lasting: true });
          return;
        }
        world.averaged = world.idsIn("counted");
        const expected = [...world.accepted].filter(
          (id) => !world.takenOut.has(id) && world.member(id).state !== "dead",
        );
        // Every update once, and all that were accepted.
        expect([...world.averaged].sort()).toEqual(expected.sort());
        expect(new Set(world.averaged).size).toBe(world.averaged.length);
        world.send({ type: "merged", version: 7, dreams, evidence: [] });
      }),
    ),
  fc
    .oneof(
      claim,
      claim.map((said) => ({ ...said, loss: 1, baseLoss: 1.1 })),
    )
    .map((evidence) =>
      command("evaluate", (world) => {
        if (world.life.state !== "evaluating") return;
        world.evidence.push(evidence);
        world.send({ type: "evaluated", evidence: [...world.evidence] });
        const { config, dreams } = world.life;
        if (stateOf(world) !== "published") return;
        const { tolerance, agreement } = config;
        if (tolerance !== null)
          expect(world.evidence.every(({ loss, baseLoss }) => loss > baseLoss + tolerance)).toBe(false);
        if (dreams) expect(dreams.agreement).toBeGreaterThanOrEqual(agreement);
      }),
    ),
  fc
    .record(
      {
        goalCount: fc.integer({ min: 1, max: 9 }),
        epochs: fc.integer({ min: 1, max: 9 }),
        updateClip: fc.double({ min: 0, max: 9, noNaN: true }),
        deadlineSeconds: fc.integer({ min: 5, max: 900 }),
        evaluators: fc.integer({ min: 0, max: 5 }),
        tolerance: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
        mode: fc.constantFrom("sync" as const, "async" as const),
        secure: fc.boolean(),
        rounds: fc.integer({ min: 1, max: 9 }),
      },
      { requiredKeys: [] },
    )
    .map((change) =>
      command(`PATCH ${JSON.stringify(change)}`, (world) => {
        world.send({ type: "changed", change });
      }),
    ),
  fc.constant(
    command("the clock is set back", (world) => {
      world.now -= 50_000;
      world.send({ type: "rewound" });
    }),
  ),
  fc.nat(19).map((rarely) =>
    command("stop", (world) => {
      if (rarely > 0) return;
      world.isStopped = true;
      world.send({ type: "stopped" });
    }),
  ),
];

const config: fc.Arbitrary<RoundConfig> = fc
  .record({
    goalCount: fc.integer({ min: 1, max: 5 }),
    fraction: fc.constantFrom(1, 0.5),
    overSelection: fc.constantFrom(1, 1.3, 2),
    selectionSeconds: fc.constantFrom(0, 3),
    mode: fc.constantFrom("sync" as const, "async" as const),
    evaluators: fc.constantFrom(0, 1, 3),
    evaluationSeconds: fc.constant(60),
    // So little that a clip can follow the norms of two.
    noise: fc.constantFrom(0, 0, 0.1),
    clipQuantile: fc.constantFrom(0, 0.5),
    secure: fc.boolean(),
    topology: fc.constantFrom("central" as const, "central" as const, "gossip" as const),
    rounds: fc.integer({ min: 1, max: 3 }),
    updateClip: fc.constantFrom(1, 1e6),
    prior: fc.constant(0),
  })
  // What goes with noise: else hardly any of the rounds that are drawn would have some, and by chance none in which nobody counts.
  .map((some) =>
    some.noise > 0 ? { ...some, mode: "sync" as const, evaluators: 0, topology: "central" as const } : some,
  )
  .map((some) => ({ ...DEFAULT_ROUND, ...some, codec: some.secure ? ("int8" as const) : ("float32" as const) }))
  .filter((one) => conflictOf(one) === undefined);

describe("a round that is walked at random", () => {
  test("counts every update that it has accepted once, keeps what it promised, and comes to an end by the clock alone", () => {
    const ends = new Map<string, number>();
    let [series, hidden, secure] = [0, 0, 0];
    fc.assert(
      fc.property(config, fc.nat(20), fc.commands(commands, { maxCommands: 60, size: "max" }), (first, luck, walk) => {
        let one: RoundConfig | null | undefined = first;
        for (let round = 0; one; round++) {
          const world: World = new World(one, luck + round);
          fc.modelRun(() => ({ model: {}, real: world }), walk);
          // Nobody comes, answers or repairs anything any more.
          for (let i = 0; i < 6 && !isOver(world.life); i++) {
            world.now = Math.max(world.now, dueAt(world.life) ?? NaN);
            const before = world.life;
            world.send({ type: "time" });
            check(world, before);
          }
          expect(isOver(world.life), `it is still ${world.life.state}`).toBe(true);
          ends.set(world.life.state, (ends.get(world.life.state) ?? 0) + 1);
          if (round > 0) series += 1;
          if (world.averaged && world.life.config.secure) secure += 1;
          if (world.averaged?.length === 0) hidden += 1;
          // A walk may have asked for more rounds than anybody would follow.
          one = round < 2 ? world.next : null;
        }
      }),
      { numRuns: 700 },
    );
    // The walks come everywhere.
    expect([...ends.keys()].sort()).toEqual(["abandoned", "published", "rejected"]);
    expect(Math.min(series, hidden, secure)).toBeGreaterThan(0);
  });
});

/** The shortest way to where a member of a round with one counted update has something to say. */
function trained(config: Partial<RoundConfig>, uploads: number): World {
  const world = new World({ ...DEFAULT_ROUND, goalCount: 4, overSelection: 1, selectionSeconds: 0, ...config });
  for (let i = 0; i < 4; i++) {
    world.waiting.add(i);
    world.send({ type: "waiting", clients: world.waiting.size });
  }
  for (let i = 0; i < uploads; i++) {
    const member = world.at(i);
    if (!member) throw new Error("no cohort");
    world.send({ type: "uploaded", member });
    world.send({ type: "counted", member: { ...member, state: "uploaded" } });
  }
  return world;
}

test("a member whose vector is in the sum stays in it, whatever it says afterwards: its mask could not be taken away else", () => {
  const world = trained({ secure: true, codec: "int8", updateClip: 1 }, 4);
  expect(world.life.state).toBe("aggregating");
  const member = world.at(0);
  if (!member) throw new Error("no cohort");
  world.send({ type: "excluded", member });
  expect(world.life.tally).toMatchObject({ counted: 4, dropped: 0 });
});

test("half of the goal is averaged at the deadline and less is not; with noise whatever has come", () => {
  for (const [uploads, config, state] of [
    [2, {}, "aggregating"],
    [1, {}, "abandoned"],
    [0, { noise: 1, updateClip: 1, prior: 0, evaluators: 0 }, "aggregating"],
  ] as const) {
    const world = trained(config, uploads);
    expect(world.life.state).toBe("training");
    world.now = world.life.deadline ?? NaN;
    world.send({ type: "time" });
    expect(world.life.state).toBe(state);
  }
});
