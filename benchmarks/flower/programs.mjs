/** Flower from PyPI, in environments of their own. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fail } from "../../tools/faces.mjs";
import { root } from "../../tools/setup.mjs";

/**
 * Where an environment's programs are; it is made at the first time.
 * @param {string} name its folder's
 * @param {string} program one of them, which tells that it is complete
 * @param {string[]} packages of PyPI
 */
export function programsOf(name, program, packages) {
  const folder = join(root, ".state", name);
  if (!existsSync(join(folder, "bin", program))) {
    console.log(`${packages.join(", ")} are installed from PyPI, once.`);
    const made = spawnSync("python3", ["-m", "venv", folder], { stdio: "inherit" });
    const installed = spawnSync(join(folder, "bin/pip"), ["install", "-q", ...packages], { stdio: "inherit" });
    if (made.status !== 0 || installed.status !== 0) fail("Flower could not be installed: it needs python3 with venv.");
  }
  return join(folder, "bin");
}
