/**
 * `npm run bench:secagg [-- --cohorts 10,50,200 --models compact,seed]`: what secure aggregation costs one client: milliseconds of
 * each step, and bytes up and down, against its cohort and its model; the client's side of a whole round with real peers' keys.
 * The last row is the setting of Bonawitz et al. 2017 (2^10 users, 2^20 values of 16 bits), who report 1.73 times the bytes of
 * the plain vector. Its last line is one JSON object.
 */
import { lab } from "../tools/lab/node.mjs";
import { optionsOf } from "../tools/options.mjs";

const { secagg } = lab;
const values = optionsOf(import.meta.url, {
  cohorts: { type: "string", default: "10,50,200" },
  models: { type: "string", default: "compact,seed" },
});
const ROUND = "expressions/1";
const size = (message) => Buffer.byteLength(JSON.stringify(message));
const ms = (from) => Math.round(performance.now() - from);

/** One client's part in a round among its neighbours. */
async function measure(cohort, numbers, bits, plainBits) {
  const degree = secagg.degreeOf(cohort);
  const threshold = secagg.thresholdOf(cohort);
  const members = Array.from({ length: degree }, (_, i) => i + 1);
  const others = await Promise.all(members.map(() => secagg.beginSecure(ROUND)));
  const keys = await Promise.all(others.map(secagg.keysOf));
  const own = await secagg.beginSecure(ROUND);
  const ownKeys = await secagg.keysOf(own);
  const peers = members.map((member, i) => ({ member, cipherKey: keys[i].cipherKey, maskKey: keys[i].maskKey }));
  const agree = (i, purpose) =>
    secagg.agree(others[i].cipher.privateKey, secagg.base64ToUint8Array(ownKeys.cipherKey), ROUND, purpose);
  const inbox = await Promise.all(
    members.map(async (member, i) => ({
      member,
      sealed: secagg.uint8ArrayToBase64(
        await secagg.seal(await agree(i, "shares"), secagg.randomBytes(66), `${member} to 0`),
      ),
    })),
  );
  const survivors = [0, ...members];
  const macs = await Promise.all(
    members.map(async (member, i) => ({
      member,
      mac: secagg.uint8ArrayToBase64(await secagg.mac(await agree(i, "list"), `${member}: ${survivors.join()}`)),
    })),
  );

  let begun = performance.now();
  const shared = await secagg.share(own, { step: "shares", me: 0, threshold, peers });
  const shareMs = ms(begun);
  const vector = new Uint32Array(numbers);
  begun = performance.now();
  const checked = await secagg.check(shared.state, { step: "check", inbox });
  const masked = await secagg.maskVector(checked.state, { step: "mask", partners: members }, vector);
  const maskMs = ms(begun);
  begun = performance.now();
  const body = secagg.pack(vector, bits).length;
  const packMs = ms(begun);
  begun = performance.now();
  const confirmed = await secagg.confirm(masked, { step: "confirm", survivors });
  const opened = await secagg.reveal(confirmed.state, { step: "reveal", macs });
  const openMs = ms(begun);

  const bytesUp = size(ownKeys) + size(shared.message) + body + size(confirmed.message) + size(opened);
  const bytesDown = size({ step: "shares", me: 0, threshold, peers }) + size(inbox) + size(survivors) + size(macs);
  const plain = Math.ceil((numbers * plainBits) / 8);
  return {
    ...{ cohort, neighbours: degree, threshold, numbers, bits },
    ...{ shareMs, maskMs, packMs, openMs, bytesUp, bytesDown, vectorBytes: body },
    expansion: Number(((bytesUp + bytesDown) / plain).toFixed(3)),
  };
}

const rows = [];
for (const name of values.models.split(",")) {
  const model = lab.summarize(lab.MODELS[name]);
  for (const cohort of values.cohorts.split(",").map(Number)) {
    const options = { codec: "int8", cohort, clip: 1, deviation: 0, mostExamples: 200 };
    const { length, bits } = secagg.ringOf(model, options);
    rows.push({ model: name, ...(await measure(cohort, length, bits, 8)) });
    console.log(rows.at(-1));
  }
}
const bonawitz = await measure(1024, 2 ** 20, 26, 16);
console.log(bonawitz);
console.log(JSON.stringify({ rows, bonawitz: { ...bonawitz, paperExpansion: 1.73 } }));
