import * as v from "valibot";
import type { ProblemCode } from "../../../src/federation/problems";
import type { Database } from "./database";

const row = v.object({ code: v.string(), count: v.number() });

/** How many updates of each round were refused, by problem. */
export class RefusalTable {
  constructor(private readonly db: Database) {}

  add(round: number, code: ProblemCode): void {
    this.db.run("INSERT INTO refusals VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", round, code);
  }

  of(round: number): Record<string, number> {
    const rows = this.db.all(row, "SELECT code, count FROM refusals WHERE round = ?", round);
    return Object.fromEntries(rows.map(({ code, count }) => [code, count]));
  }
}
