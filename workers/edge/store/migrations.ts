/** What each version of the tables adds to the one before. Append, never change: a deployment may come from any version. */
export const MIGRATIONS = [
  `
  CREATE TABLE IF NOT EXISTS checkpoints (
    version INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS rounds (
    number INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, config TEXT NOT NULL,
    base INTEGER NOT NULL REFERENCES checkpoints, checkpoint INTEGER REFERENCES checkpoints,
    opened_at INTEGER NOT NULL, training_at INTEGER, deadline INTEGER, ended_at INTEGER, reason TEXT,
    cleaned INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE IF NOT EXISTS waiting (
    client TEXT PRIMARY KEY, label TEXT NOT NULL, examples INTEGER NOT NULL, seen_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS updates (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, client TEXT NOT NULL, label TEXT NOT NULL,
    state TEXT NOT NULL, assigned_at INTEGER NOT NULL, uploaded_at INTEGER, queued_at INTEGER,
    digest TEXT, bytes INTEGER NOT NULL DEFAULT 0, metadata TEXT, shard INTEGER, UNIQUE (round, client));
  CREATE TABLE IF NOT EXISTS refusals (
    round INTEGER NOT NULL REFERENCES rounds, code TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (round, code));
`,
  `
  ALTER TABLE checkpoints ADD COLUMN trained INTEGER NOT NULL DEFAULT 1;
  UPDATE checkpoints SET trained = 0 WHERE version = 0;
`,
  `
  ALTER TABLE checkpoints ADD COLUMN status TEXT NOT NULL DEFAULT 'published';
  ALTER TABLE checkpoints ADD COLUMN round INTEGER;
  ALTER TABLE rounds ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE rounds ADD COLUMN select_at INTEGER;
  ALTER TABLE rounds ADD COLUMN evaluate_until INTEGER;
  CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  CREATE TABLE evaluations (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, client TEXT NOT NULL, asked_at INTEGER NOT NULL,
    result TEXT, UNIQUE (round, client));
  CREATE TABLE updates_3 (
    id TEXT PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds, assigned_round INTEGER NOT NULL REFERENCES rounds,
    base INTEGER NOT NULL REFERENCES checkpoints, client TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL,
    assigned_at INTEGER NOT NULL, uploaded_at INTEGER, queued_at INTEGER, digest TEXT, bytes INTEGER NOT NULL DEFAULT 0,
    metadata TEXT, norm REAL, data_start INTEGER, staleness INTEGER NOT NULL DEFAULT 0, shard INTEGER, reason TEXT,
    UNIQUE (assigned_round, client));
  INSERT INTO updates_3 (id, round, assigned_round, base, client, label, state, assigned_at, uploaded_at, queued_at, digest,
    bytes, metadata, shard)
    SELECT u.id, u.round, u.round, r.base, u.client, u.label, u.state, u.assigned_at, u.uploaded_at, u.queued_at, u.digest,
    u.bytes, u.metadata, u.shard FROM updates u JOIN rounds r ON r.number = u.round;
  DROP TABLE updates;
  ALTER TABLE updates_3 RENAME TO updates;
  CREATE INDEX updates_by_round ON updates (round, state);
`,
  `
  ALTER TABLE rounds ADD COLUMN hubs TEXT NOT NULL DEFAULT '[]';
`,
  // Updates lie decoded in the store from here on: those of an open round lie there in the old form.
  `
  UPDATE rounds SET state = 'abandoned', reason = 'The edge was updated.', ended_at = opened_at WHERE ended_at IS NULL;
  UPDATE updates SET state = 'dropped' WHERE state IN ('training', 'uploaded');
  ALTER TABLE updates DROP COLUMN data_start;
  ALTER TABLE checkpoints ADD COLUMN difference TEXT;
  ALTER TABLE rounds ADD COLUMN facts TEXT;
`,
  `
  CREATE TABLE nonces (client TEXT NOT NULL, nonce TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (client, nonce));
  CREATE INDEX nonces_by_time ON nonces (until);
`,
  `
  ALTER TABLE rounds ADD COLUMN plateau TEXT;
`,
  `
  CREATE INDEX waiting_by_time ON waiting (seen_at);
`,
  `
  ALTER TABLE rounds ADD COLUMN totals TEXT;
  ALTER TABLE rounds ADD COLUMN aggregating_at INTEGER;
  ALTER TABLE updates ADD COLUMN claimed INTEGER;
  ALTER TABLE checkpoints ADD COLUMN norm REAL;
  CREATE INDEX rounds_by_end ON rounds (ended_at);
  CREATE INDEX rounds_to_clean ON rounds (cleaned);
  DELETE FROM settings WHERE key LIKE 'admin-failures/%';
`,
  `
  ALTER TABLE rounds ADD COLUMN dreams TEXT;
`,
  `
  ALTER TABLE checkpoints ADD COLUMN light TEXT;
`,
  `
  CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, round INTEGER, detail TEXT NOT NULL);
  CREATE TABLE notes (round INTEGER PRIMARY KEY, note TEXT NOT NULL);
`,
  `
  ALTER TABLE rounds ADD COLUMN drawn_from INTEGER;
`,
  `
  ALTER TABLE updates ADD COLUMN cosine REAL;
`,
  `
  ALTER TABLE checkpoints ADD COLUMN remembered TEXT;
`,
];
