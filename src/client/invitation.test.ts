import { beforeEach, expect, test, vi } from "vitest";

const choose = vi.fn();
vi.mock("./task.svelte", () => ({ chosenTask: { choose } }));
vi.mock("./tasks.svelte", () => ({ tasks: { leftOut: ["sounds"] } }));

const TOKEN = "AbCdEfGhIjKlMnOpQrSt_-";
const kept = new Map<string, string>();

/** Opens the page by a link; says what came of it, and what stands in the address then. */
async function opened(link: string) {
  const { pathname, search, hash } = new URL(link, "https://stage.example");
  let address = link;
  vi.stubGlobal("location", { pathname, search, hash });
  vi.stubGlobal("history", { replaceState: (_state: null, _title: string, url: string) => (address = url) });
  const { acceptInvitation, invitationTo } = await import("./invitation");
  return { came: acceptInvitation(), address, token: invitationTo("expressions-compact") };
}

beforeEach(() => {
  choose.mockClear();
  kept.clear();
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
  });
});

const PLAY = "/play?task=expressions-compact";

test("an invitation's task is chosen, and its token kept and taken out of the address", async () => {
  const open = { came: "taken", address: `${PLAY}#invited` };
  expect(await opened(`${PLAY}#invited`)).toEqual({ ...open, token: undefined });
  expect(await opened(`${PLAY}#invited=${TOKEN}`)).toEqual({ ...open, token: TOKEN });
  expect(choose.mock.calls).toEqual([["expressions-compact"], ["expressions-compact"]]);
  expect((await opened(PLAY)).came).toBeUndefined();
});

test.each(["", TOKEN.slice(1), `${TOKEN}.`, `${TOKEN}=x`, "%00"])(
  "a token of %j is said to be damaged",
  async (token) => {
    await opened(`${PLAY}#invited=${TOKEN}`);
    const after = await opened(`${PLAY}#invited=${token}`);
    // What was given before stays.
    expect(after).toEqual({ came: "damaged-token", address: `${PLAY}#invited`, token: TOKEN });
  },
);

test.each(["/play?task=expression", "/play"])(
  "an invitation to %s is to no task of this server, which is said",
  async (path) => {
    const after = await opened(`${path}#invited=${TOKEN}`);
    expect(after).toEqual({ came: "unknown-task", address: `${path}#invited`, token: undefined });
    expect(choose).not.toHaveBeenCalled();
  },
);

test("an invitation to a task that this page is too old for says that, and damages nothing", async () => {
  const after = await opened(`/play?task=sounds#invited=${TOKEN}`);
  expect(after).toEqual({ came: "newer-task", address: "/play?task=sounds#invited", token: undefined });
  expect(choose).not.toHaveBeenCalled();
});
