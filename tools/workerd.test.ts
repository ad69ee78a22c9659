import { Miniflare } from "miniflare";
import { expect, it, vi } from "vitest";
import { mendWorkerd } from "./workerd.mjs";

it("V8 has the flags that Miniflare has no setting for, and workerd reads all else of its configuration", async () => {
  mendWorkerd(["--single-threaded-gc", "--expose-gc"]);
  // A process may load the module again, and ask again: the flags are added once.
  vi.resetModules();
  const again = await import("./workerd.mjs");
  expect(again.mendWorkerd).not.toBe(mendWorkerd);
  again.mendWorkerd();
  const script = `export default { fetch: (_, { word }) => new Response(word + " " + typeof gc) }`;
  const miniflare = new Miniflare({ modules: true, script, bindings: { word: "read" } });
  try {
    const answer = await miniflare.dispatchFetch("http://edge/");
    expect(await answer.text()).toBe("read function");
  } finally {
    await miniflare.dispose();
  }
});
