import { Agent, createServer, request, type IncomingMessage } from "node:http";
import { gunzipSync } from "node:zlib";
import { connect, type AddressInfo, type Socket } from "node:net";

/** A request as it left the browser. */
export interface Recorded {
  method: string;
  path: string;
  type: string;
  /** The key of a signed request. */
  key: string | undefined;
  /** Unpacked, where it was gzipped. */
  body: Buffer;
  status: number;
}

/** A proxy before the edge that keeps every request's body: what it did not see has not left the browser. */
export interface Wire {
  url: string;
  requests: Recorded[];
  /** While true, nothing gets through: the edge is away. */
  cut: boolean;
  close: () => Promise<void>;
}

export async function recordWire(edge: string): Promise<Wire> {
  const { hostname, port } = new URL(edge);
  const sockets = new Set<Socket>();
  // A connection for each request: one that was kept alive may be closed by the edge just when it is used again.
  const agent = new Agent({ keepAlive: false });
  const requests: Recorded[] = [];

  const server = createServer((incoming, outgoing) => {
    void bodyOf(incoming).then((body) => {
      if (wire.cut) {
        incoming.socket.destroy();
        return;
      }
      const forward = request(
        { hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers, agent },
        (answer) => {
          const { method = "", url: path = "", headers } = incoming;
          const plain = headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
          requests.push({
            ...{ method, path, type: headers["content-type"] ?? "" },
            key: /keyid="([^"]+)"/.exec(String(headers["signature-input"]))?.[1],
            ...{ body: plain, status: answer.statusCode ?? 0 },
          });
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      forward.on("error", () => outgoing.destroy());
      forward.end(body);
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.on("upgrade", (incoming, client: Socket, head) => {
    if (wire.cut) {
      client.destroy();
      return;
    }
    const upstream = connect(Number(port), hostname, () => {
      const headers = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${String(value)}`);
      upstream.write([`GET ${incoming.url ?? "/"} HTTP/1.1`, ...headers, "", ""].join("\r\n"));
      upstream.write(head);
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on("error", () => client.destroy());
    client.on("error", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  const wire: Wire = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    cut: false,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return wire;
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
