import { getTask, getHistory } from "../client/edge";
import type { AddedTask } from "../federation/tasks/description";
import type { TaskName } from "../federation/tasks/registry";

/** What of a task is its own for as long as it is that task: all but its words and its default round. */
export interface Lasting {
  field: "examples" | "labels" | "input" | "network";
  now: string;
  then: string;
}

/** In what a description would change a task, but for its words and its default round, in JSON's own words. */
export function lastingChanges(now: AddedTask, then: AddedTask): Lasting[] {
  const shown = ({
    examples,
    input,
    model,
    labels,
  }: AddedTask): Record<Lasting["field"], [shown: string, all: unknown]> => {
    const { height, width, channels, normalization } = input;
    const size = `${height} x ${width} x ${channels}`;
    return {
      examples: [examples, examples],
      labels: [labels.map(({ name }) => name).join(", "), labels.map(({ name }) => name)],
      input: [normalization ? `${size}, ${JSON.stringify(normalization)}` : size, input],
      network: typeof model === "string" ? [model, model] : [`${model.name}: ${layersOf(model)}`, model],
    };
  };
  const [mine, theirs] = [shown(now), shown(then)];
  return (Object.keys(mine) as Lasting["field"][])
    .filter((field) => JSON.stringify(mine[field][1]) !== JSON.stringify(theirs[field][1]))
    .map((field) => ({ field, now: mine[field][0], then: theirs[field][0] }));
}

/** A network's layers by their names and numbers. */
const layersOf = ({ layers }: Exclude<AddedTask["model"], string>): string =>
  layers
    .map(({ kind: _, name, ...numbers }) => [name, ...Object.values<string | number>(numbers)].join(" "))
    .join(", ");

/** What cannot be read from a task's description. */
export interface TaskFacts {
  /** Whether it has had rounds, after which only its words and its default round change. */
  hasRounds: boolean;
  /** Whether its first checkpoint is random weights, and none that somebody brought. */
  isRandom: boolean;
}

/** Asks the edge for them. @throws EdgeAwayError, EdgeRefusalError */
export async function factsOf(task: TaskName): Promise<TaskFacts> {
  const [{ fromScratch }, { rounds }] = await Promise.all([getTask(task), getHistory(task)]);
  return { hasRounds: rounds.length > 0, isRandom: fromScratch };
}
