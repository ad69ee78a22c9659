/** The seven expressions of FER2013, in the order of its labels 0..6. */
export const EXPRESSIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"] as const;

export type Expression = (typeof EXPRESSIONS)[number];

/** A FER2013 label: the index of an expression in {@link EXPRESSIONS}. */
export type Label = 0 | 1 | 2 | 3 | 4 | 5 | 6;

/** Width and height of a face in pixels. */
export const FACE_SIZE = 48;

/** Bytes of one face: 48 x 48 grey levels, row by row. */
export const FACE_PIXELS = FACE_SIZE * FACE_SIZE;
