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

  /** Where the operator wants to be told of what goes wrong; undefined for nowhere. */
  get webhook(): string | undefined {
    return this.#get("webhook");
  }

  setWebhook(url: string | null): void {
    this.#set("webhook", url);
  }

  /** Alerts of one hour, counted from the beginning of Unix time. */
  get alerts(): { hour: number; sent: number } {
    const [hour = 0, sent = 0] = (this.#get("alerts") ?? "").split("/").map(Number);
    return { hour, sent };
  }

  setAlerts({ hour, sent }: { hour: number; sent: number }): void {
    this.#set("alerts", `${hour}/${sent}`);
  }

  /** When a client came last, give or take the minutes between two writes; 0 where none has yet. */
  get lastSeen(): number {
    return Number(this.#get("last-seen") ?? 0);
  }

  setLastSeen(at: number): void {
    this.#set("last-seen", String(at));
  }

  /** The round of which the operator has been told that nobody comes. */
  get quietRound(): number {
    return Number(this.#get("quiet-round") ?? 0);
  }

  setQuietRound(round: number): void {
    this.#set("quiet-round", String(round));
  }

  /** Whether nobody takes part in the task any more. */
  get isRetired(): boolean {
    return this.#get("retired") !== undefined;
  }

  setRetired(isRetired: boolean): void {
    this.#set("retired", isRetired ? "1" : null);
  }

  #get(key: string): string | undefined {
    return this.db.first(row, "SELECT value FROM settings WHERE key = ?", key)?.value;
  }

  #set(key: string, value: string | null): void {
    if (value === null) this.db.run("DELETE FROM settings WHERE key = ?", key);
    else this.db.run("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value);
  }
}
