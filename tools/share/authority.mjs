/**
 * The small certificate authority of an own server: made once and kept with its state, so that a phone that trusts it is never asked
 * again. It can vouch for addresses, `localhost` and names under `.local`, and for no other name (RFC 5280, section 4.2.1.10): who
 * steals its key cannot pose as anybody's bank.
 */
import "reflect-metadata";
import { randomBytes, webcrypto, X509Certificate as ReadCertificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_nameConstraints,
  NameConstraints,
} from "@peculiar/asn1-x509";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto);

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
/** Apple's systems take no longer one than 825 days. It is made anew at every start, and while the server runs. */
export const LEAF_DAYS = 90;
/** Clocks of phones may be behind. */
const SLACK_DAYS = 2;

const days = (count) => new Date(Date.now() + count * DAY_MS);
const validity = (count) => ({ notBefore: days(-SLACK_DAYS), notAfter: days(count) });
/** Positive, and never the same twice. */
const serial = () => `01${randomBytes(15).toString("hex")}`;
/** The machine's own way to itself, which is no address of the network. */
const LOOPBACK = ["127.0.0.1", "::1"];
const generateKeys = () => webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);

async function pemOf(privateKey) {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
}

function constraints() {
  const permitted = [
    new GeneralName({ dNSName: "localhost" }),
    new GeneralName({ dNSName: "local" }),
    new GeneralName({ iPAddress: "0.0.0.0/0" }),
    new GeneralName({ iPAddress: "::/0" }),
  ];
  const subtrees = new GeneralSubtrees(permitted.map((base) => new GeneralSubtree({ base })));
  return new x509.Extension(
    id_ce_nameConstraints,
    true,
    AsnConvert.serialize(new NameConstraints({ permittedSubtrees: subtrees })),
  );
}

async function makeAuthority() {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ O: ["Best Actor"] }, { CN: [`Best Actor on ${hostname().slice(0, 40)}`] }],
    ...validity(AUTHORITY_DAYS),
    keys,
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      constraints(),
    ],
  });
  return { key: await pemOf(keys.privateKey), certificate: certificate.toString("pem") };
}

/** Writes a file that nobody else may read, whole or not at all: a start that is broken off leaves no half of a key. */
function writeSecretly(file, text) {
  const made = `${file}.${process.pid}`;
  writeFileSync(made, text, { mode: 0o600 });
  renameSync(made, file);
}

/**
 * The authority that lies in a folder, made there where there is none. Key and certificate lie in one file, so that they are always
 * each other's.
 * @param {string} folder of the server's state
 */
export async function openAuthority(folder) {
  const file = join(folder, "authority.pem");
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    const { key, certificate } = await makeAuthority();
    writeSecretly(file, `${key}\n${certificate}\n`);
  }
  chmodSync(file, 0o600);
  const kept = readFileSync(file, "utf8");
  const pem = (label) => new RegExp(`-----BEGIN ${label}-----[^]*?-----END ${label}-----`).exec(kept)?.[0];
  const [keyText, text] = [pem("PRIVATE KEY"), pem("CERTIFICATE")];
  if (!keyText || !text) throw new Error(`${file} holds no key and certificate. Delete it, and a new one is made.`);
  const signingKey = await webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(keyText), ECDSA, false, [
    "sign",
  ]);
  const certificate = new x509.X509Certificate(text);
  const { fingerprint256, raw } = new ReadCertificate(text);
  return {
    /** What a phone is given to trust: DER, without the key. */
    certificate: raw,
    /** As systems show it: SHA-256, in pairs of hexadecimal digits. */
    fingerprint: fingerprint256,
    /**
     * A new key and its certificate, for TLS: for these addresses, this machine's names, and loopback.
     * @param {string[]} addresses IPv4 and IPv6 addresses
     */
    async issue(addresses) {
      const keys = await generateKeys();
      const names = ["localhost", `${hostname().split(".")[0]}.local`];
      const leaf = await x509.X509CertificateGenerator.create({
        serialNumber: serial(),
        subject: [{ O: ["Best Actor"] }, { CN: ["Best Actor"] }],
        issuer: certificate.subject,
        ...validity(LEAF_DAYS),
        publicKey: keys.publicKey,
        signingKey,
        signingAlgorithm: ECDSA,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
          new x509.SubjectAlternativeNameExtension([
            ...names.map((value) => ({ type: "dns", value })),
            ...[...new Set([...addresses, ...LOOPBACK])].map((value) => ({ type: "ip", value })),
          ]),
          await x509.AuthorityKeyIdentifierExtension.create(certificate),
          await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
        ],
      });
      return { key: await pemOf(keys.privateKey), cert: `${leaf.toString("pem")}\n${text}\n` };
    },
  };
}
