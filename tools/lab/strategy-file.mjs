/** Strategies of people's own: `--strategy ./mine.ts`. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { runnerImport } from "vite";

/** Some data or a file cannot be used; its message says what to do. */
export class DataError extends Error {
  name = "DataError";
}

/** Whether a strategy is named by its file, and not by the name of a built-in one. */
export const isFile = (strategy) => /\.(ts|js|mjs)$/.test(strategy ?? "");

/** The strategy that a file exports. @throws DataError */
export async function strategyFrom(file) {
  if (!existsSync(file)) throw new DataError(`--strategy: there is no ${file}.`);
  let exported;
  try {
    exported = (await runnerImport(resolve(file), { logLevel: "silent" })).module;
  } catch (error) {
    const place = error.loc ? `:${error.loc.line}:${error.loc.column}` : "";
    throw new DataError(`${file}${place} cannot be loaded: ${error.message}`);
  }
  const found = Object.values(exported).find((one) => one?.name && one.client && one.server?.aggregate && one.wire);
  if (found) return found;
  throw new DataError(
    `${file} exports no strategy: an object with name, client, server (with aggregate) and wire. The shortest is src/federation/strategies/fedavg.ts.`,
  );
}
