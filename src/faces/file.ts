import * as v from "valibot";
import { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
import { EXPRESSIONS, FACE_PIXELS, type Label } from "../model/expressions";
import { FACE, MOST_TASK_LABELS, SIDE, sizeOf, type PictureShape } from "../data/own-labels";
import { taskNameSchema } from "../federation/protocol";
import type { TaskName } from "../federation/tasks/registry";
import type { ExampleKind, TaskDescription } from "../federation/tasks/task";
import { sortOld } from "./labels";
import { SPLITS, type Drawing, type Example, type Face, type Picture } from "./kept";

/** A file of faces, drawings or pictures cannot be used; its message says what was wrong with it. */
export class FaceFileError extends Error {
  override readonly name = "FaceFileError";
}

const FORMAT = "best-actor-faces";
/** The second version has the score of the take, and whether the player has still to say what it shows. */
const VERSION = 2;
const label = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(EXPRESSIONS.length - 1));

const oldFaceSchema = v.object({
  pixels: v.string(),
  label,
  prompted: label,
  probabilities: v.pipe(v.array(v.pipe(v.number(), v.minValue(0), v.maxValue(1))), v.length(EXPRESSIONS.length)),
  capturedAt: v.pipe(v.number(), v.minValue(0)),
  split: v.picklist(SPLITS),
  rounds: v.optional(v.array(v.object({ task: taskNameSchema, round: v.number() }))),
});
const faceSchema = v.object({
  ...oldFaceSchema.entries,
  score: v.nullable(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
  needsAnswer: v.boolean(),
});

const packed = <E extends Example>({ pixels, ...rest }: E) => ({ ...rest, pixels: uint8ArrayToBase64(pixels) });

/** What a file holds. */
interface Exported {
  /** Of the expressions and of other tasks. */
  faces?: readonly Example[];
  drawings?: readonly Drawing[];
  pictures?: readonly Picture[];
}

/**
 * Examples of every kind in one JSON file, their pixels in base64, faces in any case, drawings and pictures where there are some. `more`
 * stands beside them.
 */
export function exportExamples({ faces = [], drawings = [], pictures = [] }: Exported, more: object = {}): string {
  const [expressions, acted] = [faces.filter(({ task }) => !task), faces.filter(({ task }) => task)];
  return JSON.stringify({
    format: FORMAT,
    version: VERSION,
    size: Math.sqrt(FACE_PIXELS),
    faces: expressions.map(packed),
    // Apart: an older page would take them for expressions.
    ...(acted.length > 0 && { acted: acted.map(packed) }),
    ...(drawings.length > 0 && { drawings: drawings.map(packed) }),
    ...(pictures.length > 0 && { pictures: pictures.map(packed) }),
    ...more,
  });
}

/** What every such file has. @throws FaceFileError */
function headOf(text: string) {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new FaceFileError("This is no JSON file. Choose one that this page has exported.", { cause: error });
  }
  const unknowns = v.array(v.unknown());
  const head = v.safeParse(
    v.object({
      format: v.literal(FORMAT),
      version: v.number(),
      faces: unknowns,
      acted: v.optional(unknowns, []),
      drawings: v.optional(unknowns, []),
      pictures: v.optional(unknowns, []),
    }),
    file,
  );
  if (!head.success)
    throw new FaceFileError("This file holds no faces of Best Actor. Choose one that this page has exported.");
  const { version } = head.output;
  if (version !== 1 && version !== VERSION) {
    throw new FaceFileError(`This file is of version ${version}; this page reads up to version ${VERSION}.`);
  }
  return head.output;
}

/** Ends an import that has come to what it cannot use. */
type Wrong = (what: string) => never;
const wrongAt =
  (what: "Face" | "Drawing" | "Picture", i: number): Wrong =>
  (why) => {
    throw new FaceFileError(`${what} ${i + 1} of the file is wrong: ${why}. Nothing was imported.`);
  };

function parsed<S extends v.GenericSchema>(schema: S, value: unknown, wrong: Wrong): v.InferOutput<S> {
  const found = v.safeParse(schema, value);
  return found.success ? found.output : wrong(`${v.getDotPath(found.issues[0]) ?? "it"}: ${found.issues[0].message}`);
}

