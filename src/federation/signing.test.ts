import { expect, test } from "vitest";
import { base64ToUint8Array } from "uint8array-extras";
import { createSigningKey, FRESH_SECONDS, sign, verify, type Signable, type SigningError } from "./signing";

const NOW = 1_800_000_000_000;
const URL_ = "http://edge/api/tasks/expressions/check-ins";
const message = { method: "POST", url: URL_, body: '{"examples":4}' } satisfies Signable;

const requestOf = ({ method, url, body }: Signable, headers: Record<string, string>): Request =>
  new Request(url, { method, headers, body: body ?? null });

async function signed(what: Signable = message, now = NOW): Promise<Record<string, string>> {
  return sign(what, await createSigningKey(), now);
}

const codeOf = (request: Request, now = NOW): Promise<string> =>
  verify(request, now).then(
    () => "accepted",
    (error: unknown) => (error as SigningError).code,
  );

test("a signature is over the base of RFC 9421, section 2.5, written out here by hand", async () => {
  const key = await createSigningKey();
  const headers = await sign(message, key, NOW);
  const parameters = headers["signature-input"]?.replace(/^client=/, "") ?? "";
  expect(parameters).toMatch(
    /^\("@method" "@path" "content-digest"\);created=1800000000;nonce="[^"]{24}";keyid="[^"]{88}";alg="ecdsa-p256-sha256";tag="best-actor"$/,
  );
  // The digest is that of `printf '{"examples":4}' | openssl dgst -sha256 -binary | base64`.
  const digest = "sha-256=:TkZlAawK4fsGBOF4U0r6gi4KK0zKywNcNfonmbXwW9Q=:";
  expect(headers["content-digest"]).toBe(digest);
  const base = [
    '"@method": POST',
    '"@path": /api/tasks/expressions/check-ins',
    `"content-digest": ${digest}`,
    `"@signature-params": ${parameters}`,
  ].join("\n");
  const signature = base64ToUint8Array(/^client=:(.+):$/.exec(headers.signature ?? "")?.[1] ?? "");
  const algorithm = { name: "ECDSA", hash: "SHA-256" };
  const bytes = new TextEncoder().encode(base);
  expect(await crypto.subtle.verify(algorithm, key.publicKey, signature, bytes)).toBe(true);
});

test("the private key cannot be taken out", async () => {
  const { privateKey } = await createSigningKey();
  await expect(crypto.subtle.exportKey("jwk", privateKey)).rejects.toThrow();
  await expect(crypto.subtle.exportKey("pkcs8", privateKey)).rejects.toThrow();
});

test("the same key is the same client, another is another, and no two signatures have the same nonce", async () => {
  const key = await createSigningKey();
  const [one, two] = await Promise.all(
    [1, 2].map(async () => verify(requestOf(message, await sign(message, key, NOW)), NOW)),
  );
  const other = await verify(requestOf(message, await signed()), NOW);
  expect(one?.client).toBe(two?.client);
  expect(one?.nonce).not.toBe(two?.nonce);
  expect(other.client).not.toBe(one?.client);
});

test("a signature belongs to its method and path, and to nothing without a digest where there is a body", async () => {
  const headers = await signed();
  expect(await codeOf(requestOf(message, headers))).toBe("accepted");
  expect(await codeOf(requestOf({ ...message, method: "PUT" }, headers))).toBe("bad-signature");
  expect(await codeOf(requestOf({ ...message, url: `${URL_}/1` }, headers))).toBe("bad-signature");
  expect(
    await codeOf(requestOf({ ...message, url: URL_.replace("expressions", "expressions-compact") }, headers)),
  ).toBe("bad-signature");
  const other = { ...headers, "content-digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:" };
  expect(await codeOf(requestOf(message, other))).toBe("bad-signature");
  const bare = await signed({ method: "POST", url: URL_ });
  expect(await codeOf(requestOf(message, bare))).toBe("bad-signature");
  expect(await codeOf(requestOf({ method: "DELETE", url: URL_ }, await signed({ method: "DELETE", url: URL_ })))).toBe(
    "accepted",
  );
});

test("a body that is announced to have no bytes needs no digest, and one that comes in chunks does", async () => {
  const empty = { method: "DELETE", url: URL_, body: "" } satisfies Signable;
  const headers = await signed({ method: "DELETE", url: URL_ });
  expect(await codeOf(requestOf(empty, { ...headers, "content-length": "0" }))).toBe("accepted");
  expect(await codeOf(requestOf(empty, headers))).toBe("bad-signature");
  const chunked = { ...headers, "content-length": "0", "transfer-encoding": "chunked" };
  expect(await codeOf(requestOf(empty, chunked))).toBe("bad-signature");
});

test("a signature of another key, tag, nonce or time is none", async () => {
  const headers = await signed();
  const others = await signed();
  const input = headers["signature-input"] ?? "";
  const forge = (changed: string): Promise<string> =>
    codeOf(requestOf(message, { ...headers, "signature-input": changed }));
  const keyid = /keyid="([^"]+)"/.exec(others["signature-input"] ?? "")?.[1] ?? "";
  expect(await forge(input)).toBe("accepted");
  expect(await forge(input.replace(/keyid="[^"]+"/, `keyid="${keyid}"`))).toBe("bad-signature");
  expect(await forge(input.replace(/keyid="[^"]+"/, 'keyid="AAAA"'))).toBe("bad-signature");
  expect(await forge(input.replace('tag="best-actor"', 'tag="other"'))).toBe("bad-signature");
  expect(await forge(input.replace(/nonce="[^"]+"/, 'nonce="AAAAAAAAAAAAAAAAAAAAAA=="'))).toBe("bad-signature");
  expect(await forge(input.replace(/created=\d+/, "created=1800000001"))).toBe("bad-signature");
  expect(await forge(input.replace('"@path" ', ""))).toBe("bad-signature");
  expect(await codeOf(requestOf(message, {}))).toBe("bad-signature");
  expect(await codeOf(requestOf(message, { ...headers, signature: "client=:AAAA:" }))).toBe("bad-signature");
  expect(await codeOf(requestOf(message, { ...headers, "signature-input": "client=(" }))).toBe("bad-signature");
});

test("a signature is fresh for minutes, and a clock that is ahead by more than one is told so", async () => {
  const request = requestOf(message, await signed());
  for (const [after, code] of [
    [0, "accepted"],
    [FRESH_SECONDS.past - 1, "accepted"],
    [FRESH_SECONDS.past + 1, "stale"],
    [-FRESH_SECONDS.future + 1, "accepted"],
    [-FRESH_SECONDS.future - 1, "stale"],
    [365 * 86_400, "stale"],
  ] as const) {
    expect(await codeOf(request.clone(), NOW + after * 1000), String(after)).toBe(code);
  }
});
