/** Whether WebGPU would run on hardware: a software adapter is correct, but forty times slower than WASM. */
export async function hasRealGpu(): Promise<boolean> {
  if (!("gpu" in navigator)) return false;
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    return adapter !== null && !adapter.info.isFallbackAdapter && adapter.info.architecture !== "swiftshader";
  } catch {
    return false; // A browser that offers no adapter has no GPU for us.
  }
}
