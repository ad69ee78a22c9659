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
}

/** The name of the error that an import ends in when nothing of it can be used. */
export const IMPORT_FAILED = "ImportError";

export interface ImportApi {
  /** Imports files as one data set. To cancel, stop the worker: what it has stored so far is never seen. */
  run(files: ImportFile[], onProgress: (progress: ImportProgress) => void): Promise<ImportReport>;
}
