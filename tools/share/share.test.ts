import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { request } from "node:https";
import { connect as connectPlain, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer as createTlsServer, TLSSocket } from "node:tls";
import { webcrypto, X509Certificate } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import decodeQr from "qr/decode.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NOT_PAGES } from "../../workers/offline/not-pages";
import { addressesOf } from "./addresses.mjs";
import { openAuthority } from "./authority.mjs";
import { CERTIFICATE_PATH, share, ShareError } from "./front.mjs";
import { FRONT } from "./trust.mjs";
import { invitation } from "./words.mjs";

let folder: string;
const closers: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "best-actor-share-"));
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const pemOf = (der: Uint8Array): string => new X509Certificate(der).toString();

/** What OpenSSL, through Node, says of a certificate for a name, with one trusted authority: nothing, or why it is refused. */
async function verdict(served: { key: string; cert: string }, ca: string, name: string): Promise<string | undefined> {
  const server = createTlsServer(served, (socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise((resolve) => {
      const isName = !/^[\d.]+$|:/.test(name);
      const socket = connect({ port, host: "127.0.0.1", ca, ...(isName && { servername: name }) });
      // Held against the name that was asked for, as a browser does.
      socket.once("secureConnect", () => {
        const peer = new X509Certificate(socket.getPeerCertificate().raw);
        resolve((isName ? peer.checkHost(name) : peer.checkIP(name)) === undefined ? "other-name" : undefined);
        socket.destroy();
      });
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(`${error.code}: ${error.message}`));
    });
  } finally {
    server.close();
  }
}

test("the authority is made once, its key is its owner's alone, and OpenSSL takes its certificates for what they name", async () => {
  const first = await openAuthority(folder);
  const again = await openAuthority(folder);
  expect(again.fingerprint).toBe(first.fingerprint);
  expect(statSync(join(folder, "authority.pem")).mode & 0o777).toBe(0o600);
  expect(Buffer.from(first.certificate).toString("latin1")).not.toContain("PRIVATE");
  const ca = pemOf(first.certificate);
  const served = await again.issue(["192.168.7.5", "fd00::7"]);
  for (const name of ["127.0.0.1", "192.168.7.5", "fd00::7", "localhost"]) {
    expect(await verdict(served, ca, name), name).toBeUndefined();
  }
  for (const name of ["192.168.7.6", "bank.example"]) {
    expect(await verdict(served, ca, name), name).toMatch(/other-name|ERR_TLS_CERT_ALTNAME_INVALID/);
  }
  const stranger = await openAuthority(mkdtempSync(join(folder, "other-")));
  expect(await verdict(served, pemOf(stranger.certificate), "127.0.0.1")).toMatch(/SELF_SIGNED|UNABLE_TO/);
  const leaf = new X509Certificate(served.cert);
  const days = (Date.parse(leaf.validTo) - Date.parse(leaf.validFrom)) / 86_400_000;
  // Apple's bound for certificates of authorities that a person has added.
  expect(days).toBeLessThanOrEqual(825);
});

test("with its key stolen it still vouches for no public name", async () => {
  await openAuthority(folder);
  const kept = readFileSync(join(folder, "authority.pem"), "utf8");
  const [keyText = ""] = /-----BEGIN PRIVATE KEY[^]*END PRIVATE KEY-----/.exec(kept) ?? [];
  const [text = ""] = /-----BEGIN CERTIFICATE[^]*END CERTIFICATE-----/.exec(kept) ?? [];
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const stolen = await webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(keyText), algorithm, false, [
    "sign",
  ]);
  const forge = async (name: string) => {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: "05",
      subject: "CN=x",
      issuer: new x509.X509Certificate(text).subject,
      publicKey: keys.publicKey,
      signingKey: stolen,
      signingAlgorithm: algorithm,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
    });
    const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
    return { key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"), cert: leaf.toString("pem") };
  };
  expect(await verdict(await forge("stage.local"), text, "stage.local")).toBeUndefined();
  expect(await verdict(await forge("bank.example"), text, "bank.example")).toContain("permitted subtree violation");
});

