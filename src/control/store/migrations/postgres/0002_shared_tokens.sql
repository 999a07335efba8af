-- Tokens that replicas share, sealed. An empty text or byte string is none. Dates are milliseconds
-- since 1970 by the database's clock.
CREATE TABLE shared_tokens (
    key BYTEA PRIMARY KEY,
    connector TEXT COLLATE "C" NOT NULL,
    serial BIGINT NOT NULL DEFAULT 0,
    fetched_at BIGINT NOT NULL DEFAULT 0,
    expires_at BIGINT NOT NULL DEFAULT 0,
    key_id TEXT NOT NULL DEFAULT '',
    wrapped BYTEA NOT NULL DEFAULT '',
    sealed BYTEA NOT NULL DEFAULT '',
    refresh_key_id TEXT NOT NULL DEFAULT '',
    refresh_wrapped BYTEA NOT NULL DEFAULT '',
    refresh_sealed BYTEA NOT NULL DEFAULT '',
    -- Who has the lease.
    holder TEXT NOT NULL,
    leased_until BIGINT NOT NULL,
    -- Who was given the refresh token and has not said what became of it.
    spender TEXT NOT NULL
);
CREATE INDEX shared_tokens_connector ON shared_tokens (connector);
CREATE INDEX shared_tokens_expiry ON shared_tokens (expires_at);
