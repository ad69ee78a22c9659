/**
 * `npm run bench:crop -- --data FILE [--faces N]`: where FER2013's square lies against the face detector's box, so that the app
 * can crop a camera's picture as FER2013 was cropped. faces.mjs says what FILE may be. Its last line is one JSON object.
 */
import { parseArgs } from "node:util";
import { openPage } from "../tools/harness/open.mjs";
import { facesOf, fail } from "../tools/faces.mjs";

const { values } = parseArgs({ options: { data: { type: "string" }, faces: { type: "string", default: "500" } } });
if (!values.data) fail("npm run bench:crop -- --data FILE: name a file of labelled faces.");
const wanted = Number(values.faces);

const { page, close } = await openPage();
const found = [];
let shown = 0;
let pixels = [];
const show = async () => {
  const text = Buffer.concat(pixels).toString("base64");
  found.push(...(await page.evaluate((text) => window.harness.crops(window.harness.fromBase64(text)), text)));
  pixels = [];
};
for await (const [, face] of facesOf(values.data)) {
  pixels.push(face);
  shown += 1;
  if (pixels.length === 50) await show();
  if (shown === wanted) break;
}
if (pixels.length > 0) await show();
await close();

const seen = found.filter(Boolean);
const quartiles = (key) => {
  const sorted = seen.map((one) => one[key]).sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((share) => Number(sorted[Math.floor(share * (sorted.length - 1))].toFixed(3)));
};
console.log(JSON.stringify({ faces: shown, found: seen.length, side: quartiles("side"), down: quartiles("down") }));
