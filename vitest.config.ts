import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

/** Unit tests: pure logic, beside the code. The edge's tests run in workerd, with workers/edge/vitest.config.ts. */
export default defineConfig({
  // For the runes of *.svelte.ts.
  plugins: [svelte()],
  test: {
    include: [
      "src/**/*.test.ts",
      "workers/{tf,trainer,lab,import,replay}/**/*.test.ts",
      "workers/vision/**/*.test.ts",
      "workers/edge/**/*.node.test.ts",
      "tools/**/*.test.ts",
      "benchmarks/**/*.test.ts",
    ],
    tags: [
      { name: "slow", description: "Takes more than some seconds: `npm run test:quick` leaves it to `npm test`." },
    ],
    setupFiles: "tools/equal-vectors.ts",
    // They run beside the edge's tests, on what those leave of the processor.
    testTimeout: 600_000,
  },
});
