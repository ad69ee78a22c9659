import * as v from "valibot";
import { noteSchema, type Note } from "../../../src/federation/protocol";
import { optionalJson, type Database } from "./database";

/** Notes of a task: more than anybody writes. */
const MOST_NOTES = 1000;

/** What the operator has written about rounds. */
export class NoteTable {
  constructor(private readonly db: Database) {}

  of(round: number): Note | null {
    const row = v.object({ note: optionalJson(noteSchema) });
    return this.db.first(row, "SELECT note FROM notes WHERE round = ?", round)?.note ?? null;
  }

  /** Keeps a note in the place of the one before; one that says nothing is none. @returns whether there was room for it */
  set(round: number, note: Note): boolean {
    this.db.run("DELETE FROM notes WHERE round = ?", round);
    if (note.text === "" && note.tags.length === 0) return true;
    if (this.db.number("SELECT count(*) AS n FROM notes") >= MOST_NOTES) return false;
    this.db.run("INSERT INTO notes VALUES (?, ?)", round, JSON.stringify(note));
    return true;
  }
}
