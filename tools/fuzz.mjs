/**
 * `npm run test:fuzz [-- --minutes 10] [--python PATH] [--if-at-hand]`: Schemathesis (PyPI) calls the edge by the edge's own description of
 * its interface, as it allows and as it does not, with all of its checks: first signed as a client and with the administrator's token,
 * then, for a fifth of the time, without either. Fails at a 500, an answer that is not in the description, and one that takes a minute.
 *
 * Python is the one of --python, of PYTHON, or python3; it needs schemathesis and cryptography:
 * python3 -m venv FOLDER && FOLDER/bin/pip install schemathesis cryptography. Without them --if-at-hand says so and is content.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail } from "./faces.mjs";
import { optionsOf } from "./options.mjs";
import { serve } from "./serve.mjs";
import { root } from "./setup.mjs";

const NO_LIMIT = { simple: { limit: 1e9, period: 60 } };
/** Seconds that any answer may take: an update that stalls has half of it. */
const PATIENCE = 60;
/** Of the time, what goes to calls without a right. */
const UNSIGNED = 0.2;

const values = optionsOf(import.meta.url, {
  minutes: { type: "count", default: "10" },
  python: { type: "string", default: process.env.PYTHON ?? "python3" },
  "if-at-hand": { type: "boolean" },
});
const { python, minutes } = values;
if (spawnSync(python, ["-c", "import schemathesis, cryptography"]).status !== 0) {
  const missing = `${python} has no schemathesis and cryptography: the interface is not fuzzed.`;
  if (!values["if-at-hand"]) fail(missing);
  console.log(missing);
  process.exit(0);
}
if (!existsSync(join(root, "dist/best_actor/index.js"))) fail("There is no build yet: run npm run build first.");

const folder = mkdtempSync(join(tmpdir(), "best-actor-fuzz-"));
const edge = await serve({
  port: 0,
  stateFolder: join(folder, "state"),
  ratelimits: { CLIENT_LIMIT: NO_LIMIT, ADDRESS_LIMIT: NO_LIMIT, ADMIN_LIMIT: NO_LIMIT, KEY_LIMIT: NO_LIMIT },
});

/** @returns the exit status */
function fuzz(seconds, isSigned) {
  const options = ["--max-time", seconds, "--request-timeout", PATIENCE, "--checks", "all", "--continue-on-failure"];
  const { ADMIN_TOKEN: _, ...environment } = process.env;
  const child = spawn(
    python,
    [
      ...["-m", "schemathesis.cli", "--config-file", join(root, "tools/fuzz/schemathesis.toml")],
      ...["run", `${edge.url}/api/openapi.json`, ...options.map(String)],
    ],
    {
      // It keeps the examples that it has found in the folder it runs in.
      cwd: folder,
      stdio: "inherit",
      env: {
        ...environment,
        ...(isSigned && { ADMIN_TOKEN: edge.adminToken }),
        PYTHONPATH: join(root, "tools/fuzz"),
        PYTHONDONTWRITEBYTECODE: "1",
        SCHEMATHESIS_HOOKS: "hooks",
      },
    },
  );
  return new Promise((resolve) => child.once("exit", (status) => resolve(status ?? 1)));
}

const seconds = minutes * 60;
const statuses = [
  await fuzz(Math.round(seconds * (1 - UNSIGNED)), true),
  await fuzz(Math.round(seconds * UNSIGNED), false),
];
await edge.stop();
rmSync(folder, { recursive: true, force: true });
process.exit(statuses.some((status) => status !== 0) ? 1 : 0);
