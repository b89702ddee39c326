-- Only integers (booleans as 0 and 1), text and blobs: what every supported engine reads alike.
-- Times are microseconds since 1970-01-01 UTC.

-- Facts about the control plane itself, by name.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE nodes (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never given out twice
    name          TEXT   NOT NULL UNIQUE,
    address       TEXT   NOT NULL UNIQUE,
    settings      TEXT   NOT NULL,                   -- JSON
    generation    BIGINT NOT NULL,                   -- grows by one with each change of settings
    created_at    BIGINT NOT NULL,
    enabled       BIGINT NOT NULL,
    draining      BIGINT NOT NULL,
    registered_at BIGINT,
    heard_at      BIGINT,                            -- last heartbeat
    heartbeat     TEXT                               -- its JSON
);

CREATE TABLE enrolment_keys (
    hash       BLOB   PRIMARY KEY,                   -- SHA-256
    node_id    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);
CREATE INDEX enrolment_keys_by_node ON enrolment_keys (node_id);

-- Rows of deleted nodes stay: their tokens are answered with "410 Gone".
CREATE TABLE tokens (
    hash         BLOB   PRIMARY KEY,                 -- SHA-256
    role         TEXT   NOT NULL,                    -- owner, operator, viewer or node
    node_id      BIGINT,                             -- for role node
    subject      TEXT   NOT NULL,                    -- who the audit log says it was
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);
CREATE INDEX tokens_by_node ON tokens (node_id);

-- What a node has advertised, as it was sent: one snapshot, and what came after it. Applied in the
-- order of their ids they make its table.
CREATE TABLE feeds (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    node_id  BIGINT NOT NULL,
    encoding TEXT   NOT NULL,                        -- as in Content-Encoding: zstd or identity
    body     BLOB   NOT NULL
);
CREATE INDEX feeds_by_node ON feeds (node_id);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    before  TEXT,                                    -- JSON
    after   TEXT                                     -- JSON
);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
