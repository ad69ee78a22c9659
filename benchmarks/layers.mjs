/**
 * `npm run bench:layers`: the seed CNN's convolutions at batch 32, each of its passes on one thread of Chromium, directly and by Winograd's
 * F(4x4, 3x3): milliseconds, GFLOP/s (both count the products and sums of the direct convolution), the share of Winograd's time that its
 * transforms take, and the errors of one picture against float64, norm by norm. Its last line is one JSON object.
 */
import { openPage } from "../tools/harness/open.mjs";

const BATCH = 32;

const { page, close } = await openPage();
const layers = await page.evaluate((faces) => window.harness.worker().layers(faces), BATCH);
await close();
const rounded = layers.map((row) =>
  Object.fromEntries(
    Object.entries(row).map(([key, value]) => [
      key,
      typeof value === "number" ? Number(value.toPrecision(value < 1e-3 ? 2 : 3)) : value,
    ]),
  ),
);
const sum = (key) => Math.round(layers.reduce((all, row) => all + row[key], 0));
console.log(JSON.stringify({ directMs: sum("directMs"), winogradMs: sum("winogradMs"), layers: rounded }));
