/** docs/benchmarks.md, made from what benchmarks have said. */
import { readFileSync } from "node:fs";

const HEAD = `# Benchmarks

Each figure has a command, and stands here as its last line said it: \`npm run bench -- NAME [OPTIONS]\` runs \`bench:NAME\`, keeps what it
says in \`benchmarks/results.json\` and makes this page. The machine is shared and noisy, so that ratios to a peer in the same run say
more than seconds. \`ms\` is milliseconds, \`MB\` 10^6 bytes; PATH is a file or folder of your own.
`;

/** The number as people read it: four digits that matter. */
const word = (value) => {
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  if (Array.isArray(value)) return value.map(word).join(", ");
  return String(value).replaceAll("|", "\\|");
};
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (heads, rows) => [row(heads), row(heads.map(() => "---")), ...rows.map(row)].join("\n");

/** Values within values as [path, value], lists of records apart. */
function flatten(value, path = "") {
  if (!isRecord(value)) return [[path, value]];
  return Object.entries(value).flatMap(([key, inner]) => flatten(inner, path ? `${path}.${key}` : key));
}

/** A result in tables: single values in one, each list of records in its own. */
function tablesOf(result) {
  const all = flatten(result);
  const isList = ([, value]) => Array.isArray(value) && value.some(isRecord);
  const single = all.filter((entry) => !isList(entry)).map(([path, value]) => [path, word(value)]);
  const lists = all.filter(isList).map(([path, list]) => {
    const rows = list.map((one) => new Map(flatten(one).filter((entry) => !isList(entry))));
    const heads = [...new Set(rows.flatMap((one) => [...one.keys()]))];
    const body = rows.map((one) => heads.map((key) => (one.has(key) ? word(one.get(key)) : "")));
    return `${path}:\n\n${table(heads, body)}`;
  });
  return [...(single.length > 0 ? [table(["figure", "value"], single)] : []), ...lists].join("\n\n");
}

/**
 * @param results by command: { date, machine, commit, result }
 */
export function documentOf(results) {
  const parts = Object.entries(results)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([command, { date, machine, commit, result }]) => {
      const [, name = ""] = /bench:([a-z]+)/.exec(command) ?? [];
      const [, head = ""] =
        /^\/\*\*([^]*?)\*\//.exec(readFileSync(new URL(`${name}.mjs`, import.meta.url), "utf8")) ?? [];
      const about = head
        .replaceAll(/\s*\n \* ?/g, " ")
        .replace(/^.*?`:/, "")
        .trim();
      const text = `${about.charAt(0).toUpperCase()}${about.slice(1)}`.replace(
        / (Its|The) last line is one JSON object\.?$/,
        "",
      );
      return `## ${name}\n\n${text}\n\n\`${command}\`, ${date}, ${machine}, at ${commit}:\n\n${tablesOf(result)}\n`;
    });
  return [HEAD, ...parts].join("\n");
}