function unpacked(text: string, shape: PictureShape, wrong: Wrong): Uint8Array<ArrayBuffer> {
  let pixels: Uint8Array<ArrayBuffer>;
  try {
    pixels = base64ToUint8Array(text);
  } catch {
    return wrong("its pixels are no base64");
  }
  const wanted = sizeOf(shape);
  return pixels.length === wanted ? pixels : wrong(`it has ${pixels.length} pixels instead of ${wanted}`);
}

/**
 * The faces of such a file.
 * @throws FaceFileError that names the first face that is wrong: then nothing of the file is used
 */
export function importFaces(text: string): Omit<Face, "id">[] {
  const { version, faces } = headOf(text);
  return faces.map((value, i) => {
    const wrong = wrongAt("Face", i);
    const face = parsed(version === 1 ? oldFaceSchema : faceSchema, value, wrong);
    const { pixels: packed, rounds, ...rest } = face;
    const pixels = unpacked(packed, FACE, wrong);
    const labels = { label: rest.label as Label, prompted: rest.prompted as Label };
    const read = { ...rest, ...labels, pixels, shape: FACE, ...(rounds ? { rounds } : {}) };
    return "score" in read ? read : sortOld(read, null);
  });
}

const ofAnyLabel = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MOST_TASK_LABELS - 1));
const side = v.pipe(v.number(), v.integer(), v.minValue(SIDE.least), v.maxValue(SIDE.most));
/** An example as any task may have taken it: whether what its task takes now lets it be used, `fits` in labels.ts says. */
const exampleSchema = v.object({
  ...faceSchema.entries,
  label: ofAnyLabel,
  // What was exported before names were kept has none.
  labelName: v.optional(v.pipe(v.string(), v.maxLength(64))),
  prompted: ofAnyLabel,
  probabilities: v.pipe(
    v.array(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
    v.minLength(1),
    v.maxLength(MOST_TASK_LABELS),
  ),
  // Drawings had none before there was colour.
  shape: v.optional(v.object({ height: side, width: side, channels: v.picklist([1, 3]) })),
});

/** A task whose drawings, pictures or faces are imported, and what these carry of it: nothing where it is built in. */
interface Of {
  /** Faces are those of a task of their own: for expressions there is {@link importFaces}. */
  kind: ExampleKind;
  /** As in {@link Example.task}. */
  task: TaskName | undefined;
  of: Pick<TaskDescription, "input">;
}

/** Where a file has those of each kind that tasks have of their own, and what one of them is called. */
const LISTS = {
  face: ["acted", "Face"],
  drawing: ["drawings", "Drawing"],
  picture: ["pictures", "Picture"],
} as const;

/**
 * The drawings, pictures or faces of one task in such a file, also those that the task as it is now does not take; those of other tasks are
 * left where they are.
 * @throws FaceFileError that names the first one that is wrong: then nothing of the file is used
 */
export function importOf(text: string, { kind, task, of: { input } }: Of): Omit<Example, "id">[] {
  const ofTask = v.object({ task: v.optional(taskNameSchema) });
  const [list, what] = LISTS[kind];
  return headOf(text)[list].flatMap((value, i) => {
    const wrong = wrongAt(what, i);
    if (parsed(ofTask, value, wrong).task !== task) return [];
    const { pixels: packed, rounds, labelName, shape = input, ...rest } = parsed(exampleSchema, value, wrong);
    const pixels = unpacked(packed, shape, wrong);
    const more = task === undefined ? {} : { task, ...(labelName !== undefined && { labelName }) };
    return [{ ...rest, pixels, shape, ...more, ...(rounds && { rounds }) }];
  });
}

/** Those that are not here yet: the same pixels at the same time are the same face, drawing or picture. */
export function newOnes<E extends Omit<Example, "id">>(imported: readonly E[], here: readonly Example[]): E[] {
  const keyOf = ({ capturedAt, pixels }: Omit<Example, "id">): string => `${capturedAt} ${uint8ArrayToBase64(pixels)}`;
  const known = new Set(here.map(keyOf));
  return imported.filter((face) => {
    const key = keyOf(face);
    if (known.has(key)) return false;
    known.add(key);
    return true;
  });
}
