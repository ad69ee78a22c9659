import type { PictureKind } from "../data/own-labels";
import { exportRun, type LabExport } from "../simulation/export";
import { isTimed, stalenessOf } from "../simulation/durations";
import type { LabRound } from "../simulation/simulation";
import { filePage, type Part } from "../ui/file-page";
import { d } from "../ui/i18n/developer";
import { bytesText, durationText, language, numberText, shareText, t, tickText } from "../ui/i18n/language.svelte";
import { labelsOf } from "./labels";
import type { RunRecord } from "./store";

const share = (value: number | null | undefined): string => (typeof value === "number" ? shareText(value, 1) : "–");
const loss = (value: number | null | undefined): string => (typeof value === "number" ? numberText(value, 3) : "–");

/** How far the clients' models are from one another, where they gossip; "" where they do not. */
export function spreadText({ rounds }: Pick<RunRecord, "rounds">): string {
  const spread = rounds.findLast((round) => round.spread)?.spread;
  if (!spread) return "";
  const { deviation, least, most } = spread;
  return d("run.spread", { deviation: share(deviation), least: share(least), most: share(most) });
}

/** How much simulated time a run has taken; "" where that says no more than its rounds. */
export function simulatedText({ config, rounds }: Pick<RunRecord, "config" | "rounds">): string {
  const time = rounds.at(-1)?.time;
  return time === undefined || !isTimed(config) ? "" : d("run.simulated", { time: durationText(time) });
}

/** How many versions the updates of an asynchronous round were behind, on average. */
export function behindText(round: LabRound): string {
  const behind = stalenessOf(round);
  return behind === null ? "–" : numberText(behind, 1);
}

type Key = "testLoss" | "testAccuracy" | "trainLoss" | "trainAccuracy";

/** Test and training over the rounds, and the test over simulated time; nothing of a run too short for a line. */
function charts({ rounds, config }: RunRecord): Part[] {
  if (rounds.length < 2) return [];
  const values = (key: Key): (number | null)[] => rounds.map((one) => one[key]);
  const pair = (test: Key, train: Key) => [
    { name: d("run.test"), color: "var(--curtain)", isDashed: false, values: values(test) },
    { name: d("run.training"), color: "var(--soft)", isDashed: true, values: values(train) },
  ];
  const shared = { rounds: rounds.map(({ round }) => round), axis: d("charts.round") };
  const times = rounds.flatMap(({ time }) => time ?? []);
  const overTime: Part = {
    kind: "chart",
    title: d("charts.accuracyOverTime"),
    chart: {
      rounds: times,
      axis: d("charts.timeAxis"),
      label: d("charts.accuracyByTime"),
      series: pair("testAccuracy", "trainAccuracy").slice(0, 1),
      range: [0, 1],
      format: shareText,
    },
  };
  return [
    {
      kind: "chart",
      title: d("charts.accuracy"),
      chart: {
        ...shared,
        label: d("charts.accuracyByRound"),
        series: pair("testAccuracy", "trainAccuracy"),
        range: [0, 1],
        format: shareText,
      },
    },
    {
      kind: "chart",
      title: d("charts.loss"),
      chart: {
        ...shared,
        label: d("charts.lossByRound"),
        series: pair("testLoss", "trainLoss"),
        format: tickText,
      },
    },
    ...(isTimed(config) && times.length === rounds.length ? [overTime] : []),
  ];
}

interface Shown {
  isAttacked: boolean;
  hasSpread: boolean;
  isLate: boolean;
}

const roundRow = (one: LabRound, { isAttacked, hasSpread, isLate }: Shown): string[] => [
  numberText(one.round),
  d("run.clientsOf", { number: one.cohort.length - one.left, cohort: one.cohort.length }),
  loss(one.trainLoss),
  share(one.trainAccuracy),
  loss(one.testLoss),
  share(one.testAccuracy),
  ...(hasSpread ? [share(one.spread?.deviation)] : []),
  ...(isAttacked ? [share(one.attackSuccess)] : []),
  ...(isLate ? [behindText(one)] : []),
  one.time === undefined ? "–" : numberText(one.time, 0),
  numberText(one.seconds, 1),
  one.published ? d("run.published") : d("run.rejected"),
];

/** Which code made which rounds, a row for each. */
function commitRows(commits: LabExport["commits"]): string[][] {
  if (commits.length === 0) return [[d("run.page.commit"), d("run.page.unknown")]];
  return commits.map(({ fromRound, commit }) => [
    commits.length === 1 ? d("run.page.commit") : d("run.page.commitFrom", { round: numberText(fromRound) }),
    commit ?? d("run.page.unknown"),
  ]);
}

