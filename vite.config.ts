import { commit } from "./tools/commit.mjs";
import { cloudflare } from "@cloudflare/vite-plugin";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { createHash } from "node:crypto";
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build, defineConfig, type Plugin } from "vite";
import { mendWorkerd } from "./tools/workerd.mjs";

mendWorkerd();

/** Cross-origin isolation: without it there is no SharedArrayBuffer and WASM runs on one thread. */
const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

/**
 * tfjs's threaded WASM module is the one that lives in shared memory, where our kernels run on every core. It would start
 * eight workers of its own from a blob, each with all of its text, and is used on one thread: it gets none.
 */
const wasmWithoutPool: Plugin = {
  name: "wasm-without-pool",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("tfjs-backend-wasm-threaded-simd.js")) return null;
    const loadPool = "if(!ENVIRONMENT_IS_PTHREAD){var numWorkersToLoad=PThread.unusedWorkers.length;";
    const changed = code
      .replace("var pthreadPoolSize=8;", "var pthreadPoolSize=0;")
      .replace(loadPool, `${loadPool}if(!numWorkersToLoad)removeRunDependency("wasm-instantiate");`);
    if (changed.length !== code.length + 'if(!numWorkersToLoad)removeRunDependency("wasm-instantiate");'.length)
      this.error("tfjs's threaded WASM module has changed: look how it starts its threads now.");
    return { code: changed, map: null };
  },
};

/** uPlot hands the browser's language to Intl as it is loaded, and ends there where that is no tag: WebKit's is "C" in a bare Linux. */
const chartsInAnyLocale: Plugin = {
  name: "charts-in-any-locale",
  enforce: "pre",
  apply: "build",
  transform(code, id) {
    if (!id.includes("uPlot.esm.js")) return null;
    const changed = code.replace("new Intl.NumberFormat(domEnv ? nav.language : 'en-US')", "new Intl.NumberFormat()");
    if (changed === code) this.error("uPlot has changed: look whether it still asks for the browser's language.");
    return { code: changed, map: null };
  },
};

/** The pages that are loaded when they are asked for: address and file, as src/app/load.ts has them. */
const PAGES = [...readFileSync("src/app/load.ts", "utf8").matchAll(/"(\/\w+)": \(\) => import\("\.+(\/.+)"\)/g)].map(
  ([, address = "", file = ""]) => ({ address, file }),
);

/** What the service worker does not keep at once: letters of other scripts. */
const LATER = /vietnamese|latin-ext/;

/** Files of `public` that the pages need. */
const PUBLIC = [
  "icon.svg",
  "manifest.webmanifest",
  ...readdirSync("public/models/blazeface").map((name) => `models/blazeface/${name}`),
];

const revisionOf = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("hex").slice(0, 16);

/** Builds the service worker after the app, with the list of what has been built. */
const serviceWorker: Plugin = {
  name: "service-worker",
  apply: "build",
  applyToEnvironment: ({ name }) => name === "client",
  async writeBundle({ dir }, bundle) {
    const page = bundle["index.html"];
    if (!dir || page?.type !== "asset") this.error("The service worker has no page to keep.");
    const precache = [
      { url: "/", revision: revisionOf(page.source) },
      ...PUBLIC.map((name) => ({ url: `/${name}`, revision: revisionOf(readFileSync(`public/${name}`)) })),
      ...Object.keys(bundle)
        .filter((name) => name.startsWith("assets/") && !LATER.test(name))
        .map((name) => ({ url: `/${name}`, revision: null })),
    ];
    await build({
      configFile: false,
      publicDir: false,
      logLevel: "warn",
      define: { PRECACHE: JSON.stringify(precache), "process.env.NODE_ENV": JSON.stringify("production") },
      build: {
        outDir: dir,
        emptyOutDir: false,
        lib: { entry: "workers/offline/index.ts", formats: ["iife"], name: "offline", fileName: () => "sw.js" },
      },
    });
  },
};

/**
 * Names in the headers of each page's path the files that only this page needs, so that the browser asks for them together with the
 * app's own instead of when that has started.
 */
const preloads: Plugin = {
  name: "preloads",
  apply: "build",
  applyToEnvironment: ({ name }) => name === "client",
  writeBundle({ dir }, bundle) {
    const chunks = Object.values(bundle).filter((one) => one.type === "chunk");
    const neededBy = (name: string, known = new Set<string>()): Set<string> => {
      const chunk = bundle[name];
      if (known.has(name) || chunk?.type !== "chunk") return known;
      known.add(name);
      for (const style of chunk.viteMetadata?.importedCss ?? []) known.add(style);
      for (const other of chunk.imports) neededBy(other, known);
      return known;
    };
    const first = new Set(chunks.filter(({ isEntry }) => isEntry).flatMap(({ fileName }) => [...neededBy(fileName)]));
    for (const { facadeModuleId, fileName } of chunks) {
      const page = PAGES.find(({ file }) => facadeModuleId?.endsWith(file));
      if (!page) continue;
      const links = [...neededBy(fileName)]
        .filter((name) => !first.has(name))
        .map(
          (name) =>
            `  Link: </${name}>; rel=${name.endsWith(".css") ? "preload; as=style; crossorigin" : "modulepreload"}\n`,
        );
      appendFileSync(join(dir ?? "dist", "_headers"), `${page.address}\n${links.join("")}`);
    }
  },
};

/** What the pages share, in few files: each one more costs a phone far away a part of a round trip. */
const SHARED = [
  {
    name: "start",
    test: /node_modules\/(svelte|i18next)\/|\/src\/(ui\/(i18n\/(language|reason)|names|idle|words|messages\/en|Mask)|app\/offline|play\/(kept-settings|level|settings)|model\/expressions|data\/mask|federation\/tasks|client\/task)/,
  },
  {
    name: "client",
    test: /node_modules\/(valibot|idb|comlink)\/|\/src\/(base|model|data|federation|client|faces|train\/(?!.*svelte$)|ui\/save|play\/(progress|Medal))/,
    minShareCount: 2,
  },
];

export default defineConfig(({ command }) => ({
  // What exported runs of the lab say that they were made with.
  define: { __COMMIT__: JSON.stringify(commit()) },
  plugins: [
    svelte(),
    chartsInAnyLocale,
    preloads,
    serviceWorker,
    cloudflare({
      persistState: { path: ".state" },
      // `npm run dev` passes its token on; a deployment has it as a secret and must not find it in its configuration.
      config: command === "serve" ? { vars: { ADMIN_TOKEN: process.env["ADMIN_TOKEN"] ?? "" } } : {},
    }),
  ],
  worker: {
    format: "es",
    plugins: () => [wasmWithoutPool],
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  build: {
    // The floor of docs/user-guide.md; package.json has it for the linter.
    target: ["chrome119", "firefox128", "safari17.4"],
    assetsInlineLimit: 0,
    // tfjs is most of it, and only the workers load it.
    chunkSizeWarningLimit: 1000,
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  environments: { client: { build: { rolldownOptions: { output: { codeSplitting: { groups: SHARED } } } } } },
  server: { headers: isolation },
}));
