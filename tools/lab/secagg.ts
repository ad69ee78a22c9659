/** What the benchmark of secure aggregation needs of the project's TypeScript. */
export { beginSecure, check, confirm, keysOf, maskVector, reveal, share } from "../../src/core/secagg/client";
export { degreeOf, thresholdOf } from "../../src/core/secagg/graph";
export { pack, ringOf } from "../../src/core/secagg/ring";
export { fromBase64, toBase64 } from "../../src/core/base64";
export { agree, mac, randomBytes, seal } from "../../src/core/secagg/secrets";
