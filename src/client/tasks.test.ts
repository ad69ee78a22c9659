import { beforeEach, expect, test, vi } from "vitest";
import * as v from "valibot";
import { addedTaskSchema, descriptionOf } from "../federation/tasks/description";
import { EXAMPLE } from "../federation/tasks/example";

const kept = new Map<string, string>();

/** The tasks of a page that is opened now, at an edge that lists these. */
async function opened(listed: object[]) {
  vi.resetModules();
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ tasks: listed })));
  const [{ tasks }, { taskNamed }] = [await import("./tasks.svelte"), await import("../federation/tasks/registry")];
  return { tasks, taskNamed };
}

beforeEach(() => {
  kept.clear();
  vi.stubGlobal("location", { origin: "https://stage.example" });
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
});

const added = v.parse(addedTaskSchema, EXAMPLE);
const input = { height: 32, width: 32, channels: 3 } as const;
const things = { name: "things", state: "open", added: { ...added, examples: "picture", input } } as const;
const builtIn = ["expressions", "expressions-compact", "digits"].map((name) => ({ name, state: "open", added: null }));

test("a task of pictures is played like any other, and one of a kind that this page does not know is left out and named", async () => {
  const newer = [
    { name: "sounds", state: "open", added: { ...added, examples: "sound" } },
    { name: "poses", state: "open", added: null },
  ];
  const { tasks, taskNamed } = await opened([...builtIn, ...newer, things]);
  await tasks.load();
  expect(tasks.open).toEqual(["expressions", "expressions-compact", "digits", "things"]);
  expect(tasks.openOf("picture")).toEqual(["things"]);
  expect(tasks.openOf("face")).toEqual([]);
  expect(taskNamed("things").input).toEqual(input);
  expect(tasks.leftOut).toEqual(["sounds", "poses"]);
  // The next visit begins with what this one has heard.
  const again = await opened([]);
  expect(again.tasks.openOf("picture")).toEqual(["things"]);
});

test("what a newer page has kept does not break an older one", async () => {
  const task = descriptionOf(added);
  const known = [
    { name: "sounds", state: "open", task: { ...task, examples: "sound" } },
    { name: "poses", state: "open", task: null },
    { name: "shapes", state: "open", task },
  ];
  kept.set("best-actor-tasks/1", JSON.stringify(known));
  const { tasks, taskNamed } = await opened([]);
  expect(tasks.all).toEqual(["expressions", "expressions-compact", "digits", "shapes"]);
  for (const name of tasks.all) expect(() => taskNamed(name)).not.toThrow();
});
