/** Labelled pictures of anything from a file or a folder, for the lab and for clients without a browser. */
import { examplesIn, fail, leftOut, pictureOf, readers } from "./faces.mjs";

/** Sizes of pictures, and labels, that are told in full. */
const TOLD = { sizes: 6, labels: 40 };

/** What says how pictures of somebody's own are to be read, for `optionsOf`. */
export const OWN_OPTIONS = {
  labels: { type: "string" },
  size: { type: "string" },
  channels: { type: "string" },
  column: { type: "string" },
  client: { type: "string" },
};

/**
 * What the options say, as {@link picturesIn} takes it: --labels cat,dog or 1=cat,2=dog, in the case that the data have; --size 48x32, width
 * and height; --channels 1 or 3; --column NAME; --client NAME.
 * @param {{ labels?: string, size?: string, channels?: string, column?: string, client?: string }} options
 */
export function ownReadingOf({ labels, size, channels, column, client }) {
  const [, width, height] = /^(\d+)x(\d+)$/i.exec(size ?? "") ?? [];
  if (size !== undefined && !width) fail(`--size ${size}: write it as 48x32, width and height in pixels.`);
  if (channels !== undefined && !/^[13]$/.test(channels)) {
    fail(`--channels ${channels}: choose 1 for grey levels or 3 for colour.`);
  }
  return {
    labels: labels === undefined ? null : namesOf(labels),
    size: size === undefined ? null : { width: Number(width), height: Number(height) },
    channels: channels === undefined ? null : Number(channels),
    column: column ?? null,
    client: client ?? null,
  };
}

function namesOf(text) {
  const pairs = text.split(",").map((pair) => {
    const [word, name = word, ...more] = pair.split("=").map((part) => part.trim());
    if (!word || !name || more.length > 0) fail(`--labels ${pair}: write it as cat,dog or as 1=cat,2=dog.`);
    return [word, name];
  });
  return new Map(pairs);
}

/**
 * Labelled pictures of a file or folder, whatever their labels and sizes, as `{ kind, samples }`: each sample is [label, pixels, usage,
 * client], as facesOf of faces.mjs gives them. It reads what that reads: a CSV with a picture in one cell of each line, or in a column for each
 * number, plain, packed or alone in a zip or folder; a zip or folder of pictures in one folder for each label, or of IDX files. What each label was taken for is told.
 * @param {string} path
 * @param {ReturnType<typeof ownReadingOf>} said
 * @param {{ labels: string[], input: { height: number, width: number, channels: number } } | null} kind what a task takes, where it is for one
 */
