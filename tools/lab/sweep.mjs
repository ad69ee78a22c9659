/** Grids of configurations: `--sweep learningRate=0.1,0.2 --sweep epochs=1,5` runs all four. */
import { DataError } from "./strategy-file.mjs";

/** Configurations of one sweep: more are a mistyped one, or weeks. */
const MOST = 1000;

/** A value as somebody types it: JSON, or else a word. */
export function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Every combination of what is swept, as changes of a configuration, the last key's values next to one another.
 * @param {string[]} sweeps each as `key=a,b,c`
 * @throws DataError
 */
export function gridOf(sweeps) {
  let grid = [{}];
  const seen = new Set();
  for (const sweep of sweeps) {
    const [, key, list = ""] = /^([A-Za-z0-9]+)=(.+)$/.exec(sweep) ?? [];
    if (!key) throw new DataError(`--sweep ${sweep}: write it as key=a,b,c.`);
    if (key === "seed") throw new DataError("--sweep seed: say --seeds N, and every combination runs with N of them.");
    if (seen.has(key)) throw new DataError(`--sweep ${key}: it is swept twice.`);
    seen.add(key);
    grid = grid.flatMap((changes) => list.split(",").map((value) => ({ ...changes, [key]: valueOf(value.trim()) })));
  }
  if (grid.length > MOST) throw new DataError(`--sweep: ${grid.length} combinations are more than ${MOST}.`);
  return grid;
}

/** What a combination is called, in tables and as a folder. */
export const nameOf = (changes) =>
  Object.entries(changes)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
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

const curveOf = (state) =>
  state.rounds.flatMap(({ round, testAccuracy: accuracy }) => (accuracy === null ? [] : [{ round, accuracy }]));

/** One row for each combination: name, rounds, last and best accuracy, loss, and where that says more than the rounds simulated seconds. */
export function tableOf(rows, isTimed) {
  const cells = rows.map(({ changes, states }) => {
    const curves = states.map(curveOf);
    const best = curves.map((curve) =>
      curve.length === 0 ? null : Math.max(...curve.map(({ accuracy }) => accuracy)),
    );
    return [
      nameOf(changes) || "(as it is)",
      spread(
        states.map(({ round }) => round),
        0,
      ),
      spread(states.map(({ evaluation }) => evaluation?.accuracy ?? null)),
      spread(best),
      spread(states.map(({ evaluation }) => evaluation?.loss ?? null)),
      ...(isTimed
        ? [
            spread(
              states.map(({ rounds }) => rounds.at(-1)?.time),
              0,
            ),
          ]
        : []),
    ];
  });
  const head = ["combination", "rounds", "accuracy", "best", "loss", ...(isTimed ? ["simulated s"] : [])];
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return [line(head), ...cells.map(line)].join("\n");
}

const BARS = "▁▂▃▄▅▆▇█";
const WIDTH = 60;

/** Test accuracy over the rounds, one combination a line, all on one scale. */
export function chartOf(rows) {
  const curves = rows.map(({ changes, states }) => ({
    name: nameOf(changes) || "(as it is)",
    curve: curveOf(states[0]),
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
