import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fail } from "./faces.mjs";

/**
 * A command's options, as parseArgs describes them; `count` is a whole number from 1 on. `--help` prints the comment at the head of
 * the command's file and ends it, and so does a wrong option, after what is wrong with it.
 * @param {string} command the URL of its file
 * @param {() => string} [more] what `--help` says behind that comment
 */
export function optionsOf(command, options, more) {
  const [, head = ""] = /^\/\*\*([^]*?)\*\//.exec(readFileSync(new URL(command), "utf8")) ?? [];
  const help = head.replaceAll(/^ *\* ?/gm, "").trim();
  try {
    const known = Object.entries(options).map(([name, { type, ...rest }]) => [
      name,
      { ...rest, type: type === "count" ? "string" : type },
    ]);
    const { values } = parseArgs({ options: { ...Object.fromEntries(known), help: { type: "boolean" } } });
    for (const [name, { type }] of Object.entries(options)) {
      if (type !== "count" || values[name] === undefined) continue;
      if (!/^[1-9]\d*$/.test(values[name]))
        throw new Error(`--${name} is a whole number from 1 on, not ${values[name]}.`);
      values[name] = Number(values[name]);
    }
    if (!values.help) return values;
  } catch (error) {
    fail(`${error.message}\n\n${help}`);
  }
  console.log(more ? `${help}\n\n${more()}` : help);
  process.exit(0);
}
