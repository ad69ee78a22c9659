/**
 * npm start -- [--no-build] [--share]
 *
 * Installs what is missing, builds, and serves app and edge from workerd on one port of this machine alone.
 *
 *   --no-build  serve what was built last
 *   --share     also for phones and other machines of the network: HTTPS on every address, with a certificate of this server's own
 *               authority, which a phone is asked to trust once
 *
 * Environment: PORT (8787), SHARE_PORT (8443), STATE (the folder of the state), ADMIN_TOKEN, TRUSTED_PROXIES (the addresses of proxies
 * in front, with commas, whose X-Forwarded-For is believed).
 */
import { install, root, run } from "./setup.mjs";

install();
const { optionsOf } = await import("./options.mjs");
const options = optionsOf(import.meta.url, { "no-build": { type: "boolean" }, share: { type: "boolean" } });
/** A port that the environment names. */
function portOf(name, otherwise) {
  const text = process.env[name] || String(otherwise);
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  console.error(
    `${name} is the number of a port, 0 to 65535, as in ${name}=${otherwise} npm start. It is "${text}" now.`,
  );
  process.exit(1);
}

const port = portOf("PORT", 8787);
const sharePort = portOf("SHARE_PORT", 8443);

const build = [`${root}node_modules/vite/bin/vite.js`, "build", "--logLevel", "warn"];
if (!options["no-build"] && run(process.execPath, build) !== 0) process.exit(1);

const { serve } = await import("./serve.mjs");

/** How often it is seen whether workerd answers, and how long an answer may take while it is at work. */
const LOOK_MS = 2000;
const PATIENCE_MS = 60_000;
/** So many answers in a row that do not come are no work any more, but a standstill. */
const MOST_SILENCES = 3;
/** So many times in a row it is started again: what ends at once every time, needs a person. */
const MOST_STARTS = 5;

/** The front for other machines, where there is one. */
let front;
const shared = () => front?.origins() ?? [];
const start = () => serve({ port, stateFolder: process.env.STATE, ...(options.share && { shared }) });
let edge = await start().catch((error) => {
  if (error.code !== "ERR_ADDRESS_IN_USE") throw error;
  console.error(`\n  Another program has port ${port}. Choose another one: PORT=${port + 1} npm start\n`);
  process.exit(1);
});
console.log(`
  Best Actor       ${edge.url}
  Rounds           ${edge.url}/rounds
  Admin token      ${edge.adminToken}
  State            ${edge.stateFolder} (delete it to begin again)

  Ctrl+C stops it; the next start goes on where this one stopped.
`);
if (options.share) await shareIt();
let isStopping = false;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    isStopping = true;
    void Promise.all([front?.stop(), edge.stop()]).then(() => process.exit(0));
  });
}

/** Opens the front, and says where and how phones find it. */
async function shareIt() {
  const { share, ShareError } = await import("./share/front.mjs");
  const { invitation } = await import("./share/words.mjs");
  const say = () => console.log(invitation(shared(), front.fingerprint));
  try {
    front = await share({ target: () => edge.url, port: sharePort, stateFolder: edge.stateFolder, onChange: say });
  } catch (error) {
    if (!(error instanceof ShareError)) throw error;
    console.error(error.message);
    await edge.stop();
    process.exit(1);
  }
  say();
}

let silences = 0;

/** What is wrong with workerd; undefined of one that answers, and for a while of one that listens and is busy. */
async function whatIsWrong() {
  try {
    await fetch(`${edge.url}/api/problems`, { signal: AbortSignal.timeout(PATIENCE_MS) });
    silences = 0;
  } catch (error) {
    if (error.cause?.code === "ECONNREFUSED") return "has ended by itself";
    if (error.name === "TimeoutError") silences += 1;
  }
  return silences >= MOST_SILENCES ? "answers nothing" : undefined;
}

/** Miniflare does not notice when its workerd ends, as it does when the system runs out of memory: the port would be dead for good. */
for (let starts = 0; !isStopping;) {
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  const wrong = isStopping ? undefined : await whatIsWrong();
  if (wrong === undefined) {
    starts = 0;
    continue;
  }
  starts += 1;
  silences = 0;
  if (starts > MOST_STARTS) {
    console.error(`workerd ${wrong}, ${starts} times in a row. Its last words are above.`);
    process.exit(1);
  }
  console.error(`workerd ${wrong}: starting it again. Rounds go on where they were.`);
  await edge.stop().catch(() => undefined);
  // What fails now is tried again: the port may not be free yet.
  edge = await start().catch((error) => {
    console.error(String(error));
    return edge;
  });
}
