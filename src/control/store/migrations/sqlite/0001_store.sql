-- Dates are milliseconds since 1970. JSON is kept as the text that was written.

-- One row: its lock puts writers into a line, and its numbers count in the order of commits.
CREATE TABLE store_revision (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    audit INTEGER NOT NULL
) STRICT;
INSERT INTO store_revision (one, revision, audit) VALUES (1, 0, 0);

CREATE TABLE organizations (
    name TEXT PRIMARY KEY,
    connectors_max TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Rows stay when a connector is deleted: an ID is never used again.
CREATE TABLE connectors (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (name),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'inactive', 'deleted')),
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    served_revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    staged TEXT,
    previous_until INTEGER,
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX connectors_name ON connectors (organization, name) WHERE deleted_at IS NULL;
CREATE INDEX connectors_revision ON connectors (revision, id);
CREATE INDEX connectors_deleted ON connectors (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX connectors_previous ON connectors (previous_until) WHERE previous_until IS NOT NULL;

-- The data key of a connector's secrets of one slot, under a master key.
CREATE TABLE data_keys (
    connector TEXT NOT NULL REFERENCES connectors (id),
    slot TEXT NOT NULL CHECK (slot IN ('current', 'staged', 'previous')),
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (connector, slot)
) STRICT;
CREATE INDEX data_keys_key ON data_keys (key_id);

-- The secrets themselves, sealed under it.
CREATE TABLE secrets (
    connector TEXT NOT NULL,
    slot TEXT NOT NULL,
    field TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (connector, slot, field),
    FOREIGN KEY (connector, slot) REFERENCES data_keys (connector, slot) ON DELETE CASCADE
) STRICT;

CREATE TABLE admin_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    -- Null: every organization.
    organization TEXT REFERENCES organizations (name),
    hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- Answers that are given again when a request is repeated with its Idempotency-Key.
CREATE TABLE idempotency (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    answer TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT;
CREATE INDEX idempotency_at ON idempotency (at);

-- Append-only.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    role TEXT,
    organization TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    -- Null: it was done. Otherwise why it was refused.
    refused TEXT,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
CREATE INDEX audit_organization ON audit (organization, id);
CREATE INDEX audit_target ON audit (target, id);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- INSERT OR REPLACE would delete without a trigger's knowledge.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
