-- +goose Up
-- Keys and settings of the installation; secret values are wrapped.
CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE space (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    parent      TEXT,
    inherit     BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_key (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    secret_hash  BYTEA NOT NULL,
    admin        BOOLEAN NOT NULL,
    space        TEXT NOT NULL,
    role         TEXT NOT NULL,
    creator      TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    deleted_at   BIGINT
);

-- Who did what to what, written in the transaction that did it.
CREATE TABLE audit (
    id      TEXT PRIMARY KEY,
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    space   TEXT NOT NULL,
    remote  TEXT NOT NULL,
    data    TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);

-- What changed, for hints and live views (broadcast) and, later, for readers
-- that must see each event once.
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    data    TEXT NOT NULL
);

CREATE TABLE pool (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    description  TEXT NOT NULL,
    space        TEXT NOT NULL REFERENCES space (id),
    labels       TEXT NOT NULL, -- JSON array of strings
    drift_limit  BIGINT,
    epoch        BIGINT NOT NULL, -- raised by each reset
    token        BYTEA NOT NULL,  -- wrapped; answered byte for byte until a reset
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    deleted_at   BIGINT
);
CREATE UNIQUE INDEX pool_name ON pool (name) WHERE deleted_at IS NULL;

CREATE TABLE pool_certificate (
    fingerprint TEXT PRIMARY KEY, -- sha256:<hex> of the certificate's DER
    pool        TEXT NOT NULL REFERENCES pool (id),
    key         TEXT NOT NULL,    -- sha256:<hex> of the public key's SPKI
    pem         TEXT NOT NULL,
    epoch       BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT
);
CREATE INDEX pool_certificate_pool ON pool_certificate (pool);

CREATE TABLE worker (
    id            TEXT PRIMARY KEY,
    pool          TEXT NOT NULL REFERENCES pool (id),
    public_key    TEXT NOT NULL, -- sha256:<hex> of the worker key's SPKI
    spki          BYTEA,         -- DER of that key, for renewals
    session       BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    recipient     TEXT NOT NULL, -- age recipient of the session
    version       TEXT NOT NULL,
    metadata      TEXT NOT NULL, -- JSON object of strings, verbatim
    keys          TEXT NOT NULL, -- JSON array: fingerprints of all pool keys it holds
    drained       BOOLEAN NOT NULL DEFAULT FALSE,
    cycle         BOOLEAN NOT NULL DEFAULT FALSE,
    leaving       BOOLEAN NOT NULL DEFAULT FALSE,
    unwell        TEXT NOT NULL DEFAULT '',
    hints         BOOLEAN NOT NULL DEFAULT FALSE, -- a live hint channel stands
    skipped       BOOLEAN NOT NULL DEFAULT FALSE, -- did not accept: until it speaks
    created_at    BIGINT NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    available_at  BIGINT,
    gone_at       BIGINT, -- deregistered, or superseded by a reset
    UNIQUE (pool, public_key)
);
CREATE INDEX worker_idle ON worker (pool, available_at) WHERE gone_at IS NULL AND available_at IS NOT NULL;

CREATE TABLE stack (
    id             TEXT PRIMARY KEY, -- a ULID: slugs get reused
    slug           TEXT NOT NULL,
    name           TEXT NOT NULL,
    space          TEXT NOT NULL REFERENCES space (id),
    pool           TEXT REFERENCES pool (id),
    settings       TEXT NOT NULL, -- JSON of stack.Settings
    state_mode     TEXT NOT NULL, -- managed | sealed | external
    state          TEXT NOT NULL, -- of its newest tracked run, or NONE
    state_set_at   BIGINT,
    tracked_commit TEXT NOT NULL DEFAULT '{}', -- JSON of wire.Commit
    locked_by      TEXT,
    lock_note      TEXT NOT NULL DEFAULT '',
    locked_at      BIGINT,
    disabled       BOOLEAN NOT NULL DEFAULT FALSE,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    deleted_at     BIGINT
);
CREATE UNIQUE INDEX stack_slug ON stack (slug) WHERE deleted_at IS NULL;
CREATE INDEX stack_pool ON stack (pool) WHERE deleted_at IS NULL;

CREATE TABLE stack_config (
    stack       TEXT NOT NULL REFERENCES stack (id),
    id          TEXT NOT NULL, -- the variable's name or the file's path
    type        TEXT NOT NULL, -- ENVIRONMENT_VARIABLE | FILE_MOUNT
    value       BYTEA NOT NULL, -- wrapped, whether secret or not
    write_only  BOOLEAN NOT NULL,
    checksum    TEXT NOT NULL, -- hex sha256 of the value
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (stack, id)
);

-- +goose Down
