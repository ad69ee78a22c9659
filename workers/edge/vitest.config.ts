import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { mendWorkerd } from "../../tools/workerd.mjs";

mendWorkerd();

const root = join(import.meta.dirname, "../..");

/** The edge's tests run inside workerd, against real Durable Objects, R2 and queues. */
export default defineConfig({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: join(root, "wrangler.jsonc") },
      miniflare: {
        // `npm run test:soak` runs the long ones at full length.
        bindings: { ADMIN_TOKEN: "test-token", INITIAL_CHECKPOINTS: {}, SOAK: process.env["SOAK"] ?? "" },
        // Of what is deployed, the part that needs no build.
        assets: { directory: join(root, "public"), binding: "ASSETS" },
        cf: false,
      },
    }),
  ],
  // What lies outside its root, the pool would not find as a compiled module.
  test: {
    root,
    include: ["workers/edge/**/*.test.ts"],
    exclude: ["**/*.node.test.ts"],
    setupFiles: "tools/equal-vectors.ts",
    tags: [
      { name: "slow", description: "Takes more than some seconds: `npm run test:quick` leaves it to `npm test`." },
    ],
    testTimeout: 300_000,
  },
});
