import type { Signer } from "../../../src/federation/signing";
import type { Database } from "./database";

/** Signatures that have come, each for as long as it would be fresh. */
export class NonceTable {
  constructor(private readonly db: Database) {}

  /** Notes a signature. @returns whether it is new */
  isNew({ client, nonce, until }: Signer, now: number): boolean {
    this.db.run("DELETE FROM nonces WHERE until < ?", now);
    return this.db.run("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", client, nonce, until) > 0;
  }
}
