/** What reads data sets, for the commands in Node: see faces.mjs. */
export { gunzipped, PackedError } from "../src/base/gzip";
export { DataSetError, findDataSet, lookInto, plainOf, whyNotRead } from "../src/data/data-set";
export { FerCsvError, FerCsvReader } from "../src/data/fer-csv";
export { greyLevels, inChannels } from "../src/data/grey";
export { IdxError, idxSamples } from "../src/data/idx";
export { LabelWords } from "../src/data/label-words";
export { hasColour, OwnDataError, OwnLabels, sizeOf, SIDE, whyNoSize } from "../src/data/own-labels";
