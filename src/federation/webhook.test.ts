import { expect, test } from "vitest";
import { isWebhook } from "./webhook";

test.each(["https://hooks.slack.com/services/T0/B0/x", "https://ntfy.sh/my-rounds", "https://example.org:443/a?b=c"])(
  "%s is a place to be told at",
  (url) => expect(isWebhook(url)).toBe(true),
);

test.each([
  ...["http://example.org/", "ftp://example.org/", "file:///etc/passwd", "javascript:alert(1)", "example.org", ""],
  // By number, in every writing that a URL takes.
  ...["https://127.0.0.1/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/"],
  ...["https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://8.8.8.8/", "https://1.1/"],
  ...["https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fd00::1]/", "https://\u2460\u2461.0.0.1/"],
  ...["https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://printer/", "https://nas.local/"],
  ...["https://metadata.google.internal/", "https://router.lan/", "https://x.home.arpa/", "https://x.home.arpa./"],
  ...["https://user:password@example.org/", "https://example.org:8443/", "https://example.org:22/", "https://a.org/#x"],
  `https://example.org/${"a".repeat(500)}`,
])("%s is not", (url) => expect(isWebhook(url)).toBe(false));
