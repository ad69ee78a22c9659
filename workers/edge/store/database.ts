import * as v from "valibot";
import { MIGRATIONS } from "./migrations";

/** A stored row is not what its table holds. */
export class RowError extends Error {
  override readonly name = "RowError";
}

/**
 * A task's SQLite. Whatever is read comes through here and is checked against the schema of its row, once: all behind it can rely on
 * its type. Everything is synchronous, so that what belongs together can be one transaction.
 */
export class Database {
  constructor(private readonly sql: SqlStorage) {}

  /** Brings the tables from any earlier version to this one. */
  migrate(): void {
    this.sql.exec("CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY)");
    const done = this.one(v.object({ n: v.number() }), "SELECT count(*) AS n FROM migrations").n;
    MIGRATIONS.slice(done).forEach((migration, i) => {
      this.sql.exec(migration);
      this.sql.exec("INSERT INTO migrations VALUES (?)", done + i + 1);
    });
  }

  /** @throws RowError */
  all<S extends v.GenericSchema>(row: S, query: string, ...values: SqlStorageValue[]): v.InferOutput<S>[] {
    return this.sql
      .exec(query, ...values)
      .toArray()
      .map((found) => {
        const parsed = v.safeParse(row, found);
        if (parsed.success) return parsed.output;
        throw new RowError(`${v.summarize(parsed.issues)} in what this found: ${query}`);
      });
  }

  /** The only row, or the first; undefined where there is none. @throws RowError */
  first<S extends v.GenericSchema>(row: S, query: string, ...values: SqlStorageValue[]): v.InferOutput<S> | undefined {
    return this.all(row, query, ...values)[0];
  }

  /** @throws RowError where there is none, too */
  one<S extends v.GenericSchema>(row: S, query: string, ...values: SqlStorageValue[]): v.InferOutput<S> {
    const found = this.all(row, query, ...values);
    const [first] = found;
    if (found.length !== 1 || first === undefined) throw new RowError(`${found.length} rows, not one: ${query}`);
    return first;
  }

  /** The only number of the only row. */
  number(query: string, ...values: SqlStorageValue[]): number {
    return this.one(v.record(v.string(), v.number()), query, ...values)["n"] ?? 0;
  }

  exists(query: string, ...values: SqlStorageValue[]): boolean {
    return this.sql.exec(query, ...values).toArray().length > 0;
  }

  /** Writes. @returns rows that were written, those of indexes too */
  run(query: string, ...values: SqlStorageValue[]): number {
    return this.sql.exec(query, ...values).rowsWritten;
  }
}

/** A column that holds JSON of this kind. */
export const json = <S extends v.GenericSchema>(schema: S) => v.pipe(v.string(), v.parseJson(), schema);

/**
 * The same of what is only shown, or can be done without: null where there is none, or where an older edge wrote something else. What
 * was stored once must never close a task.
 */
export const optionalJson = <S extends v.GenericSchema>(schema: S) => v.fallback(v.nullable(json(schema)), null);

/** A column that says yes or no. */
export const flag = v.pipe(
  v.number(),
  v.transform((value) => value === 1),
);

export const time = v.nullable(v.number());
