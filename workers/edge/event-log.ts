import type { EventKind, TaskEvent } from "../../src/federation/protocol";
import type { TaskName } from "../../src/federation/tasks/registry";
import { Alerts } from "./alerts";
import { log } from "./log";
import type { TaskStore } from "./store/store";

/** The task's log: what happened and why, for watchers, for whoever looks later, and for the operator's webhook. */
export class EventLog {
  readonly #alerts: Alerts;

  /** @param told gets each event @param later lets work go on behind an answer */
  constructor(
    private readonly task: TaskName,
    private readonly store: TaskStore,
    private readonly told: (event: TaskEvent) => void,
    private readonly later: (work: Promise<unknown>) => void,
  ) {
    this.#alerts = new Alerts(task, store.settings);
  }

  add(kind: EventKind, round: number | null, detail: string | null = null): void {
    log(kind, { task: this.task, round, detail });
    const event = this.store.events.add({ at: Date.now(), kind, round, detail: detail ?? "" });
    this.told(event);
    this.later(
      this.#alerts.send(event).then((problem) => {
        if (problem !== undefined) this.add("alert-failed", round, problem);
      }),
    );
  }
}
