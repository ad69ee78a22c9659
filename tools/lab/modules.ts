/** What the lab's commands in Node need of the project's TypeScript, in one import: see node.mjs. */
export { compress, decodeDelta, encodeDelta } from "../../src/federation/codecs/delta";
export { toFloat16 } from "../../src/federation/codecs/float16";
export { CODECS } from "../../src/federation/codecs/registry";
export { putNorms, takeNorms } from "../../src/model/batch-norm";
export { epsilon } from "../../src/federation/privacy/accountant";
export { clipTo, normOf } from "../../src/federation/privacy/clip";
export { addGaussian } from "../../src/federation/privacy/discrete-gaussian";
export { decodeCheckpoint, encodeCheckpoint } from "../../src/model/checkpoint";
export { decodeIdx } from "../../src/data/idx";
export { initializeWeights } from "../../src/model/initialize";
export { PLAIN_CAMERA } from "../../src/data/camera";
export { parseLabConfig } from "../../src/simulation/config";
export { LabConfigError } from "../../src/simulation/config-error";
export { networkFor } from "../../src/simulation/network";
export { throughCameras } from "../../src/simulation/cameras";
export { configHelp } from "../../src/simulation/config-help";
export { poison } from "../../src/simulation/attack";
export { decodeDreams } from "../../src/model/dreams";
export { clientNumbers, drawnData, ONE_SIDED, prepare, shared, testSplit } from "../../src/simulation/data";
export { isTimed, stalenessOf } from "../../src/simulation/durations";
export { configOf, exportRun, roundsToCsv } from "../../src/simulation/export";
export { LabPool } from "../../src/simulation/pool";
export { changed, configsOf, gridOf, nameOf, OF_ONE_RUN, valueOf, valuesOf } from "../../src/simulation/grid";
export { curveOf, outcomeOf, sweepToCsv } from "../../src/simulation/outcome";
export { PRESETS } from "../../src/simulation/presets";
export {
  asRoundSays,
  judgedWeights,
  keptAfter,
  LIVE_NAMES,
  liveRunOf,
  personalLayersOf,
  toldOf,
} from "../../src/federation/strategies/live";
export { STRATEGIES } from "../../src/federation/strategies/registry";
export { clipTrained } from "../../src/federation/trained-update";
export { isWorse } from "../../src/model/evaluation";
export { clientSeed, picture, planOf, shareOut } from "../../src/simulation/cohort";
export { roundOf } from "../../src/simulation/simulated-round";
export { runLab } from "../../src/simulation/simulation";
export { networkOf } from "../../src/federation/tasks/network";
export { BUILT_IN, showsExpressions, taskNamed, taskOf } from "../../src/federation/tasks/registry";
export { CAREFUL, PLAIN } from "../../src/simulation/round";
export { verified } from "../../src/base/digest";
export { seededRandom, shuffle } from "../../src/base/random";
export { HeadlessClient, learnTask } from "../headless";
export { MODELS, summarize } from "../../src/model/model";
export { heldInTraining } from "../../src/model/trainable";
export { roundsTo } from "../../src/simulation/rounds-to";
export * as secagg from "./secagg";
