import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SECTION, sourceDigest, VARIANTS } from "../../../tools/build-kernels.mjs";
import { KERNELS, SIZES } from "./instance";

test.each(Object.keys(VARIANTS))("kernels-%s.wasm is built from the source that is here", (variant) => {
  const file = readFileSync(join(import.meta.dirname, `kernels-${variant}.wasm`));
  const section = Buffer.from(SECTION);
  const at = file.lastIndexOf(section);
  expect(at).toBeGreaterThan(0);
  expect(file.subarray(at + section.length).toString(), "run node tools/build-kernels.mjs").toBe(sourceDigest());
});

// Node 20 reads the variants without relaxed SIMD.
test.each([
  ["simd", { initial: 16, maximum: 65_536, shared: true }],
  ["simd-single", { initial: 16 }],
])("the kernels of kernels-%s.wasm have no data of their own and export what the pool calls", (variant, size) => {
  const module = new WebAssembly.Module(readFileSync(join(import.meta.dirname, `kernels-${variant}.wasm`)));
  expect(WebAssembly.Module.imports(module)).toEqual([{ module: "env", name: "memory", kind: "memory" }]);
  const exported = WebAssembly.Module.exports(module).map(({ name }) => name);
  expect(exported).toEqual(expect.arrayContaining([...KERNELS, ...SIZES, "__stack_pointer"]));
  const memory = new WebAssembly.Memory(size);
  new WebAssembly.Instance(module, { env: { memory } });
  expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
});
