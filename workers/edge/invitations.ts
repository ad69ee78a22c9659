import { sha256Hex } from "../../src/base/digest";
import {
  INVITATION_BYTES,
  type Invitation,
  type InvitationRequest,
  type NewInvitation,
} from "../../src/federation/protocol";

/** Why a device may not take part in a round that is for invited ones: a refusal's code. */
export type Uninvited = "not-invited" | "invitation-used-up";

/** Invitations of one task at a time, and the devices that all of them together let into a round: ten full rounds. */
const MOST = { invitations: 1000, uses: 10_000 };

type Row = { id: string; note: string; uses: number; used: number; made_at: number };

/**
 * Tokens that an operator hands out, each for a number of devices. A device has another key in each round, so a token's uses are counted
 * round by round: in each, it lets as many keys in as it has uses, and the same key as often as it asks. Only hashes of tokens are kept:
 * they are random enough that nobody finds a token by its hash.
 */
export class Invitations {
  constructor(private readonly sql: SqlStorage) {
    sql.exec(`
      CREATE TABLE IF NOT EXISTS invitations (
        id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, note TEXT NOT NULL, uses INTEGER NOT NULL, made_at INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS invitation_uses (
        round INTEGER NOT NULL, client TEXT NOT NULL, invitation TEXT NOT NULL, PRIMARY KEY (round, client));
      CREATE INDEX IF NOT EXISTS invitation_uses_by_invitation ON invitation_uses (invitation, round)`);
  }

  /** A new invitation with its token, which nobody can be told again; undefined where there are as many as there may be. */
  async make({ uses, note }: InvitationRequest, now: number): Promise<NewInvitation | undefined> {
    const token = tokenOf(crypto.getRandomValues(new Uint8Array(INVITATION_BYTES)));
    const digest = await digestOf(token);
    const known = this.sql
      .exec<{ count: number; uses: number }>("SELECT count(*) AS count, ifnull(sum(uses), 0) AS uses FROM invitations")
      .one();
    if (known.count >= MOST.invitations || known.uses + uses > MOST.uses) return undefined;
    const id = crypto.randomUUID();
    this.sql.exec("INSERT INTO invitations VALUES (?, ?, ?, ?, ?)", id, digest, note, uses, now);
    return { id, token, note, uses, usesLeft: uses, madeAt: now };
  }

  /** All that are valid, the newest first, with the uses that are left in a round. */
  list(round: number | null): Invitation[] {
    const rows = this.sql.exec<Row>(
      `SELECT id, note, uses, made_at, (SELECT count(*) FROM invitation_uses WHERE invitation = id AND round = ?) AS used
       FROM invitations ORDER BY made_at DESC, id`,
      round,
    );
    return rows.toArray().map(({ id, note, uses, used, made_at }) => {
      return { id, note, uses, usesLeft: Math.max(0, uses - used), madeAt: made_at };
    });
  }

  /** Who has come by it is let in no more; what such a device was given to train before still counts. */
  revoke(id: string): boolean {
    const { rowsWritten } = this.sql.exec("DELETE FROM invitations WHERE id = ?", id);
    return rowsWritten > 0;
  }

  /** Why a key may not take part in a round; undefined where it may, which then is one of its token's uses. */
  async refusalOf(token: string | undefined, client: string, round: number): Promise<Uninvited | undefined> {
    if (token === undefined) return "not-invited";
    const digest = await digestOf(token);
    // From here on nothing waits: two keys cannot both take the last use.
    const found = this.sql.exec<Row>("SELECT id, uses FROM invitations WHERE digest = ?", digest).toArray()[0];
    if (!found) return "not-invited";
    const known = this.sql.exec("SELECT 1 FROM invitation_uses WHERE round = ? AND client = ?", round, client);
    if (known.toArray().length > 0) return undefined;
    this.sql.exec("DELETE FROM invitation_uses WHERE round < ?", round);
    const { used } = this.sql
      .exec<{ used: number }>(
        "SELECT count(*) AS used FROM invitation_uses WHERE invitation = ? AND round = ?",
        found.id,
        round,
      )
      .one();
    if (used >= found.uses) return "invitation-used-up";
    this.sql.exec("INSERT INTO invitation_uses VALUES (?, ?, ?)", round, client, found.id);
    return undefined;
  }
}

const digestOf = (token: string): Promise<string> => sha256Hex(Uint8Array.from(new TextEncoder().encode(token)));

/** Bytes as base64url, which an address takes as it is. */
const tokenOf = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
