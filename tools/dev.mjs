/** `npm run dev`: app and edge together with hot reload, from Vite's development server. */
import { install, root, run } from "./setup.mjs";

install();

const { adminTokenOf } = await import("./serve.mjs");
const token = adminTokenOf(`${root}.state`);
console.log(`\n  Admin token      ${token}\n`);
const vite = [`${root}node_modules/vite/bin/vite.js`, "--port", process.env.PORT ?? "5173", "--strictPort"];
process.exit(run(process.execPath, vite, { env: { ...process.env, ADMIN_TOKEN: token } }));
