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
  // White on black whatever the terminal's colours are: not every reader takes an inverted code.
  const code = renderUnicodeCompact(first, { ecc: "L", border: 2 }).replaceAll(/^.*$/gm, "  \x1b[97;40m$&\x1b[0m");
  return `  In this network  ${[first, ...others].join("\n                   ")}

${code}

  Phones warn of the certificate, which this machine has made. To be asked once and never again, trust its authority:
  open ${first}${CERTIFICATE_PATH} on the phone (docs/operator-guide.md tells how), and compare its SHA-256 there:
  ${fingerprint.replaceAll(":", " ")}
`;
}
