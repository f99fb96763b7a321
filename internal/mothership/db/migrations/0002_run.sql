-- +goose Up
CREATE TABLE run (
    id            TEXT PRIMARY KEY,
    stack         TEXT NOT NULL REFERENCES stack (id),
    type          TEXT NOT NULL,
    blocking      BOOLEAN NOT NULL,
    state         TEXT NOT NULL,
    state_version BIGINT NOT NULL,
    state_at      BIGINT NOT NULL,
    branch        TEXT NOT NULL,
    commit_data   TEXT NOT NULL, -- JSON of wire.Commit
    command       TEXT NOT NULL DEFAULT '',
    skip_init     BOOLEAN NOT NULL DEFAULT FALSE,
    targets       TEXT NOT NULL DEFAULT '[]',
    title         TEXT NOT NULL,
    triggered_by  TEXT NOT NULL DEFAULT '',
    metadata      TEXT NOT NULL DEFAULT '[]', -- append-only
    prioritized   BOOLEAN NOT NULL DEFAULT FALSE,
    pool          TEXT, -- set when it becomes schedulable
    sort_key      BIGINT NOT NULL DEFAULT 0, -- computed once, when schedulable
    attempt       BIGINT NOT NULL DEFAULT 0, -- newest attempt
    lost          BIGINT NOT NULL DEFAULT 0, -- how often it was lost while reading
    phase         TEXT NOT NULL DEFAULT '',
    delta         TEXT NOT NULL DEFAULT '',
    changes       TEXT NOT NULL DEFAULT '',
    outputs       TEXT NOT NULL DEFAULT '',
    reason        TEXT NOT NULL DEFAULT '',
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX run_stack ON run (stack, id);
CREATE INDEX run_schedulable ON run (pool, sort_key, id) WHERE state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED');
CREATE INDEX run_queued ON run (stack, blocking, id) WHERE state = 'QUEUED';
CREATE INDEX run_waiting ON run (stack, sort_key) WHERE state IN ('READY', 'CONFIRMED', 'REPLAN_REQUESTED');
CREATE INDEX run_unconfirmed ON run (state_at) WHERE state = 'UNCONFIRMED';
-- One blocking run a stack has left the queue and not ended.
CREATE UNIQUE INDEX run_blocker ON run (stack) WHERE blocking AND state NOT IN ('QUEUED', 'FINISHED', 'FAILED', 'DISCARDED', 'CANCELED', 'STOPPED', 'SKIPPED');

CREATE TABLE run_history (
    run           TEXT NOT NULL REFERENCES run (id),
    state_version BIGINT NOT NULL,
    state         TEXT NOT NULL,
    at            BIGINT NOT NULL,
    actor         TEXT NOT NULL,
    note          TEXT NOT NULL,
    PRIMARY KEY (run, state_version)
);

CREATE TABLE attempt (
    run         TEXT NOT NULL REFERENCES run (id),
    attempt     BIGINT NOT NULL,
    stack       TEXT NOT NULL,
    pool        TEXT NOT NULL,
    worker      TEXT NOT NULL REFERENCES worker (id),
    class       TEXT NOT NULL,
    live        BOOLEAN NOT NULL,
    from_version BIGINT NOT NULL, -- the run's state version at its assignment: its logs begin there
    assigned_at BIGINT NOT NULL,
    accepted_at BIGINT,
    container   TEXT NOT NULL DEFAULT '', -- of the newest recorded start
    started_at  BIGINT,                   -- of that container
    timeout_ms  BIGINT NOT NULL DEFAULT 0, -- run timeout that its launcher keeps; 0: unknown
    wrote       BOOLEAN NOT NULL DEFAULT FALSE, -- a writing container was started
    beat        BIGINT NOT NULL DEFAULT 0,
    stop        TEXT NOT NULL DEFAULT '', -- '' | interrupt | kill: desired state
    stop_reason TEXT NOT NULL DEFAULT '',
    stop_actor  TEXT NOT NULL DEFAULT '',
    decision    TEXT NOT NULL DEFAULT '', -- JSON: the last outcome's container and answer, for repeats
    ended_at    BIGINT,
    end_reason  TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run, attempt)
);
CREATE UNIQUE INDEX attempt_run ON attempt (run) WHERE live;
CREATE UNIQUE INDEX attempt_worker ON attempt (worker) WHERE live;

