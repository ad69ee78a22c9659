/** `npm start`: installs what is missing, builds, and serves app and edge from workerd on one port. */
import { install, root, run } from "./setup.mjs";

install();
if (run(process.execPath, [`${root}node_modules/vite/bin/vite.js`, "build", "--logLevel", "warn"]) !== 0)
  process.exit(1);

const { serve } = await import("./serve.mjs");
const port = Number(process.env.PORT ?? 8787);
const { url, adminToken, stateFolder, stop } = await serve({ port, stateFolder: process.env.STATE });
console.log(`
  Best Actor       ${url}
  Rounds           ${url}/rounds
  Admin token      ${adminToken}
  State            ${stateFolder} (delete it to begin again)

  Ctrl+C stops it; the next start goes on where this one stopped.
`);
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => void stop().then(() => process.exit(0)));
}
