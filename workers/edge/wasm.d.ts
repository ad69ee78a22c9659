/** WebAssembly that workerd has compiled when the Worker starts: it compiles none later. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
