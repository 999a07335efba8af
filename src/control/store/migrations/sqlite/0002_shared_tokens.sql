-- Tokens that replicas share, sealed. An empty text or byte string is none. Dates are milliseconds
-- since 1970 by the database's clock.
CREATE TABLE shared_tokens (
    key BLOB PRIMARY KEY,
    connector TEXT NOT NULL,
    serial INTEGER NOT NULL DEFAULT 0,
    fetched_at INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL DEFAULT 0,
    key_id TEXT NOT NULL DEFAULT '',
    wrapped BLOB NOT NULL DEFAULT x'',
    sealed BLOB NOT NULL DEFAULT x'',
    refresh_key_id TEXT NOT NULL DEFAULT '',
    refresh_wrapped BLOB NOT NULL DEFAULT x'',
    refresh_sealed BLOB NOT NULL DEFAULT x'',
    -- Who has the lease.
    holder TEXT NOT NULL,
    leased_until INTEGER NOT NULL,
    -- Who was given the refresh token and has not said what became of it.
    spender TEXT NOT NULL
) STRICT;
CREATE INDEX shared_tokens_connector ON shared_tokens (connector);
CREATE INDEX shared_tokens_expiry ON shared_tokens (expires_at);
