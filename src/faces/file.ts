import * as v from "valibot";
import { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
import { EXPRESSIONS, FACE_PIXELS, type Label } from "../model/expressions";
import { taskNameSchema } from "../federation/protocol";
import { sortOld } from "./labels";
import { SPLITS, type Drawing, type Example, type Face } from "./kept";

/** A file of faces cannot be used; its message says what was wrong with it. */
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

/** All faces in one JSON file, their pixels in base64, and drawings where there are some. `more` stands beside them. */
export const exportFaces = (faces: readonly Example[], drawings: readonly Drawing[] = [], more: object = {}): string =>
  JSON.stringify({
    format: FORMAT,
    version: VERSION,
    size: Math.sqrt(FACE_PIXELS),
    faces: faces.map(packed),
    ...(drawings.length > 0 && { drawings: drawings.map(packed) }),
    ...more,
  });

/**
 * The faces of such a file.
 * @throws FaceFileError that names the first face that is wrong: then nothing of the file is used
 */
export function importFaces(text: string): Omit<Face, "id">[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new FaceFileError("This is no JSON file. Choose one that My faces has exported.", { cause: error });
  }
  const head = v.safeParse(
    v.object({ format: v.literal(FORMAT), version: v.number(), faces: v.array(v.unknown()) }),
    file,
  );
  if (!head.success)
    throw new FaceFileError("This file holds no faces of Best Actor. Choose one that My faces has exported.");
  const { version } = head.output;
  if (version !== 1 && version !== VERSION) {
    throw new FaceFileError(`This file is of version ${version}; this page reads up to version ${VERSION}.`);
  }
  return head.output.faces.map((value, i) => {
    const face = v.safeParse(version === 1 ? oldFaceSchema : faceSchema, value);
    const wrong = (what: string): never => {
      throw new FaceFileError(`Face ${i + 1} of the file is wrong: ${what}. Nothing was imported.`);
    };
    if (!face.success) return wrong(`${v.getDotPath(face.issues[0]) ?? "it"}: ${face.issues[0].message}`);
    const { pixels: packed, rounds, ...rest } = face.output;
    let pixels: Uint8Array<ArrayBuffer>;
    try {
      pixels = base64ToUint8Array(packed);
    } catch {
      return wrong("its pixels are no base64");
    }
    if (pixels.length !== FACE_PIXELS) return wrong(`it has ${pixels.length} pixels instead of ${FACE_PIXELS}`);
    const labels = { label: rest.label as Label, prompted: rest.prompted as Label };
    const read = { ...rest, ...labels, pixels, ...(rounds ? { rounds } : {}) };
    return "score" in read ? read : sortOld(read, null);
  });
}

/** The faces that are not here yet: the same pixels at the same time are the same face. */
export function newFaces(imported: readonly Omit<Face, "id">[], here: readonly Face[]): Omit<Face, "id">[] {
  const keyOf = ({ capturedAt, pixels }: Omit<Face, "id">): string => `${capturedAt} ${uint8ArrayToBase64(pixels)}`;
  const known = new Set(here.map(keyOf));
  return imported.filter((face) => {
    const key = keyOf(face);
    if (known.has(key)) return false;
    known.add(key);
    return true;
  });
}
