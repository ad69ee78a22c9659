import { MOST_EVENTS, taskEventSchema, type TaskEvent } from "../../../src/federation/protocol";
import type { Database } from "./database";

/** The longest reason that is kept: the edge's own are shorter. */
const LONGEST = 500;

/** What happened to the task lately. */
export class EventTable {
  constructor(private readonly db: Database) {}

  /** Keeps an event, and forgets the oldest one where there are too many. */
  add({ at, kind, round, detail }: Omit<TaskEvent, "id">): TaskEvent {
    const event = this.db.one(
      taskEventSchema,
      "INSERT INTO events (at, kind, round, detail) VALUES (?, ?, ?, ?) RETURNING id, at, kind, round, detail",
      ...[at, kind, round, detail.slice(0, LONGEST)],
    );
    this.db.run("DELETE FROM events WHERE id <= ?", event.id - MOST_EVENTS);
    return event;
  }

  /** All that are kept, the newest first. */
  all(): TaskEvent[] {
    return this.db.all(taskEventSchema, "SELECT id, at, kind, round, detail FROM events ORDER BY id DESC");
  }
}
