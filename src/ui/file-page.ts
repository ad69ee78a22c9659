import { escaped } from "./escaped";
import { svgChart, type LineChart } from "./svg-chart";

/** A page that is one file: no scripts, nothing that it loads, and everything in it is text or drawn by us. */

export type Part =
  | { kind: "text"; text: string }
  | { kind: "chart"; title: string; chart: LineChart }
  /** The first cell of a row says what the others are of. */
  | { kind: "table"; caption: string; head: readonly string[]; rows: readonly (readonly string[])[] }
  | { kind: "code"; caption: string; text: string };

export interface FilePage {
  language: string;
  direction: "ltr" | "rtl";
  title: string;
  parts: readonly Part[];
}

const STYLE = `
:root { color-scheme: light dark; --ink: #21101a; --soft: #6a5560; --line: #dccdd3; --house: #f8f3f4; --curtain: #a80f2f;
  --good: #1c6b3a; --limelight: #8a6d00; font-family: system-ui, sans-serif; line-height: 1.5; background: var(--house); color: var(--ink); }
@media (prefers-color-scheme: dark) { :root { --ink: #fbeef2; --soft: #c2a9b4; --line: #46303b; --house: #150b11; --curtain: #ff7088;
  --good: #7fd69c; --limelight: #ffcf33; } }
body { max-width: 64rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 3vw, 2rem); overflow-wrap: break-word; }
figure { margin: 1.5rem 0; }
figcaption, caption { padding-block-end: 0.4rem; color: var(--soft); text-align: start; }
figcaption span { display: inline-flex; align-items: center; gap: 0.4rem; margin-inline-end: 1rem; }
i { width: 1.4rem; border-block-start: 3px solid; }
i.dashed { border-block-start-style: dashed; }
svg { display: block; width: 100%; height: auto; direction: ltr; }
svg text { fill: var(--soft); font-size: 13px; }
@media (max-width: 40rem) { svg text { font-size: 20px; } }
svg polyline { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
svg .grid { stroke: var(--line); }
div { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-block-end: 1px solid var(--line); text-align: start; }
pre { overflow-x: auto; padding: 0.8rem; border: 1px solid var(--line); direction: ltr; text-align: left; }
`;

const key = ({ name, color, isDashed }: LineChart["series"][number]): string =>
  `<span><i${isDashed ? ' class="dashed"' : ""} style="color: ${escaped(color)}"></i>${escaped(name)}</span>`;

function html(part: Part): string {
  switch (part.kind) {
    case "text":
      return `<p>${escaped(part.text)}</p>`;
    case "chart":
      return `<figure><figcaption><strong>${escaped(part.title)}</strong><br>${part.chart.series.map(key).join("")}</figcaption>${svgChart(part.chart)}</figure>`;
    case "table": {
      const head = part.head.map((cell) => `<th scope="col">${escaped(cell)}</th>`).join("");
      const rows = part.rows.map(([first = "", ...others]) => {
        const cells = others.map((cell) => `<td>${escaped(cell)}</td>`).join("");
        return `<tr><th scope="row">${escaped(first)}</th>${cells}</tr>`;
      });
      return (
        `<div tabindex="0" role="region" aria-label="${escaped(part.caption)}"><table><caption>${escaped(part.caption)}</caption>` +
        `<thead><tr>${head}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>`
      );
    }
    case "code":
      return `<h2>${escaped(part.caption)}</h2><pre tabindex="0">${escaped(part.text)}</pre>`;
  }
}

/** The file. Its policy has a browser refuse what is not its own style, whatever should get into it. */
export const filePage = ({ language, direction, title, parts }: FilePage): string =>
  `<!doctype html>
<html lang="${escaped(language)}" dir="${direction}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1 dir="auto">${escaped(title)}</h1>
${parts.map(html).join("\n")}
</main>
</body>
</html>
`;
