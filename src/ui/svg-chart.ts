import { escaped } from "./escaped";

/** Lines over rounds, as a chart in a file has them. */
export interface LineChart {
  /** What it shows, for a screen reader. */
  label: string;
  /** Where its points lie, along x; at least two, rising. */
  rounds: readonly number[];
  axis: string;
  /** Each with a CSS colour; a value that is null is passed over. */
  series: readonly { name: string; color: string; isDashed: boolean; values: readonly (number | null)[] }[];
  /** Fixed range of y; else it follows the values. */
  range?: readonly [number, number];
  format: (value: number) => string;
}

const [WIDTH, HEIGHT] = [640, 280];
/** Room for numbers that a narrow page shows larger: see file-page.ts. */
const MARGIN = { left: 64, right: 14, top: 12, bottom: 52 };
/** About so many lines across. */
const TICKS = 5;
/** More points than this would run into one another. */
const POINTS = 60;

/** Round numbers from `least` to `most`: steps of 1, 2 or 5 times a power of ten. */
export function ticksOf(least: number, most: number): number[] {
  const rough = (most - least) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10);
  const from = Math.ceil(least / step - 1e-9);
  const count = Math.floor(most / step + 1e-9) - from + 1;
  return Array.from({ length: count }, (_, i) => Number(((from + i) * step).toPrecision(12)));
}

/** A chart as one SVG element, which needs nothing beside it. */
export function svgChart({ label, rounds, axis, series, range, format }: LineChart): string {
  const known = series.flatMap(({ values }) => values.filter((value): value is number => value !== null));
  const [least, most] = range ?? bounds(known);
  const [first = 0, last = 1] = [rounds[0], rounds.at(-1)];
  const x = (round: number): string =>
    (MARGIN.left + ((round - first) / Math.max(1, last - first)) * (WIDTH - MARGIN.left - MARGIN.right)).toFixed(1);
  const y = (value: number): string =>
    (HEIGHT - MARGIN.bottom - ((value - least) / (most - least)) * (HEIGHT - MARGIN.top - MARGIN.bottom)).toFixed(1);
  const across = ticksOf(least, most).map(
    (tick) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
      `<text x="${MARGIN.left - 8}" y="${y(tick)}" dy="0.35em" text-anchor="end">${escaped(format(tick))}</text>`,
  );
  const below = ticksOf(first, last)
    .filter(Number.isInteger)
    .map((tick) => `<text x="${x(tick)}" y="${HEIGHT - MARGIN.bottom + 20}" text-anchor="middle">${tick}</text>`);
  const lines = series.map(({ color, isDashed, values }) => {
    const points = values.flatMap((value, i) => (value === null ? [] : [`${x(rounds[i] ?? 0)},${y(value)}`]));
    const dots = rounds.length > POINTS ? [] : points.map((point) => point.split(","));
    return (
      `<polyline points="${points.join(" ")}" stroke="${escaped(color)}"${isDashed ? ' stroke-dasharray="6 5"' : ""}/>` +
      dots.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3" fill="${escaped(color)}"/>`).join("")
    );
  });
  const middle = (MARGIN.left + WIDTH - MARGIN.right) / 2;
  return (
    `<svg role="img" aria-label="${escaped(label)}" viewBox="0 0 ${WIDTH} ${HEIGHT}" xmlns="http://www.w3.org/2000/svg">` +
    `${across.join("")}${below.join("")}` +
    `<text x="${middle}" y="${HEIGHT - 6}" text-anchor="middle">${escaped(axis)}</text>${lines.join("")}</svg>`
  );
}

/** What holds all values, and is not nothing. */
function bounds(values: readonly number[]): [number, number] {
  const least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(least < most)) return values.length === 0 ? [0, 1] : [least - 0.5, least + 0.5];
  const room = (most - least) * 0.05;
  return [least - room, most + room];
}
