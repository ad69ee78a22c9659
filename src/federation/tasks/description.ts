import * as v from "valibot";
import { LEAST_LABELS, MOST_TASK_LABELS } from "../../data/own-labels";
import { MODEL_NAMES, type LayerSpec, type ModelSpec } from "../../model/model";
import { MOST } from "../../model/trainable";
import { roundChangeSchema, taskNameSchema, whole, type RoundConfig } from "../protocol";
import { EXAMPLE_KINDS, LABEL_PLACE, type TaskDescription, type Words } from "./task";

/** A task as an administrator adds it while everything runs: what travels, and what the edge keeps of it. */

/** Tasks that may be added to a deployment, those that were retired among them. */
export const MOST_TASKS = 32;

/** Rules between the parts of a field, as their messages have them. */
export const PART_RULES = {
  english: "English words, en, are missing",
  onePlace: `more than one ${LABEL_PLACE}`,
  sameNames: "two labels of one name",
  sameWords: "two labels of the same words",
} as const;

/** What is not empty has something that can be seen. */
export const VISIBLE = /^$|[\p{L}\p{N}\p{P}\p{S}]/u;

/** Words, of which none turns the text around it: no control characters, no overrides of the direction. */
const text = (most: number) =>
  v.pipe(
    v.string(),
    v.trim(),
    v.minLength(1),
    v.maxLength(most),
    v.regex(/^[^\p{Cc}\u202a-\u202e\u2066-\u2069]*$/u, "a control character"),
    v.regex(VISIBLE, "nothing that can be seen"),
  );
const languageTag = v.pipe(
  v.string(),
  v.regex(/^[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}$/, "not a language tag, such as en or zh-CN"),
);
/** Words by language; English is what is shown where another is missing. */
const wordsOf = (most: number) =>
  v.pipe(
    v.record(languageTag, text(most)),
    v.check((words) => "en" in words, PART_RULES.english),
    v.check((words) => Object.keys(words).length <= 16, "more than 16 languages"),
    v.transform((words) => words as Words),
  );
/** A name. */
const wordsSchema = wordsOf(60);
/** A sentence or two. */
const sentencesSchema = wordsOf(160);

const layerName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z][\w-]{0,63}$/, "not a layer's name: at most 64 letters, digits, _ and -, the first a letter"),
);
const layerSchema = v.variant("kind", [
  v.strictObject({
    kind: v.literal("conv2d"),
    name: layerName,
    filters: whole(1, 1024),
    size: v.picklist([3, 5]),
    padding: v.picklist(["same", "valid"]),
  }),
  v.strictObject({ kind: v.literal("batchNorm"), name: layerName }),
  v.strictObject({ kind: v.literal("maxPool"), name: layerName, window: v.picklist([2, 3]) }),
  v.strictObject({
    kind: v.literal("dropout"),
    name: layerName,
    rate: v.pipe(v.number(), v.minValue(0), v.maxValue(0.95)),
  }),
  v.strictObject({ kind: v.literal("flatten"), name: layerName }),
  v.strictObject({
    kind: v.literal("dense"),
    name: layerName,
    units: whole(1, 4096),
    activation: v.picklist(["relu", "softmax"]),
  }),
]);

