import { cloudflareTest } from "@cloudflare/vitest-pool-workers";
import { defineConfig } from "vitest/config";

/** The edge's tests run inside workerd, against real Durable Objects, R2 and queues. */
export default defineConfig({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "../../wrangler.jsonc" },
      miniflare: { bindings: { ADMIN_TOKEN: "test-token", INITIAL_CHECKPOINTS: {} }, cf: false },
    }),
  ],
  test: { root: import.meta.dirname, include: ["**/*.test.ts"], exclude: ["**/*.node.test.ts"], testTimeout: 120_000 },
});
