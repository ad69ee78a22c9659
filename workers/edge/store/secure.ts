import * as v from "valibot";
import { fewestVectors } from "../../../src/federation/round/secure";
import { FEWEST, neighbours, thresholdOf } from "../../../src/federation/secagg/graph";
import {
  checkSchema,
  confirmationSchema,
  keysSchema,
  revealSchema,
  sharesSchema,
  type Keys,
  type SecureMessage,
  type SecureStep,
} from "../../../src/federation/secagg/messages";
import { corrections, type Correction } from "../../../src/federation/secagg/server";
import { shuffle } from "../../../src/base/random";
import type { RoundConfig } from "../../../src/federation/protocol";
import { flag, json, type Database } from "./database";

const stateSchema = v.object({
  /** What its members are asked for, one after the other. */
  step: v.picklist(["keys", "shares", "check", "mask", "confirm", "reveal"]),
  /** Unix time in milliseconds at which the step goes on without those who have not answered; null: no such time. */
  until: v.nullable(v.number()),
  /** Members that have sent keys, by update id: their place is their number. */
  members: v.array(v.string()),
  /** By member: its neighbours. */
  around: v.array(v.array(v.number())),
  /** Members that mask their vectors with each other; absent where an older edge asked nobody to check the shares. */
  inside: v.optional(v.array(v.number())),
  survivors: v.array(v.number()),
});
type State = v.InferOutput<typeof stateSchema>;

/** A member, and which answers it has given. What is in them may be long, and is read where it is needed. */
const memberRow = v.object({
  id: v.string(),
  keys: flag,
  shares: flag,
  check: flag,
  confirm: flag,
  reveal: flag,
  /** Where one of its answers was wrong. */
  excluded: flag,
});
type MemberRow = v.InferOutput<typeof memberRow>;

const keysRow = v.object({ id: v.string(), keys: json(keysSchema) });
const checkRow = v.object({ unopened: json(checkSchema.entries.unopened) });
const revealRow = v.object({ reveal: json(revealSchema) });
const { sealed } = sharesSchema.entries.shares.pipe[0].item.entries;
const sealedRow = v.object({ id: v.string(), sealed });
const macRow = v.object({ id: v.string(), mac: confirmationSchema.entries.macs.pipe[0].item.entries.mac });

/** Why a round with secure aggregation cannot go on. */
export interface Stuck {
  stuck: string;
}

/** Where the answer to each step is kept. */
const COLUMNS = { keys: "keys", shares: "shares", confirm: "confirmation", reveal: "reveal" } as const;

/**
 * What the members of one task's rounds with secure aggregation have told each other, in the Coordinator's SQLite: an edge that is
 * killed goes on where it was. Every method is synchronous but the one that opens secrets.
 */
export class SecureTables {
  constructor(
    private readonly db: Database,
    private readonly task: string,
  ) {
    db.run(
      `CREATE TABLE IF NOT EXISTS secure_rounds (round INTEGER PRIMARY KEY, state TEXT NOT NULL);
       CREATE TABLE IF NOT EXISTS secure_members (id TEXT PRIMARY KEY, round INTEGER NOT NULL, keys TEXT, shares TEXT,
         confirmation TEXT, reveal TEXT);
       CREATE TABLE IF NOT EXISTS secure_checks (id TEXT PRIMARY KEY, round INTEGER NOT NULL, unopened TEXT NOT NULL);
       CREATE TABLE IF NOT EXISTS secure_excluded (id TEXT PRIMARY KEY, round INTEGER NOT NULL);`,
    );
  }

  /** Begins with the keys of a cohort. */
  begin(round: number, ids: readonly string[], { secureStepSeconds }: RoundConfig, now: number): void {
    for (const id of ids) this.db.run("INSERT INTO secure_members (id, round) VALUES (?, ?)", id, round);
    const until = now + secureStepSeconds * 1000;
    this.#save(round, { step: "keys", until, members: [], around: [], survivors: [] });
  }

  /** When the step of a round is over at the latest; null when it has no such time. */
  until(round: number): number | null {
    return this.#state(round)?.until ?? null;
  }

  /** Whether this member's vector is wanted now. */
  wantsVector(round: number, id: string): boolean {
    const state = this.#state(round);
    return state?.step === "mask" && this.#has(id, "shares");
  }

