import { fewestOf } from "../../src/core/privacy/distributed";
import { FEWEST, neighbours, thresholdOf } from "../../src/core/secagg/graph";
import type { Confirmation, Keys, Reveal, SecureMessage, SecureStep, Shares } from "../../src/core/secagg/messages";
import { corrections, type Correction } from "../../src/core/secagg/server";
import { shuffle } from "../../src/core/random";
import type { RoundConfig } from "../../src/core/protocol";

interface State {
  /** What its members are asked for, one after the other. */
  step: "keys" | "shares" | "mask" | "confirm" | "reveal";
  /** Unix time in milliseconds at which the step goes on without those who have not answered; null: no such time. */
  until: number | null;
  /** Members that have sent keys, by update id: their place is their number. */
  members: string[];
  /** By member: its neighbours. */
  around: number[][];
  survivors: number[];
}

/** Why a round with secure aggregation cannot go on. */
export interface Stuck {
  stuck: string;
}

const isAnswerTo = { keys: "keys", shares: "shares", confirm: "confirmation", reveal: "reveal" } as const;

/**
 * What the members of one task's rounds with secure aggregation have told each other, in the Coordinator's SQLite: an edge that is
 * killed goes on where it was. Every method is synchronous but the one that opens secrets.
 */
export class SecureStore {
  constructor(
    private readonly sql: SqlStorage,
    private readonly task: string,
  ) {
    sql.exec(
      `CREATE TABLE IF NOT EXISTS secure_rounds (round INTEGER PRIMARY KEY, state TEXT NOT NULL);
       CREATE TABLE IF NOT EXISTS secure_members (id TEXT PRIMARY KEY, round INTEGER NOT NULL, keys TEXT, shares TEXT,
         confirmation TEXT, reveal TEXT);
       CREATE TABLE IF NOT EXISTS secure_excluded (id TEXT PRIMARY KEY, round INTEGER NOT NULL);`,
    );
  }

  /** Begins with the keys of a cohort. */
  begin(round: number, ids: readonly string[], { secureStepSeconds }: RoundConfig, now: number): void {
    for (const id of ids) this.sql.exec("INSERT INTO secure_members (id, round) VALUES (?, ?)", id, round);
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
    const column = isAnswerTo[step];
    if (state?.step !== step || !row || row[column] !== null) return undefined;
    const wrong = unusable ?? this.#whyWrong(round, state, id, { step, ...answer } as SecureMessage);
    if (wrong !== undefined) return wrong;
    this.sql.exec(
      `UPDATE secure_members SET ${column} = ? WHERE id = ? AND round = ?`,
      ...[JSON.stringify(answer), id, round],
    );
    return undefined;
  }

  /** A member is out of the round: nobody waits for it, and it is asked for nothing more. */
  exclude(round: number, id: string): void {
    this.sql.exec("INSERT OR IGNORE INTO secure_excluded VALUES (?, ?)", id, round);
  }