interface Asked {
  url: string | undefined;
  headers: IncomingMessage["headers"];
}

/** A server in the edge's place that remembers what it is asked. */
async function target(): Promise<{ url: string; asked: Asked[]; server: Server }> {
  const asked: Asked[] = [];
  const server = createServer((incoming, outgoing) => {
    asked.push({ url: incoming.url, headers: incoming.headers });
    incoming.pipe(outgoing);
  });
  server.on("upgrade", (incoming, socket) => {
    asked.push({ url: incoming.url, headers: incoming.headers });
    socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n");
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, server };
}

const HERE = [{ address: "127.0.0.1", isInside: false }];

async function open(url: string, more: Partial<Parameters<typeof share>[0]> = {}) {
  const front = await share({
    target: () => url,
    port: 0,
    stateFolder: folder,
    addresses: () => Promise.resolve(HERE),
    ...more,
  });
  closers.push(() => front.stop());
  return front;
}

/** Asks the front, whose authority is trusted: status, headers, body, and the certificate's serial number. */
async function ask(origin: string, path: string, init: { body?: string; headers?: Record<string, string> } = {}) {
  const { certificate } = await openAuthority(folder);
  return new Promise<{ status: number; headers: IncomingMessage["headers"]; body: string; serial: string }>(
    (resolve, reject) => {
      const options = {
        ca: pemOf(certificate),
        agent: false,
        headers: init.headers,
        method: init.body ? "POST" : "GET",
      };
      const asking = request(origin + path, options, (answer) => {
        if (!(answer.socket instanceof TLSSocket)) throw new Error("not over TLS");
        const { serialNumber } = answer.socket.getPeerCertificate();
        let body = "";
        answer.on("data", (chunk: Buffer) => (body += chunk.toString()));
        answer.on("end", () => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body, serial: serialNumber });
        });
      });
      asking.on("error", reject);
      asking.end(init.body);
    },
  );
}

test("the front hands every request on and says itself where it came from; the private key is nowhere in it", async () => {
  const { url, asked } = await target();
  const [origin = ""] = (await open(url)).origins();
  const answer = await ask(origin, "/api/x?y=1", {
    body: "an update",
    headers: {
      [FRONT.header]: "a guess",
      "x-forwarded-for": "203.0.113.5",
      "x-forwarded-host": "elsewhere",
      forwarded: "for=203.0.113.5",
      // What Miniflare would believe.
      "MF-CF-Blob": "{}",
      "MF-Original-URL": "https://elsewhere/",
      "CF-Connecting-IP": "203.0.113.5",
    },
  });
  expect(answer).toMatchObject({ status: 200, body: "an update" });
  expect(asked[0]).toMatchObject({ url: "/api/x?y=1", headers: { "cf-connecting-ip": "127.0.0.1" } });
  expect(asked[0]?.headers).toMatchObject({ host: new URL(origin).host, "x-forwarded-proto": "https" });
  expect(asked[0]?.headers[FRONT.header]).toBe(FRONT.value);
  const names = Object.keys(asked[0]?.headers ?? {});
  expect(names.filter((name) => /^(mf-|forwarded|x-forwarded-(for|host))/.test(name))).toEqual([]);

  const { certificate } = await openAuthority(folder);
  const file = await ask(origin, "/authority.crt");
  expect(file.headers["content-type"]).toBe("application/x-x509-ca-cert");
  expect(file.headers["content-length"]).toBe(String(certificate.length));
  expect(file.headers["strict-transport-security"]).toBeUndefined();
  // Whatever else is asked for is the edge's to answer, which has no file of the state.
  for (const path of ["/authority.pem", "/../authority.pem", "/admin-token"]) await ask(origin, path);
  expect(asked.slice(1).map(({ url }) => url)).toEqual(["/authority.pem", "/authority.pem", "/admin-token"]);
});

