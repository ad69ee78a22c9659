import js from "@eslint/js";
import compat from "eslint-plugin-compat";
import prettier from "eslint-config-prettier";
import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";
import svelteConfig from "./svelte.config.js";
import { isOnce, programOf } from "./tools/lint-programs.mjs";
import { platformRule } from "./tools/platform-rule.mjs";

/**
 * The rooms of `src`, each with those that it may look into: imports go one way. `tools/`, `benchmarks/` and `playwright/` may look
 * anywhere.
 */
const SHARED = ["base", "model", "data", "federation"];
const BROWSER = [...SHARED, "simulation", "ui", "faces", "client"];
const ROOMS = {
  base: [],
  model: ["base"],
  data: ["base", "model"],
  federation: ["base", "model", "data"],
  simulation: SHARED,
  ui: [...SHARED, "simulation"],
  faces: [...SHARED, "ui"],
  client: [...SHARED, "ui", "faces"],
  lab: BROWSER,
  rounds: BROWSER,
  play: BROWSER,
  draw: [...BROWSER, "play", "train"],
  // Who takes consent back has the lab's pictures deleted too; the gallery asks for that, and shows what it keeps of other games' faces.
  train: [...BROWSER, "lab"],
  gallery: [...BROWSER, "train", "draw"],
};
/** What runs outside the page knows none of it: no component, no page. Whoever loads the lab's data keeps them where the page looks. */
const WORKERS = [...SHARED, "simulation", "client", "lab"];

const onlyInto = (rooms) => [
  "error",
  {
    patterns: [
      {
        regex: `^(\\.\\./)+(src/)?(${Object.keys(ROOMS)
          .concat("app")
          .filter((room) => !rooms.includes(room))
          .join("|")})/`,
        message: "That room is further up, or beside: see ROOMS in eslint.config.js.",
      },
    ],
  },
];

export default ts.config(
  { ignores: ["dist", ".state", ".wrangler", "test-results", "playwright-report"] },
  js.configs.recommended,
  ...ts.configs.strictTypeChecked,
  ...svelte.configs.recommended,
  prettier,
  ...svelte.configs.prettier,
  {
    languageOptions: {
      globals: { ...globals.browser, __COMMIT__: "readonly" },
      parserOptions: {
        ...(isOnce
          ? { programs: [programOf(import.meta.dirname), programOf(`${import.meta.dirname}/workers/edge`)] }
          : { projectService: true }),
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: [".svelte"],
      },
    },
    rules: {
      // Numbers read well in a template; everything else must say how it becomes text.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowNever: true }],
      "@typescript-eslint/no-unused-vars": [
        "error",
        { ignoreRestSiblings: true, argsIgnorePattern: "^_", varsIgnorePattern: "^_" },
      ],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-empty-object-type": ["error", { allowInterfaces: "with-single-extends" }],
    },
  },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
  },
  // What runs in browsers uses nothing that the floor in package.json lacks; what is looked for first is named here.
  {
    files: ["src/**", "workers/**"],
    ignores: ["**/*.test.ts", "workers/edge/**"],
    ...compat.configs["flat/recommended"],
    settings: { polyfills: ["WebGPU", "navigator.gpu", "WakeLock", "navigator.wakeLock"] },
  },
  {
    files: ["src/**", "workers/**"],
    ignores: ["**/*.test.ts", "workers/edge/**"],
    plugins: { own: { rules: { platform: platformRule } } },
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "AwaitExpression:not(:function *)",
          message: "WebKit runs what imports a module with a top-level await before that is done (bug 242740).",
        },
      ],
      "own/platform": [
        "error",
        {
          guarded: [
            ...["GPU", "WakeLock", "Navigator.prototype.(share|canShare|vibrate|wakeLock|gpu)$"],
            ...["PointerEvent.prototype.getCoalescedEvents$", "HTMLVideoElement.prototype.requestVideoFrameCallback$"],
            // Set and never read: a browser that does not know it draws as it always does.
            "CanvasRenderingContext2D.prototype.imageSmoothingQuality$",
            // With a secure context, which is looked for.
            ...["Crypto.prototype.randomUUID$", "StorageManager.prototype.estimate$"],
          ],
        },
      ],
    },
  },
  ...Object.entries(ROOMS).map(([room, others]) => ({
    files: [`src/${room}/**`],
    rules: { "no-restricted-imports": onlyInto([room, ...others]) },
  })),
  { files: ["workers/**"], rules: { "no-restricted-imports": onlyInto(WORKERS) } },
  // Plain scripts that run before anything is installed: Node's globals, and no types to check.
  {
    files: ["**/*.mjs", "*.js"],
    ...ts.configs.disableTypeChecked,
    languageOptions: { globals: globals.node, parserOptions: { projectService: false, programs: null } },
  },
);