  /** Whom a message names, and whose keys it repeats: all that can be seen of it. */
  #whyWrong(round: number, state: State, id: string, message: SecureMessage): string | undefined {
    if (message.step === "keys") {
      const own = [message.cipherKey, message.maskKey];
      const isTaken = this.#rows(round).some((row) => {
        if (row.keys === null || row.id === id) return false;
        const { cipherKey, maskKey } = JSON.parse(row.keys) as Keys;
        return own.includes(cipherKey) || own.includes(maskKey);
      });
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
    const inside = rows.filter(({ excluded }) => excluded === 0);
    const wanted = state.step === "keys" ? inside : inside.filter(({ id }) => asked.has(state.members.indexOf(id)));
    const column = isAnswerTo[state.step];
    const answered = wanted.filter((row) => row[column] !== null);
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
      this.#save(round, { ...state, step: "mask", until: null });
      const shared = new Set(answered.map(({ id }) => id));
      return { out: rows.flatMap(({ id }) => (shared.has(id) ? [] : [id])) };
    }
    if (answered.length < needed) return stuck(answered.length, needed, "have confirmed who has sent a vector");
    this.#save(round, { ...state, step: "reveal", until });
    return undefined;
  }

  /** The vectors of these updates are in the sum, and no other will be. */
  close(round: number, ids: readonly string[], config: RoundConfig, now: number): Stuck | undefined {
    const state = this.#state(round);
    if (state?.step !== "mask") return undefined;
    const survivors = ids.map((id) => state.members.indexOf(id)).sort((a, b) => a - b);
    // The noise is shared out so that no fewer than these make all of it.
    const needed = Math.max(thresholdOf(state.members.length), config.noise > 0 ? fewestOf(config) : 0);
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
    if (!state || !row || row.excluded === 1) return { step: "over", published: false };
    if (state.step === "keys") return row.keys === null ? { step: "keys" } : wait;
    if (me < 0) return { step: "over", published: false };
    if (state.step === "shares") {
      if (row.shares !== null) return wait;
      const keys = this.#keys(round, state);
      const peers = (state.around[me] ?? []).map((member) => {
        const { cipherKey = "", maskKey = "" } = keys.get(member) ?? {};
        return { member, cipherKey, maskKey };
      });
      return { step: "shares", me, threshold: thresholdOf(state.members.length), peers };
    }
    if (row.shares === null) return { step: "over", published: false };
    if (state.step === "mask") {
      return { step: "mask", inbox: this.#sealedFor(round, state, me) };
    }
    if (!state.survivors.includes(me)) return { step: "over", published: false };
    if (state.step === "confirm") {
      return row.confirmation === null ? { step: "confirm", survivors: state.survivors } : wait;
    }
    if (row.confirmation === null) return { step: "over", published: false };
    return row.reveal === null ? { step: "reveal", macs: this.#macsFor(round, state, me) } : wait;
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
    const missing = rows.some(
      ({ confirmation, reveal, excluded }) => confirmation !== null && reveal === null && excluded === 0,
    );
    if (missing && now < (state.until ?? 0)) return undefined;
    const inside = new Set(rows.flatMap(({ id, shares }) => (shares === null ? [] : [state.members.indexOf(id)])));
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
      reveals: rows.flatMap(({ reveal }) => (reveal === null ? [] : [JSON.parse(reveal) as Reveal])),
    });
  }

  /** Forgets a round: its secrets are worth nothing to anybody any more. */
  forget(round: number): void {
    this.sql.exec("DELETE FROM secure_members WHERE round = ?", round);
    this.sql.exec("DELETE FROM secure_excluded WHERE round = ?", round);
    this.sql.exec("DELETE FROM secure_rounds WHERE round = ?", round);
  }

  #keys(round: number, { members }: State): Map<number, Keys> {
    return new Map(
      this.#rows(round).flatMap(({ id, keys }) =>
        keys === null || !members.includes(id) ? [] : [[members.indexOf(id), JSON.parse(keys) as Keys] as const],
      ),
    );
  }

  /** What a member's neighbours have sealed for it. */
  #sealedFor(round: number, { members }: State, me: number): { member: number; sealed: string }[] {
    return this.#rows(round)
      .flatMap(({ id, shares }) => {
        const own = shares === null ? undefined : (JSON.parse(shares) as Shares).shares.find(({ to }) => to === me);
        return own ? [{ member: members.indexOf(id), sealed: own.sealed }] : [];
      })
      .sort((a, b) => a.member - b.member);
  }

  #macsFor(round: number, { members }: State, me: number): { member: number; mac: string }[] {
    return this.#rows(round).flatMap(({ id, confirmation }) => {
      if (confirmation === null) return [];
      const own = (JSON.parse(confirmation) as Confirmation).macs.find(({ member }) => member === me);
      return own ? [{ member: members.indexOf(id), mac: own.mac }] : [];
    });
  }

  #has(id: string, column: "shares" | "keys"): boolean {
    return (
      this.sql.exec(`SELECT 1 FROM secure_members WHERE id = ? AND ${column} IS NOT NULL`, id).toArray().length > 0
    );
  }

  #rows(round: number): Row[] {
    return this.sql
      .exec<Row>(
        `SELECT id, keys, shares, confirmation, reveal, id IN (SELECT id FROM secure_excluded) AS excluded
         FROM secure_members WHERE round = ? ORDER BY rowid`,
        round,
      )
      .toArray();
  }

  #state(round: number): State | undefined {
    const [row] = this.sql.exec<{ state: string }>("SELECT state FROM secure_rounds WHERE round = ?", round).toArray();
    return row && (JSON.parse(row.state) as State);
  }

  #save(round: number, state: State): void {
    this.sql.exec("INSERT OR REPLACE INTO secure_rounds VALUES (?, ?)", round, JSON.stringify(state));
  }
}

type Row = {
  id: string;
  keys: string | null;
  shares: string | null;
  confirmation: string | null;
  reveal: string | null;
  /** 1 where one of its answers was wrong. */
  excluded: number;
};

const stuck = (have: number, needed: number, what: string): Stuck => ({
  stuck: `${have} clients ${what}; ${needed} are needed.`,
});
