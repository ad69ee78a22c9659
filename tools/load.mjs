/**
 * The project's TypeScript for the commands in Node: what several of them load is bundled once, and anew when something of ours has
 * changed since, so that a command, and each of its threads, starts in less than a second.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./setup.mjs";

const ENTRIES = ["tools/lab/modules.ts", "tools/lab/worker.ts", "tools/headless.ts", "tools/readers.ts"];
const SOURCES = ["src", "workers", "tools"];
const kept = join(root, "node_modules/.cache/best-actor-bundles");

/** What the files are called that a bundle is made of, how long they are and when they were last written. */
function stateOfSources() {
  const hash = createHash("sha256");
  const files = SOURCES.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  );
  const others = ["tools/load.mjs", "package-lock.json"];
  for (const file of [...files.filter((name) => name.endsWith(".ts")).toSorted(), ...others]) {
    const { size, mtimeMs } = statSync(join(root, file));
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  return hash.digest("hex").slice(0, 16);
}

/** A module knows where its source lies, and not where the bundle does. */
const places = {
  name: "places",
  enforce: "pre",
  transform: (code, id) =>
    id.startsWith(root) && !id.includes("node_modules")
      ? code
          .replaceAll("import.meta.dirname", JSON.stringify(dirname(id)))
          .replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href))
      : null,
};

async function bundle() {
  const folder = join(kept, stateOfSources());
  if (existsSync(folder)) return folder;
  const { build } = await import("vite");
  mkdirSync(kept, { recursive: true });
  // Beside where it goes, so that it is there whole or not at all; packages are found from there as from anywhere in the project.
  const outDir = mkdtempSync(`${folder}-`);
  const input = Object.fromEntries(ENTRIES.map((entry) => [entry.replace(/\.ts$/, ""), join(root, entry)]));
  const how = { ssr: true, outDir, emptyOutDir: true, target: "node20", rollupOptions: { input } };
  try {
    await build({ configFile: false, root, publicDir: false, logLevel: "error", plugins: [places], build: how });
    renameSync(outDir, folder);
  } catch (error) {
    rmSync(outDir, { recursive: true, force: true });
    // Another command may have made it meanwhile.
    if (!existsSync(folder)) throw error;
  }
  // What was made of files as they are no longer, but not what others may be about to load; they clear up, too.
  const old = (name) => {
    const state = statSync(join(kept, name), { throwIfNoEntry: false });
    return state !== undefined && Date.now() - state.mtimeMs > 24 * 3600_000;
  };
  for (const name of readdirSync(kept).filter(old)) rmSync(join(kept, name), { recursive: true, force: true });
  return folder;
}

/** @param {string} file one of {@link ENTRIES}, from the project's folder */
export async function load(file) {
  try {
    return await import(pathToFileURL(join(await bundle(), file.replace(/\.ts$/, ".js"))).href);
  } catch (error) {
    if (!["EACCES", "EROFS"].includes(error.code)) throw error;
    // Where nothing may be kept it takes a little longer.
    const { runnerImport } = await import("vite");
    return (await runnerImport(join(root, file))).module;
  }
}
