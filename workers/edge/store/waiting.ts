import * as v from "valibot";
import type { Database } from "./database";

/** A client that has checked in. */
const waitingClient = v.object({
  client: v.string(),
  /** What it is called in this round. */
  label: v.string(),
  /** Faces that it says it has. */
  examples: v.number(),
});
export type WaitingClient = v.InferOutput<typeof waitingClient>;

/** The clients that wait for the open round to draw its cohort. */
export class WaitingTable {
  constructor(private readonly db: Database) {}

  /** Takes a client in, or notes that it still waits. */
  add({ client, label, examples }: WaitingClient, now: number): void {
    this.db.run(
      `INSERT INTO waiting VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET label = excluded.label, examples = excluded.examples, seen_at = excluded.seen_at`,
      ...[client, label, examples, now],
    );
  }

  /** Forgets clients that have not asked again since `since`. */
  forget(since: number): void {
    this.db.run("DELETE FROM waiting WHERE seen_at < ?", since);
  }

  /** Forgets those that were seen in a future that has not come yet. */
  forgetAfter(now: number): void {
    this.db.run("DELETE FROM waiting WHERE seen_at > ?", now);
  }

  all(): WaitingClient[] {
    return this.db.all(waitingClient, "SELECT client, label, examples FROM waiting");
  }

  count(): number {
    return this.db.number("SELECT count(*) AS n FROM waiting");
  }

  /** When the client that has not asked for longest was last seen; null when nobody waits. */
  oldest(): number | null {
    return this.db.one(v.object({ at: v.nullable(v.number()) }), "SELECT min(seen_at) AS at FROM waiting").at;
  }

  clear(): void {
    this.db.run("DELETE FROM waiting");
  }
}
