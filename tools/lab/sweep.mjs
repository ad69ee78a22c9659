/** What `--sweep` of the command line reads and prints: src/simulation/grid.ts has the grid. */
import { lab } from "./node.mjs";
import { DataError } from "./strategy-file.mjs";

const { nameOf } = lab;

/** A setting, or a part of one, and what is said of it: `key=value`. */
export const SETTING = /^([A-Za-z0-9]+(?:\.[A-Za-z0-9]+)?)=(.*)$/s;

/** What of somebody's is an axis of a grid. @param {string[]} sweeps each as `key=a,b,c` @throws DataError */
export function axesOf(sweeps) {
  return sweeps.map((sweep) => {
    const [, key, list = ""] = SETTING.exec(sweep) ?? [];
    if (!key) throw new DataError(`--sweep ${sweep}: write it as key=a,b,c.`);
    if (key === "seed") throw new DataError("--sweep seed: say --seeds N, and every combination runs with N of them.");
    return { key, values: lab.valuesOf(list) };
  });
}

/** A combination as a folder. */
export const folderOf = (changes) =>
  nameOf(changes)
    .replaceAll(/[^\w.=+ -]/g, "_")
    .replaceAll(" ", ",");

/** Mean and standard deviation of what is known. */
export function spread(values, digits = 3) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length === 0) return "";
  const mean = known.reduce((a, b) => a + b, 0) / known.length;
  if (known.length === 1) return mean.toFixed(digits);
  const deviation = Math.sqrt(known.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (known.length - 1));
  return `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)}`;
}

/** What went wrong with some of a combination's runs. */
function noteOf(runs) {
  const count = (found, name) =>
    found === 0 ? [] : [found === 1 && runs.length === 1 ? name : `${found} of ${runs.length} ${name}`];
  return [
    ...count(runs.filter(({ outcome }) => outcome.ended === "diverged").length, "diverged"),
    ...count(runs.filter(({ problem }) => problem !== null).length, "could not be run"),
  ].join(", ");
}

/**
 * One row for each combination: name, rounds, last and best accuracy, loss, rounds to the target and simulated seconds where there are any,
 * seconds, and what went wrong.
 */
export function tableOf(rows) {
  const all = rows.flatMap(({ runs }) => runs);
  const columns = [
    ["rounds", 0],
    ["accuracy", 3],
    ["best", 3],
    ["loss", 3],
    ["toTarget", 1, "to target"],
    ["time", 0, "simulated s"],
    ["seconds", 1],
  ].filter(([key, , title]) => !title || all.some(({ outcome }) => outcome[key] !== null));
  const cells = rows.map(({ changes, runs }) => [
    nameOf(changes),
    ...columns.map(([key, digits]) =>
      spread(
        runs.map(({ outcome, problem }) => (problem === null ? outcome[key] : null)),
        digits,
      ),
    ),
    noteOf(runs),
  ]);
  const head = ["combination", ...columns.map(([key, , title]) => title ?? key), ""];
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  const line = (row) =>
    row
      .map((cell, i) => (i === 0 || i === row.length - 1 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd();
  return [line(head), ...cells.map(line)].join("\n");
}

const BARS = "▁▂▃▄▅▆▇█";
const WIDTH = 60;

/** Test accuracy over the rounds, one combination a line, all on one scale. */
export function chartOf(rows) {
  const curves = rows.map(({ changes, runs }) => ({
    name: nameOf(changes),
    curve: lab.curveOf(runs.find(({ state }) => state)?.state.rounds ?? []),
  }));
  const all = curves.flatMap(({ curve }) => curve.map(({ accuracy }) => accuracy));
  if (all.length === 0) return "";
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const last = Math.max(...curves.map(({ curve }) => curve.at(-1)?.round ?? 0));
  const columns = Math.min(WIDTH, last);
  const width = Math.max(...curves.map(({ name }) => name.length));
  const lines = curves.map(({ name, curve }) => {
    const bars = Array.from({ length: columns }, (_, column) => {
      const until = ((column + 1) / columns) * last;
      const at = curve.filter(({ round }) => round <= until).at(-1);
      const isOver = (curve.at(-1)?.round ?? 0) < (column / columns) * last;
      if (!at || isOver) return " ";
      return BARS[Math.round(((at.accuracy - least) / Math.max(1e-9, most - least)) * (BARS.length - 1))];
    });
    return `${name.padEnd(width)}  ${bars.join("")}`;
  });
  const scale = `Test accuracy from ${(least * 100).toFixed(1)} % (${BARS[0]}) to ${(most * 100).toFixed(1)} % (${BARS.at(-1)}), rounds 1 to ${last}`;
  return `${scale}\n${lines.join("\n")}`;
}
