/** What the benchmark of secure aggregation needs of the project's TypeScript. */
export { beginSecure, check, confirm, keysOf, maskVector, reveal, share } from "../../src/federation/secagg/client";
export { degreeOf, thresholdOf } from "../../src/federation/secagg/graph";
export { pack, ringOf } from "../../src/federation/secagg/ring";
export { fromBase64, toBase64 } from "../../src/base/base64";
export { agree, mac, randomBytes, seal } from "../../src/federation/secagg/secrets";
