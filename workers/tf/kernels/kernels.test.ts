import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SECTION, sourceDigest, VARIANTS } from "../../../tools/build-kernels.mjs";
import { KERNELS } from "./pool";

test.each(Object.keys(VARIANTS))("kernels-%s.wasm is built from the source that is here", (variant) => {
  const file = readFileSync(join(import.meta.dirname, `kernels-${variant}.wasm`));
  const section = Buffer.from(SECTION);
  const at = file.lastIndexOf(section);
  expect(at).toBeGreaterThan(0);
  expect(file.subarray(at + section.length).toString(), "run node tools/build-kernels.mjs").toBe(sourceDigest());
});

test("the kernels have no data of their own and export what the pool calls", () => {
  // Node 20 reads the variant without relaxed SIMD.
  const module = new WebAssembly.Module(readFileSync(join(import.meta.dirname, "kernels-simd.wasm")));
  expect(WebAssembly.Module.imports(module)).toEqual([{ module: "env", name: "memory", kind: "memory" }]);
  const exported = WebAssembly.Module.exports(module).map(({ name }) => name);
  expect(exported).toEqual(expect.arrayContaining([...KERNELS, "filterGradientScratch", "__stack_pointer"]));
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65_536, shared: true });
  new WebAssembly.Instance(module, { env: { memory } });
  expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
});
