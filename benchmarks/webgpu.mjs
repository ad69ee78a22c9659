/**
 * `npm run bench:webgpu [-- --model seed] [--batch 8] [--steps 1] [--real]`: one training step on WebGPU in a Chromium tab, in our
 * kernels and, in the same run, in tfjs's own: dispatches, bytes (each buffer that a dispatch of tfjs's binds, and each part that one of
 * ours reads or writes, counted once), bytes that go to the GPU and come back, and milliseconds without the first step, which compiles. On
 * the browser's software adapter, or with --real on the machine's GPU. Its last line is one JSON object.
 */
import { openPage } from "../tools/harness/open.mjs";
import { optionsOf } from "../tools/options.mjs";

const options = optionsOf(import.meta.url, {
  model: { type: "string", default: "seed" },
  batch: { type: "count", default: "8" },
  steps: { type: "count", default: "1" },
  real: { type: "boolean", default: false },
});
const args = options.real
  ? ["--enable-unsafe-webgpu", "--enable-features=Vulkan", "--ignore-gpu-blocklist"]
  : ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

async function measure(kernels) {
  const { page, close } = await openPage(args);
  try {
    const measured = await page.evaluate(
      ([model, batch, steps, kernels]) => window.harness.worker().measureGpu(model, batch, steps, kernels),
      [options.model, options.batch, options.steps, kernels],
    );
    console.log(kernels, JSON.stringify(measured));
    const { adapter, stepMs, loss, ...moved } = measured;
    const ms = stepMs.toSorted((a, b) => a - b)[Math.floor(stepMs.length / 2)];
    return { adapter, figures: { ...moved, stepMs: Math.round(ms), loss } };
  } finally {
    await close();
  }
}

const { adapter, figures: ours } = await measure("own");
const { figures: tfjs } = await measure("tfjs");
// Others may use the machine too: ours are measured before tfjs's and after, and the mean counts.
const { figures: again } = await measure("own");
ours.stepMs = Math.round((ours.stepMs + again.stepMs) / 2);
const ratio = Number((tfjs.stepMs / ours.stepMs).toFixed(2));
console.log(JSON.stringify({ adapter, model: options.model, batch: options.batch, ours, tfjs, ratio }));
