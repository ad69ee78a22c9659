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
  /** What of a file was asked for. */
  range: string | undefined;
}

/** A proxy before the edge that keeps every request's body: what it did not see has not left the browser. */
export interface Wire {
  url: string;
  requests: Recorded[];
  /** While true, nothing gets through: the edge is away. */
  cut: boolean;
  /** The answers at this path break off after so many bytes. */
  breaks: { path: string; bytes: number } | undefined;
  /** Text that is added to the answers at paths: other versions of files. */
  added: { path: string; text: string }[];
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
      const asked = { ...incoming.headers };
      if (wire.added.length > 0) {
        // What gets text added must come, and not compressed.
        asked["accept-encoding"] = "identity";
        delete asked["if-none-match"];
      }
      const forward = request(
        { hostname, port, method: incoming.method, path: incoming.url, headers: asked, agent },
        (answer) => {
          const { method = "", url: path = "", headers } = incoming;
          const plain = headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
          requests.push({
            method,
            path,
            type: headers["content-type"] ?? "",
            key: /keyid="([^"]+)"/.exec(String(headers["signature-input"]))?.[1],
            body: plain,
            status: answer.statusCode ?? 0,
            range: headers.range,
          });
          const { breaks } = wire;
          const added = wire.added.find((one) => one.path === path);
          if (added) delete answer.headers["content-length"];
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          if (breaks && path.startsWith(breaks.path)) {
            let left = breaks.bytes;
            answer.on("data", (chunk: Buffer) => {
              if (left > 0) outgoing.write(chunk.subarray(0, left), () => left <= 0 && outgoing.destroy());
              left -= chunk.length;
            });
          } else if (added) {
            answer.pipe(outgoing, { end: false });
            answer.on("end", () => outgoing.end(added.text));
          } else answer.pipe(outgoing);
        },
      );
      forward.on("error", () => outgoing.destroy());
      forward.end(body);
    });
  });
  // The same before it: Node would close a connection after five seconds, just when the test or the page uses it again.
  server.keepAliveTimeout = 0;
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
    breaks: undefined,
    added: [],
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

/**
 * Where a face or a drawing stands in what was sent: a body with its bytes or its numbers in 0..1, or a body that is a picture. Playwright keeps
 * a step of every `expect` and searches them all at the next, so that one for each request and face would take minutes.
 */
export function leaksOf(requests: readonly Recorded[], faces: readonly { pixels: number[] }[]): string[] {
  const pictures = requests
    .filter(({ type, body }) => {
      const start = body.subarray(0, 4).toString("hex");
      return (
        /^(image|video|multipart)\//.test(type) ||
        ["ffd8ff", "89504e47", "52494646", "47494638"].some((magic) => start.startsWith(magic))
      );
    })
    .map(({ path, type }) => `${path} sends a picture, ${type}`);
  const seen = faces.flatMap(({ pixels }) => {
    const forms = [Buffer.from(pixels), Buffer.from(Float32Array.from(pixels, (level) => level / 255).buffer)];
    return requests
      .filter(({ body }) => forms.some((form) => body.includes(form)))
      .map(({ path }) => `${path} holds one`);
  });
  return [...pictures, ...seen];
}
