import { spawnSync } from "node:child_process";
import { root } from "./setup.mjs";

/** The git commit of this checkout, with `+` behind it where tracked files were changed; null where there is none. */
export function commit() {
  const git = (...args) => spawnSync("git", ["-C", root, ...args], { encoding: "utf8" });
  const head = git("rev-parse", "HEAD");
  if (head.status !== 0) return null;
  return `${head.stdout.trim()}${git("diff", "--quiet", "HEAD").status === 0 ? "" : "+"}`;
}
