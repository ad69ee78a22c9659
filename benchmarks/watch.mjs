/** Started by bench:load: opens WebSockets that watch a task's rounds and say that they read, as the dashboard does. */
import { runnerImport } from "vite";
import { join } from "node:path";
import { root } from "../tools/setup.mjs";

const [url, count] = process.argv.slice(2);
const { READING, READING_EVERY } = (await runnerImport(join(root, "src/federation/protocol.ts"))).module;
const counts = { open: 0, messages: 0, bytes: 0, closed: 0 };
const sockets = [];
for (let i = 0; i < Number(count); i++) {
  const socket = new WebSocket(url);
  sockets.push(socket);
  let read = 0;
  socket.onmessage = ({ data }) => {
    counts.messages += 1;
    counts.bytes += data.length;
    read += 1;
    if (read % READING_EVERY === 0) socket.send(READING);
  };
  socket.onclose = () => (counts.closed += 1);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`Watcher ${i} was not let in.`));
  });
  counts.open += 1;
}
process.send(counts);
process.on("message", () => process.send(counts));
