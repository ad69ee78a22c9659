import type { LabelMapping, LabelWord } from "../../src/data/label-words";
import type { LabelNames, OwnWord, PictureShape } from "../../src/data/own-labels";
import type { Dataset } from "../../src/lab/store";

/** A file and where it lay. */
export interface ImportFile {
  /** With the folders that it lay in, where the browser says. */
  path: string;
  file: File;
}

export interface ImportProgress {
  /** Bytes read, and all of them. */
  done: number;
  of: number;
  samples: number;
  /** Lines or pictures that were left out. */
  wrong: number;
}

export interface ImportReport {
  dataset: Dataset;
  samples: number;
  wrong: number;
  /** What was wrong with the first ones. */
  problems: string[];
  /** How many clients the examples are of, as the data say it, and how many of the examples are nobody's. */
  clients: number;
  nobodys: number;
  /** What the data set calls its labels, and what each was taken for; none where there was nothing to say. */
  labels: (LabelWord | OwnWord)[];
}

/** What somebody has said of files: that they are faces, and what their labels mean; or pictures of their own, and how to read them. */
export type ImportSaid = (
  | { as: "faces"; labels: LabelMapping | null }
  | {
      as: "own";
      /** null: nobody has been asked yet. */
      labels: LabelNames | null;
      /** Of all pictures; null where nobody has been asked. */
      shape: PictureShape | null;
      /** Of a CSV, the one that holds the labels; null where nobody has been asked. */
      column: string | null;
    }
) & {
  /** Of a CSV, the column that says whose each example is; nothing: one of the usual names, if there is one. */
  client?: string | null;
};

/** What has to be said before anything is imported: what a data set's labels mean, or how pictures of somebody's own are to be read. */
export type ImportQuestion = { as: "faces"; words: LabelWord[] } | OwnQuestion;

export interface OwnQuestion {
  as: "own";
  /** Why they cannot be read as they are; there are no words then. */
  problem: string | null;
  words: OwnWord[];
  /** What it would be, to be changed. Numbers in a CSV have a size that is what it is. */
  shape: PictureShape;
  isSizeFixed: boolean;
  /** Sizes of the pictures that were looked at, the most frequent first. */
  sizes: { width: number; height: number; count: number }[];
  /** Of a CSV, the column that holds the labels, empty where that has to be said; null of pictures. */
  column: string | null;
}

/** What became of an import: it is done, or somebody has to say something first. One of the two is null. */
export interface ImportOutcome {
  report: ImportReport | null;
  question: ImportQuestion | null;
}

/** The name of the error that an import ends in when nothing of it can be used. */
export const IMPORT_FAILED = "ImportError";

export interface ImportApi {
  /**
   * Imports files as one data set, whole or not at all. To cancel, stop the worker, and have what it has stored so far cleared away
   * (`clearStrays`).
   * @param said what somebody has said of them; faces with nothing said are asked about where they turn out to be something else
   */
  run(files: ImportFile[], said: ImportSaid, onProgress: (progress: ImportProgress) => void): Promise<ImportOutcome>;
}