/** What pictures of somebody's own are: width, height and channels, and their labels in order. */
const kindText = ({ input: { width, height, channels }, labels }: PictureKind): string =>
  `${width} x ${height} x ${channels}: ${labels.join(", ")}`;

/** A run as one HTML file, in the language of the page. */
export function runPage(run: RunRecord): string {
  const { config, rounds, columns, evaluation, on, ended } = run;
  const { data, privacy, commits } = exportRun(config, run);
  const total = (key: "bytesUp" | "bytesDown" | "seconds"): number => rounds.reduce((sum, one) => sum + one[key], 0);
  const shown: Shown = {
    isAttacked: rounds.some(({ attackSuccess }) => typeof attackSuccess === "number"),
    hasSpread: rounds.some(({ spread }) => spread !== undefined),
    isLate: config.mode === "async",
  };
  const partition = d(`fields.partition.options.${config.partition}`);
  const cost = {
    count: rounds.length,
    down: bytesText(total("bytesDown")),
    up: bytesText(total("bytesUp")),
    time: durationText(total("seconds")),
  };
  const said = [
    d("run.federation", { count: config.clients, partition, seed: config.seed }),
    d("run.cost", cost),
    on ? d("run.on", { on }) : "",
    simulatedText(run),
    ended
      ? d(`run.ends.${ended}`)
      : d("run.page.unfinished", { round: numberText(rounds.length), rounds: numberText(config.rounds) }),
  ];
  const result = evaluation && {
    examples: numberText(evaluation.examples),
    accuracy: share(evaluation.accuracy),
    loss: loss(evaluation.loss),
  };
  const noise = privacy && { epsilon: numberText(privacy.epsilon, 2), delta: privacy.delta.toExponential(1) };
  const texts = [
    said.filter(Boolean).join(" "),
    result ? d("run.result", result) : "",
    spreadText(run),
    noise ? d("run.page.epsilon", noise) : "",
  ];
  const parts: Part[] = [...texts.filter(Boolean).map((text): Part => ({ kind: "text", text })), ...charts(run)];
  if (columns.length > 0) {
    const head = ["model", "testAccuracy", "testLoss", "ownAccuracy", "ownLoss"] as const;
    parts.push({
      kind: "table",
      caption: d("run.comparison"),
      head: head.map((key) => d(`run.columns.${key}`)),
      rows: columns.map(({ name, test, own }) => [
        d(`run.models.${name}`),
        ...[test, own].flatMap((one) => [share(one?.accuracy), loss(one?.loss)]),
      ]),
    });
  }
  if (evaluation) {
    const names = labelsOf(config.dataset, run.kind);
    parts.push({
      kind: "table",
      caption: `${d("run.confusion")}. ${d("run.confusionHelp")}`,
      head: [t("train.shown"), ...names],
      rows: names.map((name, i) => [name, ...(evaluation.confusion[i] ?? []).map((count) => numberText(count))]),
    });
  }
  const head = [
    ...(["round", "clients", "trainLoss", "trainAccuracy", "testLoss", "testAccuracy"] as const),
    ...(shown.hasSpread ? (["spread"] as const) : []),
    ...(shown.isAttacked ? (["attack"] as const) : []),
    ...(shown.isLate ? (["staleness"] as const) : []),
    ...(["time", "seconds", "candidate"] as const),
  ];
  parts.push(
    {
      kind: "table",
      caption: d("run.rounds"),
      head: head.map((key) => d(`run.columns.${key}`)),
      rows: rounds.map((one) => roundRow(one, shown)),
    },
    {
      kind: "table",
      caption: d("run.page.origin"),
      head: [d("run.page.what"), d("run.page.value")],
      rows: [
        ...commitRows(commits),
        [d("run.page.data"), data ?? d("run.page.unknown")],
        ...(run.kind ? [[d("run.page.pictures"), kindText(run.kind)]] : []),
        [d("run.page.begun"), new Date(run.createdAt).toISOString()],
      ],
    },
    { kind: "code", caption: d("run.page.configuration"), text: JSON.stringify(config, null, 1) },
  );
  const direction = document.documentElement.dir === "rtl" ? "rtl" : "ltr";
  return filePage({ language: language.current, direction, title: config.name, parts });
}
