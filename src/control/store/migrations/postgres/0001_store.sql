-- Dates are milliseconds since 1970. JSON is kept as the text that was written. Texts are compared
-- byte by byte, as SQLite does, whatever the database's own collation.

-- One row: its lock puts writers into a line, and its numbers count in the order of commits.
CREATE TABLE store_revision (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL,
    audit BIGINT NOT NULL
);
INSERT INTO store_revision (one, revision, audit) VALUES (1, 0, 0);

CREATE TABLE organizations (
    name TEXT COLLATE "C" PRIMARY KEY,
    connectors_max TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Rows stay when a connector is deleted: an ID is never used again.
CREATE TABLE connectors (
    id TEXT COLLATE "C" PRIMARY KEY,
    organization TEXT COLLATE "C" NOT NULL REFERENCES organizations (name),
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'inactive', 'deleted')),
    document TEXT NOT NULL,
    revision BIGINT NOT NULL,
    served_revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT,
    staged TEXT,
    previous_until BIGINT,
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);
CREATE UNIQUE INDEX connectors_name ON connectors (organization, name) WHERE deleted_at IS NULL;
CREATE INDEX connectors_revision ON connectors (revision, id);
CREATE INDEX connectors_deleted ON connectors (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX connectors_previous ON connectors (previous_until) WHERE previous_until IS NOT NULL;

-- The data key of a connector's secrets of one slot, under a master key.
CREATE TABLE data_keys (
    connector TEXT COLLATE "C" NOT NULL REFERENCES connectors (id),
    slot TEXT COLLATE "C" NOT NULL CHECK (slot IN ('current', 'staged', 'previous')),
    key_id TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (connector, slot)
);
CREATE INDEX data_keys_key ON data_keys (key_id);

-- The secrets themselves, sealed under it.
CREATE TABLE secrets (
    connector TEXT COLLATE "C" NOT NULL,
    slot TEXT COLLATE "C" NOT NULL,
    field TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (connector, slot, field),
    FOREIGN KEY (connector, slot) REFERENCES data_keys (connector, slot) ON DELETE CASCADE
);

CREATE TABLE admin_tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    -- Null: every organization.
    organization TEXT COLLATE "C" REFERENCES organizations (name),
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- Answers that are given again when a request is repeated with its Idempotency-Key.
CREATE TABLE idempotency (
    actor TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    request BYTEA NOT NULL,
    answer TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

-- Append-only.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C",
    organization TEXT COLLATE "C",
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    -- Null: it was done. Otherwise why it was refused.
    refused TEXT COLLATE "C",
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_organization ON audit (organization, id);
-- A hash: a target may be of any length, which an ordered index does not take.
CREATE INDEX audit_target ON audit USING hash (target);
CREATE FUNCTION attache_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END;
$$;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION attache_append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION attache_append_only();
