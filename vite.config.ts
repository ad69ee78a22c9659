import { cloudflare } from "@cloudflare/vite-plugin";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Cross-origin isolation: without it there is no SharedArrayBuffer and WASM runs on one thread. */
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

/**
 * tfjs hands the text of its threaded WASM module's factory to its threads. The factory names one variable outside itself,
 * behind a `typeof` that a minifier removes: without that variable the text stands alone.
 */
const standaloneWasmFactory: Plugin = {
  name: "standalone-wasm-factory",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("tfjs-backend-wasm-threaded-simd.js")) return null;
    const standalone = code
      .replace(/var _scriptDir = .*;/, "")
      .replace(/if \(typeof __filename .*;/, "")
      .replaceAll("_scriptDir", "undefined");
    if (standalone === code) this.error("tfjs's threaded WASM module has changed: look whether this is still needed.");
    return { code: standalone, map: null };
  },
};

export default defineConfig(({ command }) => ({
  plugins: [
    svelte(),
    cloudflare({
      persistState: { path: ".state" },
      // `npm run dev` passes its token on; a deployment has it as a secret and must not find it in its configuration.
      config: command === "serve" ? { vars: { ADMIN_TOKEN: process.env["ADMIN_TOKEN"] ?? "" } } : {},
    }),
  ],
  worker: {
    format: "es",
    plugins: () => [standaloneWasmFactory],
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    // tfjs is 2.5 MB by itself, and only the workers load it.
    chunkSizeWarningLimit: 3000,
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  server: { headers: isolation },
}));
