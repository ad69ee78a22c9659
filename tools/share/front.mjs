/**
 * HTTPS on every address of the machine, before an edge that listens on loopback: `npm start -- --share`. Phones have a camera, a service
 * worker and shared memory for pages that came over HTTPS only.
 */
import { Agent, createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import { createProxyServer } from "httpxy";
import { originOf, presentAddresses } from "./addresses.mjs";
import { LEAF_DAYS, openAuthority } from "./authority.mjs";
import { FRONT } from "./trust.mjs";

/** Where phones get the authority's certificate. */
export const CERTIFICATE_PATH = "/authority.crt";
/** How often it is seen whether the addresses have changed: nothing tells. */
const LOOK_MS = 5000;
const RENEW_MS = (LEAF_DAYS / 2) * 86_400_000;
/** The edge ends slow bodies itself, the longest after ten minutes. */
const REQUEST_MS = 660_000;
/** Whoever connects speaks first, and soon; and without TLS there is little to say. */
const FIRST_BYTE_MS = 30_000;
/** With this a TLS handshake begins (RFC 8446, section 5.1: content type 22), and no HTTP. */
const HANDSHAKE = 22;
/** A browser has six connections. More than this from one address are not a room's phones behind a router, and leave others their place. */
const MOST_CONNECTIONS = { all: 4000, ofAddress: 600 };

/** What keeps the sharing from beginning, in words. */
export class ShareError extends Error {
  name = "ShareError";
}

/** Listens on IPv6 and IPv4, or on IPv4 where there is no other. @throws ShareError */
async function listen(server, port) {
  const attempt = (host) =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, host }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  try {
    await attempt("::").catch((error) => {
      if (error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL") throw error;
      return attempt("0.0.0.0");
    });
  } catch (error) {
    const why = {
      EADDRINUSE: `Port ${port} is taken by another program`,
      EACCES: `This user may not listen on port ${port}`,
    }[error.code];
    if (!why) throw error;
    throw new ShareError(`${why}: choose another one, as in SHARE_PORT=8444 npm start -- --share.`, { cause: error });
  }
}

/** An IPv4 address as it is, where the socket is of both kinds. */
const plain = (address) => address?.replace(/^::ffff:/i, "") ?? "unknown";

/** Somebody typed `http://`, or no scheme: they are told where to go, and their browser goes there. */
function sendToHttps(request, response) {
  const { host = "" } = request.headers;
  if (!/^(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?$/i.test(host)) {
    response.writeHead(400, { "content-type": "text/plain", connection: "close" });
    response.end("This port speaks HTTPS: begin the address with https://\n");
    return;
  }
  const location = `https://${host}${request.url?.startsWith("/") ? request.url : "/"}`;
  response.writeHead(307, { location, "content-type": "text/plain", connection: "close" });
  response.end(`This port speaks HTTPS: ${location}\n`);
}

/**
 * @param {{ target: () => string, port: number, stateFolder: string, onChange?: (origins: string[]) => void,
 *   addresses?: typeof presentAddresses, lookMs?: number }} options
 *   `target` is the address of an edge that believes this front (trust.mjs); port 0 takes any free one; `onChange` is told the
 *   origins whenever they have become others
 */
export async function share({
  target,
  port,
  stateFolder,
  onChange,
  addresses: look = presentAddresses,
  lookMs = LOOK_MS,
}) {
  const authority = await openAuthority(stateFolder);
  let addresses = await look();
  let issuedAt = Date.now();
  const issue = () => authority.issue(addresses.map(({ address }) => address));
  const server = createServer({ ...(await issue()), requestTimeout: REQUEST_MS, minVersion: "TLSv1.2" }, answer);
  // Its way into TLS is gone when the first byte asks for it.
  const [secure] = server.listeners("connection");
  server.removeAllListeners("connection");
  const insecure = createPlainServer(sendToHttps);
  server.maxConnections = MOST_CONNECTIONS.all;
  const sockets = new Set();
  server.on("connection", (socket) => {
    const { remoteAddress } = socket;
    const ofAddress = [...sockets].filter((other) => other.remoteAddress === remoteAddress).length;
    if (ofAddress >= MOST_CONNECTIONS.ofAddress) return socket.destroy();
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    const give = () => socket.destroy();
    socket.on("error", give);
    const deadline = setTimeout(give, FIRST_BYTE_MS);
    socket.once("close", () => clearTimeout(deadline));
    socket.once("data", (first) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === HANDSHAKE) {
        clearTimeout(deadline);
        secure.call(server, socket);
      } else insecure.emit("connection", socket);
      process.nextTick(() => socket.resume());
    });
  });

  // A connection for each request: one that was kept alive may be closed by the edge just when it is used again.
  const agent = new Agent({ keepAlive: false });
  const proxy = createProxyServer({ agent });
  // How the edge's own connection ends is nothing of the phone's, which keeps its own.
  proxy.on("proxyRes", ({ headers }) => delete headers.connection);
  proxy.on("error", (_error, _request, response) => {
    if (!response || response.destroyed) return;
    if (!("writeHead" in response) || response.headersSent) response.destroy();
    else response.writeHead(502, { "content-type": "text/plain" }).end("The edge is away.\n");
  });

  /** Says from where a request came, whatever its sender has written. */
  const forwarded = (request) => {
    const own = Object.entries(request.headers).filter(([name]) => !/^((x-)?forwarded|mf-|cf-)/.test(name));
    request.headers = {
      ...Object.fromEntries(own),
      "cf-connecting-ip": plain(request.socket.remoteAddress),
      [FRONT.header]: FRONT.value,
      "x-forwarded-proto": "https",
    };
    return { target: target() };
  };

  function answer(request, response) {
    if (request.url === CERTIFICATE_PATH && request.method === "GET") {
      response.writeHead(200, {
        "content-type": "application/x-x509-ca-cert",
        "content-disposition": 'attachment; filename="best-actor.crt"',
        "content-length": authority.certificate.length,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      });
      response.end(authority.certificate);
      return;
    }
    // What fails, its `error` event has told of.
    proxy.web(request, response, forwarded(request)).catch(() => response.destroy());
  }
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    proxy.ws(request, socket, forwarded(request), head).catch(() => socket.destroy());
  });
  // A phone that does not trust the authority yet breaks the handshake off.
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  await listen(server, port);
  const { port: taken } = server.address();

  /** The addresses for phones, the likeliest first: of containers only where there are no others. */
  const origins = () => {
    const outside = addresses.filter(({ isInside }) => !isInside);
    return (outside.length > 0 ? outside : addresses).map(({ address }) => originOf(address, taken));
  };

  const looking = setInterval(() => void lookAgain(), lookMs);
  async function lookAgain() {
    const found = await look();
    const changed = JSON.stringify(found) !== JSON.stringify(addresses);
    if (!changed && Date.now() - issuedAt < RENEW_MS) return;
    const before = origins().join();
    addresses = found;
    issuedAt = Date.now();
    server.setSecureContext({ ...(await issue()), minVersion: "TLSv1.2" });
    if (origins().join() !== before) onChange?.(origins());
  }

  return {
    /** @returns {string[]} */
    origins,
    /** Of the authority, to compare with what a phone shows. */
    fingerprint: authority.fingerprint,
    async stop() {
      clearInterval(looking);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
