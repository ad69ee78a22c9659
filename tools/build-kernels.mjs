/**
 * Builds workers/tf/kernels/*.wasm from their sources in C with clang 16 and lld 16 (Debian: clang-16, lld-16). The built files are
 * checked in; each carries the SHA-256 of its sources and of this script in a custom section, which a test compares.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, run } from "./setup.mjs";

const folder = join(root, "workers/tf/kernels");
const SOURCES = ["kernels.c", "winograd.c"];
const RELAXED = ["-mrelaxed-simd", "-DRELAXED"];
// They live in tfjs's memory, whose size tfjs decides: one that threads share, or its own.
const SHARED = ["-matomics", "-mbulk-memory", "-Wl,--shared-memory", "-Wl,--max-memory=4294967296"];
export const VARIANTS = {
  relaxed: [...RELAXED, ...SHARED],
  simd: SHARED,
  "relaxed-single": RELAXED,
  "simd-single": [],
};
export const SECTION = "source.sha256";

/** SHA-256 in hex of what the kernels are built from. */
export function sourceDigest() {
  const hash = createHash("sha256");
  for (const file of ["kernels.h", ...SOURCES]) hash.update(readFileSync(join(folder, file)));
  hash.update(readFileSync(fileURLToPath(import.meta.url)));
  return hash.digest("hex");
}

const FLAGS = [
  "--target=wasm32",
  ...["-O3", "-nostdlib", "-ffreestanding", "-fno-builtin", "-Wall", "-Wextra", "-Werror"],
  ...["-msimd128", "-Wl,--import-memory"],
  ...["--no-entry", "--export=__stack_pointer", "--strip-all"].map((flag) => `-Wl,${flag}`),
];

function build() {
  for (const [variant, flags] of Object.entries(VARIANTS)) {
    const file = join(folder, `kernels-${variant}.wasm`);
    const sources = SOURCES.map((source) => join(folder, source));
    if (run("clang-16", [...FLAGS, ...flags, "-o", file, ...sources]) !== 0) process.exit(1);
    const name = Buffer.from(SECTION);
    const content = Buffer.concat([Buffer.from([name.length]), name, Buffer.from(sourceDigest())]);
    // A custom section: id 0, its size (under 128, so one byte), then name and content.
    writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from([0, content.length]), content]));
    console.log(`${file}: ${readFileSync(file).length} bytes`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