const side = whole(8, MOST.side);
/** Of each channel: a mean is between black and white; a network that takes levels as they are has a std of 1/255. */
export const normalizationSchema = v.strictObject({
  mean: v.array(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
  std: v.array(v.pipe(v.number(), v.minValue(0.003), v.maxValue(10))),
});
/** The fields of a task, without what only all of them together can tell. */
const entries = {
  /** What it is called. */
  title: wordsSchema,
  /** What a player is asked: `{label}` where the label's words go, or words behind which they stand. */
  ask: v.optional(
    v.pipe(
      sentencesSchema,
      v.check((words) => Object.values(words).every((one) => one.split(LABEL_PLACE).length <= 2), PART_RULES.onePlace),
    ),
  ),
  examples: v.picklist(EXAMPLE_KINDS),
  input: v.pipe(
    v.strictObject({
      height: side,
      width: side,
      channels: v.picklist([1, 3]),
      /** See ModelSpec.normalization. */
      normalization: v.optional(normalizationSchema),
    }),
    v.check(
      ({ channels, normalization: of }) => !of || (of.mean.length === channels && of.std.length === channels),
      "normalization: one mean and one std for each channel",
    ),
  ),
  /** A network of the registry, whose last layer gets a unit for each label, or a name and the layers of another. */
  model: v.union([
    v.picklist(MODEL_NAMES),
    v.strictObject({
      name: taskNameSchema,
      layers: v.pipe(v.array(layerSchema), v.minLength(1), v.maxLength(MOST.layers)),
    }),
  ]),
  /** What is told apart, in the order of the network's classes; where there are no words, their names are shown. */
  labels: v.pipe(
    v.array(
      v.strictObject({
        name: v.pipe(
          v.string(),
          v.regex(
            /^[a-z0-9][a-z0-9-]{0,31}$/,
            "not a label's name: at most 32 small letters, digits and hyphens, the first no hyphen",
          ),
        ),
        words: v.optional(wordsSchema),
        /** How to act, draw or hold it. */
        how: v.optional(sentencesSchema),
      }),
    ),
    v.minLength(LEAST_LABELS),
    v.maxLength(MOST_TASK_LABELS),
    v.check((labels) => new Set(labels.map(({ name }) => name)).size === labels.length, PART_RULES.sameNames),
    v.check((labels) => {
      const said = labels.flatMap(({ words = {} }) =>
        Object.entries(words).map((one) => one.join(" ").normalize("NFC")),
      );
      return new Set(said).size === said.length;
    }, PART_RULES.sameWords),
  ),
  /** In what its rounds differ from the defaults, where nobody says otherwise. */
  defaultRound: v.optional(
    v.pipe(
      roundChangeSchema,
      v.transform((change) => change as Partial<RoundConfig>),
    ),
    {},
  ),
};

export const taskStateSchema = v.picklist(["open", "retired"]);
/** Whether players take part in a task. A retired one's checkpoints and history can still be read. */
export type TaskState = v.InferOutput<typeof taskStateSchema>;
export const taskChangeSchema = v.strictObject({ state: taskStateSchema });

/** A task as it is kept. Whether all of it goes together, request.ts says. */
export const addedTaskSchema = v.strictObject(entries);
export type AddedTask = v.InferOutput<typeof addedTaskSchema>;

/** What may change of a task that has had rounds: its words, and how its next rounds are. */
export const CHANGEABLE = ["title", "ask", "defaultRound"] as const;

/** An added task as everybody else reads it. */
export function descriptionOf(added: AddedTask): TaskDescription {
  const { title, ask, examples, model, labels, defaultRound } = added;
  // What is kept with each example is its shape alone.
  const { normalization, ...input } = added.input;
  return {
    examples,
    input,
    ...(normalization && { normalization }),
    model: typeof model === "string" ? model : networkIn(model, input),
    labels: labels.map(({ name }) => name),
    words: {
      title,
      labels: labels.map(({ name, words }) => words ?? { en: name }),
      ...(ask && { ask }),
      ...(labels.some(({ how }) => how) && { how: labels.map(({ how }) => how ?? null) }),
    },
    firstCheckpoint: null,
    dreams: null,
    // Without dreamed pictures there is nothing to rehearse, nor to be judged by.
    defaultRound: { rehearse: 0, agreement: 0, ...defaultRound },
  };
}

const networkIn = (
  { name, layers }: { name: string; layers: readonly LayerSpec[] },
  { height, width, channels }: TaskDescription["input"],
): ModelSpec => ({ name, inputShape: [height, width, channels], layers });

/** Whether two descriptions differ in what may not change once a task has had rounds. */
export function isSameTask(one: AddedTask, other: AddedTask): boolean {
  const lasting = ({ examples, input, model, labels }: AddedTask): string =>
    JSON.stringify([examples, input, model, labels.map(({ name }) => name)]);
  return lasting(one) === lasting(other);
}

/** One of all tasks that there are. */
export const listedTaskSchema = v.object({
  name: taskNameSchema,
  state: taskStateSchema,
  /** What an administrator has added it as; null of a built-in one. */
  added: v.nullable(addedTaskSchema),
  /** Higher with each change of an added task's description, state or first checkpoint; 0 of a built-in one, and from older edges. */
  revision: v.optional(v.number(), 0),
});
export type ListedTask = v.InferOutput<typeof listedTaskSchema>;
export const tasksSchema = v.object({ tasks: v.array(listedTaskSchema) });

/** A list of tasks as far as this page can read it. */
interface ReadTasks {
  tasks: ListedTask[];
  /** The names of those that it cannot: a later edge describes them in a way, or of a kind, that this page does not know. */
  leftOut: string[];
}

/**
 * The same list from an edge that may be newer than whoever reads it: a task that is not understood is left out, and never the list.
 * What is no list of named things at all is refused.
 */
export const readableTasksSchema = v.pipe(
  v.object({ tasks: v.array(v.looseObject({ name: taskNameSchema })) }),
  v.transform(({ tasks }): ReadTasks => {
    const read: ReadTasks = { tasks: [], leftOut: [] };
    for (const one of tasks) {
      const parsed = v.safeParse(listedTaskSchema, one);
      if (parsed.success) read.tasks.push(parsed.output);
      else read.leftOut.push(one.name);
    }
    return read;
  }),
);
