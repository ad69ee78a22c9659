import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { root } from "../tools/setup.mjs";

test("rounds with clients that lie, repeat, leave, stall and come back leave memory, storage and sockets as they were", async () => {
  test.setTimeout(900_000);
  const soak = join(root, "benchmarks/soak.mjs");
  const child = spawn(process.execPath, ["--experimental-websocket", soak, "--minutes", "1"], { stdio: "pipe" });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (said += text.toString()));
  const status = await new Promise((resolve) => child.once("close", resolve));
  expect(status, said.slice(-4000)).toBe(0);
});
