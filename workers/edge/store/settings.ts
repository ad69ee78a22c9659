import * as v from "valibot";
import type { Database } from "./database";

const row = v.object({ value: v.string() });

/** What a task keeps that belongs to no round. */
export class SettingsTable {
  constructor(private readonly db: Database) {}

  /** Why the last run of rounds was stopped early; undefined while it was not. */
  get earlyStop(): string | undefined {
    return this.#get("early-stop");
  }

  setEarlyStop(reason: string | null): void {
    this.#set("early-stop", reason);
  }

  /** The version that an administrator went back to, or that was published after that; undefined for the last one. */
  get current(): number | undefined {
    const version = this.#get("current");
    return version === undefined ? undefined : Number(version);
  }

  setCurrent(version: number): void {
    this.#set("current", String(version));
  }

  #get(key: string): string | undefined {
    return this.db.first(row, "SELECT value FROM settings WHERE key = ?", key)?.value;
  }

  #set(key: string, value: string | null): void {
    if (value === null) this.db.run("DELETE FROM settings WHERE key = ?", key);
    else this.db.run("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value);
  }
}
