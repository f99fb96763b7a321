-- +goose Up
CREATE TABLE vcs_integration (
    id          TEXT PRIMARY KEY, -- its name, which never changes
    ulid        TEXT NOT NULL UNIQUE, -- never reused: what launchers tell caches apart by
    space       TEXT NOT NULL REFERENCES space (id),
    host        TEXT NOT NULL,
    username    TEXT NOT NULL,
    secret      BYTEA NOT NULL, -- wrapped JSON: a token or an SSH key
    public_key  TEXT NOT NULL, -- of the SSH key; empty for a token
    known_hosts TEXT NOT NULL,
    is_default  BOOLEAN NOT NULL,
    labels      TEXT NOT NULL, -- JSON array
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX vcs_integration_default ON vcs_integration (space, host) WHERE is_default;

-- +goose Down
