/** The kernels of kernels.c and winograd.c, in the order of their numbers in a job. Their arguments are pointers and integers. */
export const KERNELS = [
  "pack",
  "packTurned",
  "neighbours",
  "conv",
  "filterGradient",
  "moments",
  "affine",
  "normGradient",
  "reluGradient",
  "maxPool",
  "maxPoolGradient",
  "dropout",
  "winogradFilter",
  "winogradConv",
  "winogradInput",
  "winogradPanels",
  "winogradOutputGradient",
  "winogradProducts",
  "winogradFilterGradient",
  "denseForward",
  "denseBackward",
  "denseDescend",
  "denseProduct",
  "descend",
  "squares",
] as const;
export type Kernel = (typeof KERNELS)[number];

/** What says how many float32 a kernel's buffer takes. */
export const SIZES = [
  "filterGradientScratch",
  "winogradFilterSize",
  "winogradConvScratch",
  "winogradPanelsScratch",
  "winogradSize",
  "denseProductScratch",
  "squaresSize",
] as const;
export type Size = (typeof SIZES)[number];

export type Exports = Record<Kernel, (...values: number[]) => void> &
  Record<Size, (...values: number[]) => number> & { __stack_pointer: WebAssembly.Global };

/** Puts the kernels into `memory`, with the top of their stack at `stack`. They have no data of their own. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, stack: number): Exports {
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
  exports.__stack_pointer.value = stack;
  return exports;
}