export async function picturesIn(path, said, kind = null) {
  const modules = await readers();
  const words = new modules.OwnLabels(said.labels, kind?.labels);
  const given = kind?.input ?? said.size;
  const problem = given && modules.whyNoSize(given);
  if (problem) fail(`--size: ${problem}`);
  /** Of all pictures: said, or what all of them have. */
  let size = given;
  let csv;
  const ownCsv = { labels: words, column: said.column, size: given };
  const reading = {
    modules,
    words,
    csv: () => (csv = new modules.FerCsvReader(words, ownCsv, said.client)),
    client: said.client,
    column: said.column,
    isLabel: (word) => word !== "",
    areFaces: false,
    survey: async (pictures) => {
      size ??= await sizeOfAll(path, pictures, modules);
    },
    picture: async (bytes) => (await pictureOf(bytes, size)).data,
    idx: (shape) => {
      const problem = modules.whyNoSize(shape);
      if (problem) throw new modules.OwnDataError(problem);
      if (given && (given.width !== shape.width || given.height !== shape.height)) {
        const is = `${shape.width} x ${shape.height}, and not ${given.width} x ${given.height}`;
        throw new modules.OwnDataError(`Its pictures are ${is}: IDX files have the size that they have.`);
      }
      csv = { shape };
    },
    whyNot: (word) => words.why(word),
  };
  const samples = [];
  const report = leftOut(path);
  try {
    for await (const found of examplesIn(path, reading)) if (!report(found)) samples.push(found);
  } catch (error) {
    if (!(error instanceof modules.OwnDataError)) throw error;
    const how = {
      size: given ? "" : " Write it as --size 48x32, width and height.",
      column: " Write it as --column NAME.",
    };
    fail(`${path}: ${error.message}${how[error.asks] ?? ""}`);
  }
  report();
  if (samples.length === 0) fail(`${path} holds no picture that could be used.`);
  const { height, width } = csv?.shape ?? size;
  /** Numbers of a pixel as they were read: pictures come in colour. */
  const from = csv?.shape ? csv.shape.channels : 3;
  const isColoured = from === 3 && samples.some(([, pixels]) => modules.hasColour(pixels));
  const channels = kind?.input.channels ?? said.channels ?? (isColoured ? 3 : 1);
  let order;
  try {
    order = words.finish();
  } catch (error) {
    if (!(error instanceof modules.OwnDataError)) throw error;
    fail(`${path}: ${error.message}`);
  }
  for (const sample of samples) {
    sample[0] = order.places[sample[0]];
    sample[1] = modules.inChannels(sample[1], from, channels);
  }
  const meaning = ({ word, name, count }) => `${word || "(none)"} = ${name ?? "left out"} (${count})`;
  const column = csv?.column ? ` of the column ${csv.column}` : "";
  const { table, alike } = words;
  const meanings = table.slice(0, TOLD.labels).map(meaning);
  if (table.length > TOLD.labels) meanings.push(`and ${table.length - TOLD.labels} more`);
  console.error(
    `${path}: ${samples.length} pictures of ${width} x ${height} ${channels === 3 ? "in colour" : "in grey"}; ` +
      `labels${column} taken as ${meanings.join(", ")}.`,
  );
  const others = given ? [] : shapesThatMayBe(csv, modules);
  if (others.length > 0) {
    const could = modules.shapesInWords(others);
    console.error(
      `${path}: ${csv.numbers} numbers may also be ${could}: if so, say it as --size ${sizeText(others[0])}.`,
    );
  }
  if (alike.length > 0) {
    const [[first, second]] = alike;
    console.error(
      `${path}: labels that differ only in case are told apart (${alike.map((group) => group.join(", ")).join("; ")}): ` +
        `if they are the same, say with --labels what each label is, as ${first}=${second},${second} and so on.`,
    );
  }
  return { kind: { labels: order.labels, input: { height, width, channels } }, samples };
}

const sizeText = ({ width, height }) => `${width}x${height}`;

/** What a CSV's pictures may be besides the square for which they were taken: nothing that is over twice as long as it is wide. */
function shapesThatMayBe(csv, { shapesOfNumbers }) {
  if (!csv?.numbers) return [];
  const isOther = ({ width, height }) => width !== csv.shape.width || height !== csv.shape.height;
  const isLikely = ({ width, height }) => Math.max(width, height) <= 2 * Math.min(width, height);
  return shapesOfNumbers(csv.numbers).filter((shape) => isOther(shape) && isLikely(shape));
}

/** The size that all pictures have. */
async function sizeOfAll(path, pictures, { SIDE, whyNoSize }) {
  const { default: sharp } = await import("sharp");
  const counts = new Map();
  for (const { whole } of pictures) {
    try {
      const { width, height, orientation = 1 } = await sharp(await whole()).metadata();
      // From 5 on a photograph lies on its side.
      const key = orientation >= 5 ? `${height}x${width}` : `${width}x${height}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    } catch {
      // It is named when it is read.
    }
  }
  const all = [...counts].sort(([, a], [, b]) => b - a);
  const [[only] = [], ...others] = all;
  const [width, height] = (only ?? "").split("x").map(Number);
  if (only && others.length === 0 && !whyNoSize({ width, height })) return { width, height };
  if (!only) return { width: SIDE.least, height: SIDE.least };
  const seen = all.slice(0, TOLD.sizes).map(([key, count]) => `${key} (${count})`);
  if (all.length > TOLD.sizes) seen.push(`${all.length - TOLD.sizes} more`);
  fail(
    `${path}: its pictures have ${others.length > 0 ? "different sizes" : "one size that is not taken"}, ${seen.join(", ")}: ` +
      `say to which they are brought, each side ${SIDE.least} to ${SIDE.most} pixels, as --size 48x32, width and height.`,
  );
}
