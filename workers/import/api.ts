import type { LabelMapping, LabelWord } from "../../src/data/label-words";
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
  /** What the data set calls its labels, and what each was taken for; none where there was nothing to say. */
  labels: LabelWord[];
}

/** What became of an import: it is done, or somebody has to say what the labels mean. One of the two is null. */
export interface ImportOutcome {
  report: ImportReport | null;
  question: LabelWord[] | null;
}

/** The name of the error that an import ends in when nothing of it can be used. */
export const IMPORT_FAILED = "ImportError";

export interface ImportApi {
  /**
   * Imports files as one data set, whole or not at all. To cancel, stop the worker, and have what it has stored so far cleared away
   * (`clearStrays`).
   * @param labels what somebody has said that the labels mean; null where nobody was asked
   */
  run(
    files: ImportFile[],
    labels: LabelMapping | null,
    onProgress: (progress: ImportProgress) => void,
  ): Promise<ImportOutcome>;
}
