import * as v from "valibot";

/** Names that mean a machine of somebody's own network, wherever they are looked up (RFC 6761, 6762, 8375, and what routers use). */
const OWN = ["localhost", "local", "internal", "lan", "home", "corp", "intranet", "private", "home.arpa"];
const LONGEST = 500;

/**
 * Whether an address may be a webhook: HTTPS at its own port, to a name on the internet. No address by number (a browser's URL writes
 * `0x7f.1` and `2130706433` as 127.0.0.1, so that none is missed), no name of an own network, and nothing that logs in.
 */
export function isWebhook(text: string): boolean {
  if (text.length > LONGEST) return false;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return false;
  }
  const { protocol, hostname, port, username, password, hash } = url;
  if (protocol !== "https:" || port !== "" || username !== "" || password !== "" || hash !== "") return false;
  const name = hostname.replace(/\.$/, "");
  const isNumber = name.startsWith("[") || /^\d+(\.\d+){3}$/.test(name);
  const isOwn = !name.includes(".") || OWN.some((own) => name === own || name.endsWith(`.${own}`));
  return !isNumber && !isOwn;
}

export const webhookSchema = v.pipe(
  v.string(),
  v.trim(),
  v.check(isWebhook, "not an https:// address, without a port, of a name on the internet"),
);
