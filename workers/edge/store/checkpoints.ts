import * as v from "valibot";
import {
  checkpointRecordSchema,
  checkpointSchema,
  rememberedVectorSchema,
  type Assignment,
  type CheckpointInfo,
  type CheckpointRecord,
} from "../../../src/federation/protocol";
import { flag, optionalJson, type Database } from "./database";
import type { SettingsTable } from "./settings";

export interface StoredCheckpoint extends CheckpointInfo {
  /** False for a random initialization. */
  trained: boolean;
  /** L2 norm of its weights; null where an older edge has not noted it. */
  norm: number | null;
  /** What the server of its round's strategy remembers since, as clients are told it. */
  remembered?: RememberedFile | undefined;
}

/** A file that goes with a version. */
export type RememberedFile = NonNullable<NonNullable<Assignment["remembered"]>["vector"]>;

/** How far back every tenth checkpoint is kept. */
const LONGEST = 1000;

const infoRow = v.pipe(
  v.object({
    version: v.number(),
    sha256: v.string(),
    bytes: v.number(),
    difference: optionalJson(v.unwrap(checkpointSchema.entries.difference)),
    light: optionalJson(v.unwrap(checkpointSchema.entries.light)),
  }),
  v.transform(({ difference, light, ...info }): CheckpointInfo => {
    return { ...info, ...(difference && { difference }), ...(light && { light }) };
  }),
);
const storedRow = v.intersect([infoRow, v.object({ trained: flag, norm: v.nullable(v.number()) })]);
const rememberedColumn = optionalJson(rememberedVectorSchema);
const disposableRow = v.intersect([infoRow, v.object({ remembered: rememberedColumn })]);
const recordRow = v.pipe(
  v.object({
    version: v.number(),
    sha256: v.string(),
    bytes: v.number(),
    status: checkpointRecordSchema.entries.status,
    round: v.nullable(v.number()),
    created_at: v.number(),
  }),
  v.transform(({ created_at: createdAt, ...row }) => ({ ...row, createdAt })),
);

/** Every version of a task's weights that there was; their files lie in R2. */
export class CheckpointTable {
  constructor(
    private readonly db: Database,
    private readonly settings: SettingsTable,
  ) {}

  /** The checkpoint that clients get: the last that was published, or what an administrator went back to. */
  current(): StoredCheckpoint | undefined {
    const chosen = this.settings.current ?? null;
    return this.db.first(
      storedRow,
      `SELECT version, sha256, bytes, difference, light, trained, norm FROM checkpoints
       WHERE status = 'published' AND (?1 IS NULL OR version = ?1) ORDER BY version DESC LIMIT 1`,
      chosen,
    );
  }

  get(version: number): CheckpointInfo {
    return this.db.one(
      infoRow,
      "SELECT version, sha256, bytes, difference, light FROM checkpoints WHERE version = ?",
      version,
    );
  }

  /** The latest thousand, the last one first. */
  list(): CheckpointRecord[] {
    const current = this.current()?.version;
    return this.db
      .all(
        recordRow,
        "SELECT version, sha256, bytes, status, round, created_at FROM checkpoints ORDER BY version DESC LIMIT 1000",
      )
      .map((record) => ({ ...record, current: record.version === current }));
  }

  add(
    { version, sha256, bytes, trained, difference, light, norm, remembered }: StoredCheckpoint,
    status: "published" | "candidate",
    round: number | null,
    now: number,
  ): void {
    this.db.run(
      `INSERT INTO checkpoints (version, sha256, bytes, created_at, trained, status, round, difference, light, norm, remembered)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[version, sha256, bytes, now, Number(trained), status, round],
      ...[difference ? JSON.stringify(difference) : null, light ? JSON.stringify(light) : null, norm],
      remembered ? JSON.stringify(remembered) : null,
    );
  }

  /** Forgets the first version, which another is to take the place of. */
  forgetFirst(): void {
    this.db.run("DELETE FROM checkpoints WHERE version = 0");
  }

  setStatus(version: number, status: CheckpointRecord["status"]): void {
    this.db.run("UPDATE checkpoints SET status = ? WHERE version = ?", status, version);
  }

  /** Whether a version has learned anything: it shipped with the app, or a round has made it. */
  isTrained(version: number): boolean {
    return this.db.exists("SELECT 1 FROM checkpoints WHERE version = ? AND trained = 1", version);
  }

  /** Whether the task began with random weights. */
  beganAtRandom(): boolean {
    return this.db.exists("SELECT 1 FROM checkpoints WHERE version = 0 AND trained = 0");
  }

  /** What the server of the strategy that made a version remembers since, as clients are told it; undefined where that is nothing. */
  rememberedOf(version: number): RememberedFile | undefined {
    const row = v.object({ remembered: rememberedColumn });
    return this.db.first(row, "SELECT remembered FROM checkpoints WHERE version = ?", version)?.remembered ?? undefined;
  }

  /** L2 norm of the weights of a version; null where nobody knows. */
  normOf(version: number): number | null {
    const row = v.object({ norm: v.nullable(v.number()) });
    return this.db.first(row, "SELECT norm FROM checkpoints WHERE version = ?", version)?.norm ?? null;
  }

  setNorm(version: number, norm: number): void {
    this.db.run("UPDATE checkpoints SET norm = ? WHERE version = ?", norm, version);
  }

  /** The number that the next checkpoint gets: no number is used twice, also after a rollback. */
  nextVersion(): number {
    return this.db.number("SELECT coalesce(max(version), -1) + 1 AS n FROM checkpoints");
  }

  /**
   * Files that the policy lets go: all but the first one, the last `keep`, every tenth of the last {@link LONGEST}, the current one,
   * and what a round starts from.
   */
  disposable(keep: number): (CheckpointInfo & { remembered?: RememberedFile | null | undefined })[] {
    return this.db.all(
      disposableRow,
      `SELECT version, sha256, bytes, difference, light, remembered FROM checkpoints WHERE status IN ('published', 'rejected')
       AND version > 0 AND (version % 10 != 0 OR version < (SELECT max(version) FROM checkpoints) - ?)
       AND version NOT IN (SELECT version FROM checkpoints WHERE status = 'published' ORDER BY version DESC LIMIT ?)
       AND version != ? AND version NOT IN
         (SELECT base FROM updates WHERE state = 'training' UNION SELECT base FROM rounds WHERE ended_at IS NULL)`,
      ...[LONGEST, keep, this.current()?.version ?? 0],
    );
  }
}
