import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { HeadlessClient } from "./headless";

describe("a client without a browser", () => {
  it("takes no checkpoint whose bytes are others than its SHA-256 says", async () => {
    // The SHA-256 of the three bytes "abc": FIPS 180-2, appendix B.1.
    const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let file = "abc";
    const server = createServer((_, response) => response.end(file)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = new HeadlessClient(() => `http://127.0.0.1:${port}`, "expressions", new AbortController().signal);
    try {
      expect(Buffer.from(await client.checkpoint({ sha256 })).toString()).toBe("abc");
      file = "abd";
      await expect(client.checkpoint({ sha256 })).rejects.toThrow("does not match its SHA-256");
    } finally {
      server.close();
    }
  });
});