  /**
   * Keeps an answer, the first one of a member for the step that the round is at; another one changes nothing.
   * @param unusable why the keys of this answer can be used by nobody, if they cannot
   * @returns what is wrong with it, as far as anybody can see who cannot read it; it is not kept, then
   */
  take(round: number, id: string, { step, ...answer }: SecureMessage, unusable?: string): string | undefined {
    const state = this.#state(round);
    const row = this.#rows(round).find((one) => one.id === id);
    if (state?.step !== step || !row || row[step]) return undefined;
    const wrong = unusable ?? this.#whyWrong(round, state, id, { step, ...answer } as SecureMessage);
    if (wrong !== undefined) return wrong;
    const text = JSON.stringify("unopened" in answer ? answer.unopened : answer);
    if (step === "check") this.db.run("INSERT INTO secure_checks VALUES (?, ?, ?)", id, round, text);
    else this.db.run(`UPDATE secure_members SET ${COLUMNS[step]} = ? WHERE id = ? AND round = ?`, text, id, round);
    return undefined;
  }

  /** A member is out of the round: nobody waits for it, and it is asked for nothing more. */
  exclude(round: number, id: string): void {
    this.db.run("INSERT OR IGNORE INTO secure_excluded VALUES (?, ?)", id, round);
  }

  /** Whom a message names, and whose keys it repeats: all that can be seen of it. */
  #whyWrong(round: number, state: State, id: string, message: SecureMessage): string | undefined {
    if (message.step === "keys") {
      const isTaken = this.db.exists(
        `SELECT 1 FROM secure_members WHERE round = ?1 AND id != ?2 AND
         (keys ->> 'cipherKey' IN (?3, ?4) OR keys ->> 'maskKey' IN (?3, ?4))`,
        ...[round, id, message.cipherKey, message.maskKey],
      );
      return isTaken ? "Another member has one of its keys." : undefined;
    }
    const me = state.members.indexOf(id);
    const peers = new Set(state.around[me]);
    const came = new Set(state.survivors);
    const all = (named: number[], may: (member: number) => boolean): boolean =>
      new Set(named).size === named.length && named.every(may);
    if (message.step === "shares") {
      const to = message.shares.map((share) => share.to);
      const isRight = to.length === peers.size && all(to, (member) => peers.has(member));
      return isRight ? undefined : "It has to share with each of its peers, once.";
    }
    if (message.step === "check") {
      if (!all(message.unopened, (member) => peers.has(member)))
        return "It names somebody who is no peer of it, or twice.";
      const most = Math.max(1, Math.floor(peers.size / 3));
      return message.unopened.length <= most
        ? undefined
        : "It says of too many peers that it cannot open their shares.";
    }
    if (message.step === "confirm") {
      const named = message.macs.map(({ member }) => member);
      const isRight = all(named, (member) => peers.has(member) && came.has(member));
      return isRight ? undefined : "It confirms to somebody who is no peer of it, or twice.";
    }
    const seeds = message.seeds.map(({ of }) => of);
    const keys = message.keys.map(({ of }) => of);
    const isRight =
      all(seeds, (member) => came.has(member) && (member === me || peers.has(member))) &&
      all(keys, (member) => !came.has(member) && peers.has(member));
    return isRight ? undefined : "It opens shares that it was not asked for.";
  }

  /**
   * Goes to the next step once all have answered, or those who have not are given up.
   * @returns why the round cannot go on; the ids of members that are out of it once the vectors are wanted
   */
  advance(round: number, config: RoundConfig, now: number): Stuck | { out: string[] } | undefined {
    const state = this.#state(round);
    if (!state || state.step === "mask" || state.step === "reveal") return undefined;
    const rows = this.#rows(round);
    const asked = state.step === "confirm" ? new Set(state.survivors) : new Set(state.members.keys());
    const inside = rows.filter(({ excluded }) => !excluded);
    const wanted = inside.filter(
      ({ id, shares }) =>
        state.step === "keys" || (asked.has(state.members.indexOf(id)) && (state.step !== "check" || shares)),
    );
    const { step } = state;
    const answered = wanted.filter((row) => row[step]);
    if (answered.length < wanted.length && now < (state.until ?? 0)) return undefined;
    const until = now + config.secureStepSeconds * 1000;
    if (state.step === "keys") {
      const needed = Math.max(FEWEST, Math.ceil(config.goalCount / 2));
      if (answered.length < needed) return stuck(answered.length, needed, "have sent their keys");
      const random = (): number => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32;
      const members = shuffle(
        answered.map(({ id }) => id),
        random,
      );
      const around = neighbours(shuffle([...members.keys()], random));
      this.#save(round, { ...state, step: "shares", until, members, around });
      return undefined;
    }
    const needed = thresholdOf(state.members.length);
    if (state.step === "shares") {
      if (answered.length < needed) return stuck(answered.length, needed, "have shared their secrets");
      this.#save(round, { ...state, step: "check", until });
      const shared = new Set(answered.map(({ id }) => id));
      return { out: rows.flatMap(({ id }) => (shared.has(id) ? [] : [id])) };
    }
    if (state.step === "check") {
      const inside = this.#openable(round, state, new Set(answered.map(({ id }) => id)));
      if (inside.length < needed) return stuck(inside.length, needed, "have shares that the others can open");
      this.#save(round, { ...state, step: "mask", until: null, inside });
      const kept = new Set(inside.map((member) => state.members[member]));
      return { out: wanted.flatMap(({ id }) => (kept.has(id) ? [] : [id])) };
    }
    if (answered.length < needed) return stuck(answered.length, needed, "have confirmed who has sent a vector");
    this.#save(round, { ...state, step: "reveal", until });
    return undefined;
  }

  /**
   * Members that have checked their peers' shares, but those whose own cannot be opened: peers complain of them, and too few are left who
   * do not. A member's word alone throws nobody out who has peers enough.
   */
  #openable(round: number, { members, around }: State, answered: ReadonlySet<string>): number[] {
    const places = placesOf(members);
    const here = new Set([...answered].flatMap((id) => places.get(id) ?? []));
    const complaints = new Map<number, number>();
    for (const { unopened } of this.db.all(checkRow, "SELECT unopened FROM secure_checks WHERE round = ?", round)) {
      for (const member of unopened) complaints.set(member, (complaints.get(member) ?? 0) + 1);
    }
    return [...here].filter((member) => {
      const against = complaints.get(member) ?? 0;
      const peers = (around[member] ?? []).filter((peer) => here.has(peer)).length;
      return against === 0 || peers - against >= thresholdOf(members.length);
    });
  }

  /** The vectors of these updates are in the sum, and no other will be. */
  close(round: number, ids: readonly string[], config: RoundConfig, now: number): Stuck | undefined {
    const state = this.#state(round);
    if (state?.step !== "mask") return undefined;
    const survivors = ids.map((id) => state.members.indexOf(id)).sort((a, b) => a - b);
    const needed = fewestVectors(state.members.length, config);
    if (survivors.length < needed) return stuck(survivors.length, needed, "have sent a vector");
    this.#save(round, { ...state, step: "confirm", until: now + config.secureStepSeconds * 1000, survivors });
    return undefined;
  }

  /** What a member has to do next. */
  stepOf(round: number, id: string): SecureStep {
    const state = this.#state(round);
    const row = this.#rows(round).find((one) => one.id === id);
    const me = state?.members.indexOf(id) ?? -1;
    const wait: SecureStep = { step: "wait", seconds: 1 };
    if (!state || !row || row.excluded) return { step: "over", published: false };
    if (state.step === "keys") return !row.keys ? { step: "keys" } : wait;
    if (me < 0) return { step: "over", published: false };
    if (state.step === "shares") {
      if (row.shares) return wait;
      const keys = this.#keys(round, state);
      const peers = (state.around[me] ?? []).map((member) => {
        const { cipherKey = "", maskKey = "" } = keys.get(member) ?? {};
        return { member, cipherKey, maskKey };
      });
      return { step: "shares", me, threshold: thresholdOf(state.members.length), peers };
    }
    if (!row.shares) return { step: "over", published: false };
    if (state.step === "check") {
      return row.check ? wait : { step: "check", inbox: this.#sealedFor(round, state, me) };
    }
    const inside = this.#inside(round, state);
    if (!inside.has(me)) return { step: "over", published: false };
    if (state.step === "mask") {
      return { step: "mask", partners: (state.around[me] ?? []).filter((peer) => inside.has(peer)) };
    }
    if (!state.survivors.includes(me)) return { step: "over", published: false };
    if (state.step === "confirm") {
      return !row.confirm ? { step: "confirm", survivors: state.survivors } : wait;
    }
    if (!row.confirm) return { step: "over", published: false };
    return !row.reveal ? { step: "reveal", macs: this.#macsFor(round, state, me) } : wait;
  }

  /**
   * What takes the masks off the sum, once enough have opened their shares.
   * @returns undefined while it is worth waiting for more
   * @throws UnmaskingError when those who have been waited for are too few
   */
  async corrections(round: number, now: number): Promise<Correction[] | undefined> {
    const state = this.#state(round);
    if (state?.step !== "reveal") return undefined;
    const rows = this.#rows(round);
    const missing = rows.some(({ confirm, reveal, excluded }) => confirm && !reveal && !excluded);
    if (missing && now < (state.until ?? 0)) return undefined;
    const inside = this.#inside(round, state);
    const members = new Map(
      [...this.#keys(round, state)]
        .filter(([member]) => inside.has(member))
        .map(([member, keys]) => [
          member,
          { keys, peers: (state.around[member] ?? []).filter((peer) => inside.has(peer)) },
        ]),
    );
    return corrections({
      round: `${this.task}/${round}`,
      threshold: thresholdOf(state.members.length),
      members,
      survivors: state.survivors,
      reveals: this.db
        .all(
          revealRow,
          "SELECT reveal FROM secure_members WHERE round = ? AND reveal IS NOT NULL ORDER BY rowid",
          round,
        )
        .map(({ reveal }) => reveal),
    });
  }

  /** Forgets a round: its secrets are worth nothing to anybody any more. */
  forget(round: number): void {
    this.db.run("DELETE FROM secure_members WHERE round = ?", round);
    this.db.run("DELETE FROM secure_checks WHERE round = ?", round);
    this.db.run("DELETE FROM secure_excluded WHERE round = ?", round);
    this.db.run("DELETE FROM secure_rounds WHERE round = ?", round);
  }

  /** Members whose vectors hold masks of each other. */
  #inside(round: number, { inside, members }: State): Set<number> {
    if (inside) return new Set(inside);
    const places = placesOf(members);
    return new Set(this.#rows(round).flatMap(({ id, shares }) => (shares ? (places.get(id) ?? []) : [])));
  }

  #keys(round: number, { members }: State): Map<number, Keys> {
    const rows = this.db.all(
      keysRow,
      "SELECT id, keys FROM secure_members WHERE round = ? AND keys IS NOT NULL",
      round,
    );
    const places = placesOf(members);
    return new Map(
      rows.flatMap(({ id, keys }) => {
        const place = places.get(id);
        return place === undefined ? [] : [[place, keys] as const];
      }),
    );
  }

  /** What a member's neighbours have sealed for it. */
  #sealedFor(round: number, { members }: State, me: number): { member: number; sealed: string }[] {
    const places = placesOf(members);
    return this.db
      .all(
        sealedRow,
        `SELECT m.id AS id, s.value ->> 'sealed' AS sealed FROM secure_members m, json_each(m.shares, '$.shares') s
         WHERE m.round = ? AND m.shares IS NOT NULL AND s.value ->> 'to' = ?`,
        ...[round, me],
      )
      .map(({ id, sealed }) => ({ member: places.get(id) ?? -1, sealed }))
      .sort((a, b) => a.member - b.member);
  }

  /** What a member's neighbours have said to it of who has come. */
  #macsFor(round: number, { members }: State, me: number): { member: number; mac: string }[] {
    const places = placesOf(members);
    return this.db
      .all(
        macRow,
        `SELECT m.id AS id, s.value ->> 'mac' AS mac FROM secure_members m, json_each(m.confirmation, '$.macs') s
         WHERE m.round = ? AND m.confirmation IS NOT NULL AND s.value ->> 'member' = ?`,
        ...[round, me],
      )
      .map(({ id, mac }) => ({ member: places.get(id) ?? -1, mac }));
  }

  #has(id: string, column: "shares" | "keys"): boolean {
    return this.db.exists(`SELECT 1 FROM secure_members WHERE id = ? AND ${column} IS NOT NULL`, id);
  }

  #rows(round: number): MemberRow[] {
    return this.db.all(
      memberRow,
      `SELECT id, keys IS NOT NULL AS keys, shares IS NOT NULL AS shares,
       id IN (SELECT id FROM secure_checks) AS "check", confirmation IS NOT NULL AS confirm,
       reveal IS NOT NULL AS reveal, id IN (SELECT id FROM secure_excluded) AS excluded FROM secure_members WHERE round = ? ORDER BY rowid`,
      round,
    );
  }

  #state(round: number): State | undefined {
    const row = v.object({ state: json(stateSchema) });
    return this.db.first(row, "SELECT state FROM secure_rounds WHERE round = ?", round)?.state;
  }

  #save(round: number, state: State): void {
    this.db.run("INSERT OR REPLACE INTO secure_rounds VALUES (?, ?)", round, JSON.stringify(state));
  }
}

/** The number of each member. */
const placesOf = (members: readonly string[]): Map<string, number> => new Map(members.map((id, i) => [id, i]));

const stuck = (have: number, needed: number, what: string): Stuck => ({
  stuck: `${have} clients ${what}; ${needed} are needed.`,
});
