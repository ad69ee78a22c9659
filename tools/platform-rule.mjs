/**
 * A rule for ESLint: what runs in browsers uses nothing that the oldest of them lack, and src/client/support.ts looks for whatever a browser
 * may lack that has all else that it looks for. What is used, TypeScript says; since when there is such a thing, MDN's data.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mdn from "@mdn/browser-compat-data" with { type: "json" };
import ts from "typescript";

const read = (path) => readFileSync(join(import.meta.dirname, "..", path), "utf8");

/** Versions as numbers that can be compared: 17.4 is 17004. */
const numberOf = (version) => {
  const [major, minor = 0] = version.replace("≤", "").split(".").map(Number);
  return major * 1000 + minor;
};

/** The oldest browsers that have to work, by MDN's names. */
const FLOOR = JSON.parse(read("package.json")).browserslist.map((line) => {
  const [name, , version] = line.split(" ");
  return [name.replace("ios_saf", "safari_ios"), numberOf(version)];
});

/** The oldest that have WebAssembly's SIMD, module workers, OffscreenCanvas in 2D and CompressionStream, all of which are looked for. */
const IMPLIED = { chrome: 91_000, firefox: 114_000, safari: 16_004, safari_ios: 16_004 };

const LOOKED_FOR = new Set(
  /const MODERN = \[([^\]]*)\]/.exec(read("src/client/support.ts"))?.[1].match(/[\w.]+(?=")/g),
);

/** Since when a browser has it without flags; Infinity where it has not. */
function since({ support }, browser) {
  const usable = [support[browser] ?? []].flat().filter(({ version_added, flags }) => version_added && !flags);
  return Math.min(Infinity, ...usable.map(({ version_added: version }) => (version === true ? 0 : numberOf(version))));
}

/** TypeScript's names for what several of the platform's share, and one of those. */
const SHARED = [
  [/^Readonly(?=Array|Map|Set)/, ""],
  [/^Body$/, "Response"],
  [/^Canvas(Compositing|Draw|Fill|Filters|Image|Path|Rect|Shadow|State|Text|Transform).*/, "CanvasRenderingContext2D"],
  [/^(ParentNode|ElementCSSInlineStyle|ChildNode)$/, "Element"],
  [/^Navigator\w+/, "Navigator"],
];

/** By which name people know a member that one of TypeScript's libraries declares, and MDN's entry of it, if there is one. */
function entryOf({ name: { text: member = "" } = {}, parent }) {
  const isLiteral = ts.isTypeLiteralNode(parent);
  const owner = (isLiteral ? parent.parent : parent).name?.text ?? "";
  const isStatic = isLiteral || owner.endsWith("Constructor");
  const kind = SHARED.reduce(
    (name, [pattern, better]) => name.replace(pattern, better),
    owner.replace(/Constructor$/, ""),
  );
  const typed = /^((Big)?(Ui|I)nt|Float)\d+(Clamped)?Array$/.test(kind) && mdn.javascript.builtins.TypedArray;
  const key = isStatic && kind in mdn.api ? `${member}_static` : member;
  const found = [mdn.javascript.builtins[kind], typed, mdn.api[kind]].find((place) => place?.[key]);
  return { name: `${kind}.${isStatic ? "" : "prototype."}${member}`, compat: found?.[key].__compat };
}

export const platformRule = {
  meta: {
    type: "problem",
    messages: {
      late: "{{name}} is younger than the oldest browsers in package.json.",
      unsought:
        "{{name}} is not in every browser that has all that src/client/support.ts looks for: name it in MODERN there.",
    },
    // What is looked for where it is used.
    schema: [{ type: "object", properties: { guarded: { type: "array" } } }],
  },
  create(context) {
    const { esTreeNodeToTSNodeMap: nodes, program } = context.sourceCode.parserServices;
    const checker = program.getTypeChecker();
    const guarded = context.options[0].guarded.map((pattern) => new RegExp(`^${pattern}`));
    return {
      "MemberExpression[computed=false] > Identifier.property"(node) {
        const declarations = checker.getSymbolAtLocation(nodes.get(node))?.declarations ?? [];
        const own = declarations.filter((one) => program.isSourceFileDefaultLibrary(one.getSourceFile()));
        // Each of a function's overloads is declared.
        const known = new Map(own.map(entryOf).map(({ name, compat }) => [name, compat]));
        for (const [name, compat] of known) {
          if (!compat || guarded.some((pattern) => pattern.test(name))) continue;
          const isLate = FLOOR.some(([browser, version]) => since(compat, browser) > version);
          const isModern = FLOOR.some(([browser]) => since(compat, browser) > IMPLIED[browser]);
          if (isLate) context.report({ node, messageId: "late", data: { name } });
          else if (isModern && !LOOKED_FOR.has(name)) context.report({ node, messageId: "unsought", data: { name } });
        }
      },
    };
  },
};
