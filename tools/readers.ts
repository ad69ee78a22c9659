/** What reads data sets, for the commands in Node: see faces.mjs. */
export { FerCsvError, FerCsvReader, isFaceCsv, isPictureCsv } from "../src/data/fer-csv";
export { fileKind, HEAD } from "../src/data/file-kind";
export { greyLevels, inChannels } from "../src/data/grey";
export { idxFilesOf, IdxError, idxSamples, isIdxName, pairIdx } from "../src/data/idx";
export { placeOf } from "../src/data/image-folder";
export { LabelWords } from "../src/data/label-words";
export {
  hasColour,
  OwnDataError,
  OwnLabels,
  shapesInWords,
  shapesOfNumbers,
  sizeOf,
  SIDE,
  whyNoSize,
} from "../src/data/own-labels";