test("a WebSocket goes through the front, and an edge that is away is an answer", async () => {
  const { url, asked, server } = await target();
  const [origin = ""] = (await open(url)).origins();
  const { certificate } = await openAuthority(folder);
  const echoed = await new Promise<string>((resolve, reject) => {
    const asking = request(`${origin}/api/tasks/expressions/live`, {
      ca: pemOf(certificate),
      headers: { connection: "Upgrade", upgrade: "websocket", "x-forwarded-for": "203.0.113.5" },
    });
    asking.on("upgrade", (_, socket) => {
      socket.on("data", (data: Buffer) => (resolve(data.toString()), socket.destroy()));
      socket.write("hello");
    });
    asking.on("error", reject);
    asking.end();
  });
  expect(echoed).toBe("hello");
  expect(asked[0]?.headers["cf-connecting-ip"]).toBe("127.0.0.1");
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect((await ask(origin, "/api/health")).status).toBe(502);
});

test("when the addresses change there is another certificate, by the same authority, and the terminal says so", async () => {
  const { url } = await target();
  let addresses = HERE;
  const told: string[][] = [];
  const front = await open(url, {
    addresses: () => Promise.resolve(addresses),
    lookMs: 20,
    onChange: (origins) => told.push(origins),
  });
  const [origin = ""] = front.origins();
  const before = await ask(origin, "/");
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect((await ask(origin, "/")).serial, "nothing has changed").toBe(before.serial);
  addresses = [{ address: "192.168.7.5", isInside: false }, ...HERE];
  await expect.poll(async () => (await ask(origin, "/")).serial).not.toBe(before.serial);
  expect(told.at(-1)?.[0]).toMatch(/^https:\/\/192\.168\.7\.5:\d+$/);
  // A machine that has lost its network has none, and goes on looking.
  addresses = [];
  await expect.poll(() => told.at(-1)).toEqual([]);
  expect(front.origins()).toEqual([]);
});

/** What a plain HTTP request to the front's port is answered with. */
async function askPlainly(origin: string, head: string): Promise<string> {
  const socket = connectPlain(Number(new URL(origin).port), "127.0.0.1");
  closers.push(() => socket.destroy());
  socket.write(head.replaceAll("\n", "\r\n"));
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

test("who comes without TLS is sent to where it is, and nothing of theirs comes to the edge", async () => {
  const { url, asked } = await target();
  const [origin = ""] = (await open(url)).origins();
  const { host } = new URL(origin);
  const sent = await askPlainly(origin, `GET /play?task=x HTTP/1.1\nHost: ${host}\n\n`);
  expect(sent).toMatch(/^HTTP\/1\.1 307 /);
  expect(sent).toContain(`location: https://${host}/play?task=x\r\n`);
  // Where no address can be made of what they say, they are told in words.
  for (const wrong of ["elsewhere.example/x", "a@b.example"])
    expect(await askPlainly(origin, `GET / HTTP/1.1\nHost: ${wrong}\n\n`)).toMatch(
      / 400 [^]*begin the address with https:/,
    );
  const other = await askPlainly(origin, `GET https://elsewhere.example/x HTTP/1.1\nHost: ${host}\n\n`);
  expect(other).toContain(`location: https://${host}/\r\n`);
  expect(asked).toEqual([]);
  expect((await ask(origin, "/")).status).toBe(200);
});

test("a port that is no number is named in words, before anything is built", () => {
  const start = join(import.meta.dirname, "../start.mjs");
  for (const [name, value] of Object.entries({ PORT: "70000", SHARE_PORT: "abc" })) {
    const env = { ...process.env, [name]: value };
    const { status, stderr } = spawnSync(process.execPath, [start, "--share"], { env, encoding: "utf8" });
    expect([status, stderr]).toEqual([1, expect.stringContaining(`${name} is the number of a port, 0 to 65535`)]);
    expect(stderr).not.toContain("    at ");
  }
});

test("a phone that has the app's service worker gets the certificate and the interface from the server, and pages from the app", () => {
  const isPage = (path: string): boolean => !NOT_PAGES.some((pattern) => pattern.test(path));
  for (const path of [CERTIFICATE_PATH, "/api/openapi.json"]) expect(isPage(path), path).toBe(false);
  for (const path of ["/", "/play?task=expressions", "/rounds", "/apish"]) expect(isPage(path), path).toBe(true);
});

test("a port that is taken is named in words, with what to do", async () => {
  const { url } = await target();
  const [origin = ""] = (await open(url)).origins();
  const port = Number(new URL(origin).port);
  const second = share({ target: () => url, port, stateFolder: folder });
  await expect(second).rejects.toThrow(ShareError);
  await expect(second).rejects.toThrow(
    `Port ${port} is taken by another program: choose another one, as in SHARE_PORT=`,
  );
});

test("one address that opens connections without end leaves the others theirs", async () => {
  const { url } = await target();
  const [origin = ""] = (await open(url)).origins();
  const port = Number(new URL(origin).port);
  const sockets = Array.from({ length: 700 }, () => connectPlain(port, "127.0.0.1"));
  closers.push(() => sockets.forEach((socket) => socket.destroy()));
  for (const socket of sockets) socket.on("error", () => undefined);
  await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length, { timeout: 30_000 }).toBe(100);
  const { certificate } = await openAuthority(folder);
  const status = await new Promise((resolve, reject) => {
    const options = { ca: pemOf(certificate), agent: false as const, localAddress: "127.0.0.2" };
    request(`${origin}/`, options, ({ statusCode }) => resolve(statusCode))
      .on("error", reject)
      .end();
  });
  expect(status).toBe(200);
});

