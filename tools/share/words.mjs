import { renderUnicodeCompact } from "uqr";
import { CERTIFICATE_PATH } from "./front.mjs";

/**
 * What the terminal says of a shared server.
 * @param {string[]} origins the likeliest first
 * @param {string} fingerprint of its authority
 */
export function invitation(origins, fingerprint) {
  const [first, ...others] = origins;
  if (first === undefined) {
    return "  Sharing          This machine has no address that a phone could reach. Join a network: its address is shown here then.\n";
  }
  // Drawn light on dark as most terminals are; readers of QR codes take both.
  const code = renderUnicodeCompact(first, { ecc: "L", border: 2 }).replaceAll(/^/gm, "  ");
  return `  In this network  ${[first, ...others].join("\n                   ")}

${code}

  Phones warn of the certificate, which this machine has made. To be asked once and never again, trust its authority:
  open ${first}${CERTIFICATE_PATH} on the phone (docs/operator-guide.md tells how), and compare its SHA-256 there:
  ${fingerprint.replaceAll(":", " ")}
`;
}
