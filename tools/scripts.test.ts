import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./setup.mjs";

/** `const { names } = await load("file.ts")`, of ./load.mjs or Vite's `runnerImport`: no type checker looks at these. */
const LOADED = /const \{([^}]+)\} = (?:await load\(|\(await runnerImport\()[^"]*"([^"]+\.ts)"/g;

const scripts = ["tools", "benchmarks"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".mjs"))
    .map((name) => join(root, folder, name)),
);

test("what the scripts load by name is there", async () => {
  const lacking: string[] = [];
  let seen = 0;
  for (const script of scripts) {
    for (const [, names = "", file = ""] of readFileSync(script, "utf8").matchAll(LOADED)) {
      const [path = file] = [root, dirname(script)].map((folder) => join(folder, file)).filter(existsSync);
      const loaded = Object.keys((await import(path)) as object);
      for (const name of names.split(",").map((one) => one.split(":")[0]?.trim() ?? "")) {
        seen += 1;
        if (name !== "" && !loaded.includes(name)) lacking.push(`${script}: ${name} of ${file}`);
      }
    }
  }
  expect(lacking).toEqual([]);
  expect(seen).toBeGreaterThan(20);
});