const of = (address: string, more = {}) => ({
  address,
  netmask: "",
  mac: "",
  cidr: null,
  internal: false,
  ...(address.includes(":") ? { family: "IPv6" as const, scopeid: 0 } : { family: "IPv4" as const }),
  ...more,
});

test("of the addresses come first those that a phone may reach, and those of containers never while there are others", () => {
  const found = addressesOf(
    {
      lo: [of("127.0.0.1", { internal: true }), of("::1", { internal: true })],
      docker0: [of("172.17.0.1"), of("fe80::42")],
      "br-1a2b3c": [of("172.18.0.1")],
      eth0: [of("2001:db8::5"), of("fe80::1"), of("192.168.1.20")],
      wlan0: [of("169.254.9.9"), of("10.0.0.4")],
      tun0: undefined,
    },
    "10.0.0.4",
  );
  expect(found).toEqual([
    { address: "10.0.0.4", isInside: false },
    { address: "172.17.0.1", isInside: true },
    { address: "172.18.0.1", isInside: true },
    { address: "192.168.1.20", isInside: false },
    { address: "2001:db8::5", isInside: false },
  ]);
  expect(addressesOf({ lo: [of("127.0.0.1", { internal: true })] })).toEqual([]);
});

test("the terminal's QR code is read by another library as the first address", () => {
  const origin = "https://192.168.1.20:8443";
  const text = invitation([origin, "https://[2001:db8::5]:8443"], "AB:CD");
  const lines = text.split("\n").flatMap((line) => /97;40m(.*?).\[0m$/.exec(line)?.[1] ?? []);
  // A character stands for two modules, one above the other, whose light ones are drawn.
  const rows = lines.flatMap((line) => [
    Array.from(line, (mark) => mark === "█" || mark === "▀"),
    Array.from(line, (mark) => mark === "█" || mark === "▄"),
  ]);
  expect(read(rows)).toBe(origin);
  expect(text).toContain("https://[2001:db8::5]:8443");
  expect(text).toContain("AB CD");
  expect(invitation([], "AB:CD")).toContain("no address");
});

/** Reads a QR code of light and dark modules as a picture, as a phone does. */
function read(rows: boolean[][]): string {
  const scale = 8;
  const size = (rows[0]?.length ?? 0) * scale;
  const height = rows.length * scale;
  const data = new Uint8Array(size * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const light = rows[Math.floor(y / scale)]?.[Math.floor(x / scale)] ?? true;
      data.fill(light ? 255 : 0, (y * size + x) * 4, (y * size + x) * 4 + 3);
      data[(y * size + x) * 4 + 3] = 255;
    }
  }
  return decodeQr({ width: size, height, data });
}
