/** The hardware that WebGPU would run on; null where there is none: a software adapter is correct, but forty times slower than WASM. */
export async function realGpu(): Promise<GPUAdapterInfo | null> {
  if (!("gpu" in navigator)) return null;
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) return null;
    const isProgram = adapter.info.isFallbackAdapter || adapter.info.architecture === "swiftshader";
    return isProgram ? null : adapter.info;
  } catch {
    return null; // A browser that offers no adapter has no GPU for us.
  }
}

/** Whether WebGPU would run on hardware. */
export const hasRealGpu = async (): Promise<boolean> => (await realGpu()) !== null;
