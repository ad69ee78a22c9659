import { ALERTING, type TaskEvent } from "../../src/federation/protocol";
import type { TaskName } from "../../src/federation/tasks/registry";
import { isWebhook } from "../../src/federation/webhook";
import type { SettingsTable } from "./store/settings";

/** Alerts an hour at most: whoever can make rounds fail shall not be able to make the edge shout. */
const MOST_AN_HOUR = 20;
const HOUR_MS = 3_600_000;
/** How long the other side may take, and how often and after which pause it is asked. */
const [TIMEOUT_MS, TRIES, PAUSE_MS] = [10_000, 3, 5_000];

const WORDS: Partial<Record<TaskEvent["kind"], string>> = {
  "round-rejected": "was rejected",
  "round-abandoned": "was abandoned",
  "dead-letter": "has an update that could not be added",
  "nobody-came": "waits, and nobody has come for an hour",
};

/**
 * Tells an operator's webhook of what goes wrong. What is sent is what the public log says, and no answer is read: whatever the address
 * leads to learns nothing that it may not know, and nobody learns anything of it but whether it took the alert.
 */
export class Alerts {
  constructor(
    private readonly task: TaskName,
    private readonly settings: SettingsTable,
  ) {}

  /**
   * Sends an event, where that is one to be told of.
   * @returns why it could not be sent; undefined where it was, or there was nothing to send
   */
  async send(event: TaskEvent): Promise<string | undefined> {
    const url = this.settings.webhook;
    if (url === undefined || !ALERTING.includes(event.kind)) return undefined;
    // What was set once is looked at again: the rules may be stricter by now.
    if (!isWebhook(url)) return "The address is none that is called any more.";
    const hour = Math.floor(event.at / HOUR_MS);
    const { alerts } = this.settings;
    const sent = alerts.hour === hour ? alerts.sent : 0;
    if (sent >= MOST_AN_HOUR) return undefined;
    this.settings.setAlerts({ hour, sent: sent + 1 });
    let problem: string | undefined;
    for (let tries = 0; tries < TRIES; tries++) {
      if (tries > 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      problem = await this.#post(url, event);
      if (problem === undefined) return undefined;
    }
    return problem;
  }

  async #post(url: string, event: TaskEvent): Promise<string | undefined> {
    const { task } = this;
    const { kind, round, detail, at } = event;
    // `text` is what chat services show.
    const text = `${task}: round ${round} ${WORDS[kind] ?? kind}. ${detail}`.trim();
    try {
      const { ok, status, body } = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", "user-agent": "best-actor" },
        body: JSON.stringify({ text, task, kind, round, detail, at }),
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await body?.cancel();
      return ok ? undefined : `The webhook answered with ${status}.`;
    } catch {
      // The error's words may hold the address, which may hold a secret.
      return "The webhook could not be reached.";
    }
  }
}
