/** What the benchmark of secure aggregation needs of the project's TypeScript. */
export { beginSecure, check, confirm, keysOf, maskVector, reveal, share } from "../../src/federation/secagg/client";
export { degreeOf, thresholdOf } from "../../src/federation/secagg/graph";
export { pack, ringOf } from "../../src/federation/secagg/ring";
export { base64ToUint8Array, uint8ArrayToBase64 } from "uint8array-extras";
export { agree, mac, randomBytes, seal } from "../../src/federation/secagg/secrets";
