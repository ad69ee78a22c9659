import type { TaskName } from "../../src/federation/tasks/registry";

/** What one task counts. */
export interface TaskMetrics {
  checkpoint: number;
  waiting: number;
  /** null where that would tell who was drawn. */
  checkInsPerSecond: number | null;
  updates: Record<string, number>;
  rounds: Record<string, number>;
  refusals: Record<string, number>;
}

/** The tasks' counts in Prometheus's text format (version 0.0.4); null of a task that does not answer. */
export function prometheus(tasks: readonly (readonly [TaskName, TaskMetrics | null])[]): string {
  const lines: string[] = [];
  const family = (
    name: string,
    type: "gauge" | "counter",
    help: string,
    values: (task: TaskMetrics) => object,
    ofSilent: object = {},
  ): void => {
    lines.push(`# HELP best_actor_${name} ${help}`, `# TYPE best_actor_${name} ${type}`);
    for (const [task, metrics] of tasks) {
      for (const [labels, value] of Object.entries(metrics ? values(metrics) : ofSilent)) {
        lines.push(`best_actor_${name}{task="${task}"${labels}} ${String(value)}`);
      }
    }
  };
  const by =
    (label: string, key: "updates" | "rounds" | "refusals") =>
    (metrics: TaskMetrics): object =>
      Object.fromEntries(Object.entries(metrics[key]).map(([name, n]) => [`,${label}="${name}"`, n]));
  family("task_up", "gauge", "Whether the task answers.", () => ({ "": 1 }), { "": 0 });
  family("checkpoint_version", "gauge", "Version of the checkpoint that clients get.", (m) => ({ "": m.checkpoint }));
  family("waiting_clients", "gauge", "Clients that wait to be chosen.", (m) => ({ "": m.waiting }));
  family("check_ins_per_second", "gauge", "Check-ins, averaged over ten seconds.", (m) =>
    m.checkInsPerSecond === null ? {} : { "": m.checkInsPerSecond },
  );
  family("queued_updates", "gauge", "Accepted updates that are not counted yet.", (m) => ({
    "": m.updates["uploaded"] ?? 0,
  }));
  family("updates", "gauge", "Assignments by state.", by("state", "updates"));
  family("rounds", "gauge", "Rounds by state.", by("state", "rounds"));
  family("refusals_total", "counter", "Refused updates by problem.", by("code", "refusals"));
  return `${lines.join("\n")}\n`;
}
