import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileFrom, download } from "./download";

/** The smallest module: its magic number and version. */
const EMPTY = Buffer.from([0, 97, 115, 109, 1, 0, 0, 0]);
const SHORT_MS = 100;

let server: Server;
let origin: string;

/** A server that stalls where the path says so: before it answers, or in the middle of the file. */
beforeAll(async () => {
  server = createServer(({ url }, response) => {
    if (url === "/silent.wasm") return;
    const isThere = url !== "/gone.wasm";
    const body = url === "/unknown.wasm" ? Buffer.from([...EMPTY, 99, 1, 0]) : EMPTY;
    response.writeHead(isThere ? 200 : 404, { "content-type": "application/wasm" });
    if (url === "/stalled.wasm") response.write(body.subarray(0, 4));
    else response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  server.closeAllConnections();
});

test.each(["/silent.wasm", "/stalled.wasm", "/gone.wasm"])("%s is the network's fault, by name", async (path) => {
  for (const get of [download, compileFrom])
    await expect(get(origin + path, SHORT_MS)).rejects.toMatchObject({ name: "EdgeAwayError" });
});

test("what comes is there, and what this engine cannot compile is the engine's fault", async () => {
  expect((await download(`${origin}/there.wasm`)).size).toBe(EMPTY.length);
  expect(WebAssembly.Module.exports(await compileFrom(`${origin}/there.wasm`))).toEqual([]);
  await expect(compileFrom(`${origin}/unknown.wasm`)).rejects.toMatchObject({ name: "CompileError" });
});
