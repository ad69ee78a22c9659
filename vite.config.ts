import { cloudflare } from "@cloudflare/vite-plugin";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** Cross-origin isolation: without it there is no SharedArrayBuffer and WASM runs on one thread. */
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
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
  worker: { format: "es" },
  build: { target: "es2022", assetsInlineLimit: 0 },
  server: { headers: isolation },
}));
