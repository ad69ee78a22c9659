/** What the lab's commands in Node need of the project's TypeScript, in one import: see node.mjs. */
export { compress, decodeDelta, encodeDelta, isSparse } from "../../src/core/codecs/codec";
export { clipAndNoise, normOf } from "../../src/core/privacy/clip";
export { decodeCheckpoint } from "../../src/core/checkpoint";
export { decodeIdx } from "../../src/core/data/idx";
export { initializeWeights } from "../../src/core/initialize";
export { LabConfigError, parseLabConfig } from "../../src/core/lab/config";
export { poison } from "../../src/core/lab/attack";
export { drawnData, isTest, prepare } from "../../src/core/lab/data";
export { configOf, exportRun, roundsToCsv } from "../../src/core/lab/export";
export { LabPool } from "../../src/core/lab/pool";
export { PRESETS } from "../../src/core/lab/presets";
export { clientSeed, picture, planOf, shareOut } from "../../src/core/lab/cohort";
export { runLab } from "../../src/core/lab/simulation";
export { TASKS } from "../../src/core/protocol";
export { HeadlessClient } from "../headless";
export { MODELS, summarize } from "../../src/core/model";
export { roundsTo } from "../../src/core/lab/rounds-to";
export * as secagg from "./secagg";