CREATE TABLE run_log (
    run           TEXT NOT NULL REFERENCES run (id),
    state_version BIGINT NOT NULL,
    bytes         BIGINT NOT NULL DEFAULT 0, -- committed
    total         BIGINT,                    -- set by the close
    sha256        TEXT NOT NULL DEFAULT '',
    lost          BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (run, state_version)
);

CREATE TABLE run_log_chunk (
    run           TEXT NOT NULL REFERENCES run (id),
    state_version BIGINT NOT NULL,
    log_offset    BIGINT NOT NULL,
    length        BIGINT NOT NULL,
    sha256        TEXT NOT NULL,
    object        TEXT NOT NULL,
    PRIMARY KEY (run, state_version, log_offset)
);

-- What a run leaves for later: sealed workspaces.
CREATE TABLE parked (
    run        TEXT NOT NULL REFERENCES run (id),
    stack      TEXT NOT NULL REFERENCES stack (id),
    sequence   BIGINT NOT NULL, -- of the stack's workspaces
    attempt    BIGINT NOT NULL,
    object     TEXT NOT NULL,
    statement  BYTEA NOT NULL,
    signature  BYTEA NOT NULL,
    digest     TEXT NOT NULL, -- of the statement
    ciphertext TEXT NOT NULL,
    size       BIGINT NOT NULL,
    recipients TEXT NOT NULL, -- JSON array of fingerprints
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    PRIMARY KEY (run, sequence)
);
CREATE UNIQUE INDEX parked_stack ON parked (stack, sequence);
CREATE INDEX parked_kept ON parked (run) WHERE removed_at IS NULL;

-- What an attempt was asked to upload and has not parked: removed once it has
-- ended and no URL for it is good any more.
CREATE TABLE upload (
    object  TEXT PRIMARY KEY,
    run     TEXT NOT NULL,
    attempt BIGINT NOT NULL
);

-- States, current and past, and recovery versions.
CREATE TABLE state (
    id         TEXT PRIMARY KEY,
    stack      TEXT NOT NULL REFERENCES stack (id),
    sequence   BIGINT NOT NULL,
    base       BIGINT NOT NULL,
    run        TEXT NOT NULL,
    attempt    BIGINT NOT NULL,
    write_id   TEXT NOT NULL,
    mode       TEXT NOT NULL,
    object     TEXT NOT NULL,
    digest     TEXT NOT NULL, -- sha256:<hex> of the bytes as written
    size       BIGINT NOT NULL,
    statement  BYTEA,
    signature  BYTEA,
    statement_digest TEXT NOT NULL DEFAULT 'none',
    recipients TEXT NOT NULL DEFAULT '[]', -- JSON array of fingerprints, from the statement
    recovery   BOOLEAN NOT NULL DEFAULT FALSE,
    reason     TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    UNIQUE (run, write_id)
);
CREATE UNIQUE INDEX state_current ON state (stack, sequence) WHERE NOT recovery;

-- The stack's state lock, held by a write attempt from its start; the tool's own
-- lock nests inside it.
CREATE TABLE state_lock (
    stack       TEXT PRIMARY KEY REFERENCES stack (id),
    run         TEXT NOT NULL,
    attempt     BIGINT NOT NULL,
    tool_lock   TEXT NOT NULL DEFAULT '',
    tool_info   TEXT NOT NULL DEFAULT '',
    held_at     BIGINT NOT NULL,
    -- Set after a loss while writing: no new writer until it ends.
    quarantined_at BIGINT,
    quarantine_until BIGINT
);

CREATE TABLE stack_output (
    stack      TEXT NOT NULL REFERENCES stack (id),
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    sensitive  BOOLEAN NOT NULL,
    run        TEXT NOT NULL,
    PRIMARY KEY (stack, name)
);

-- +goose Down
