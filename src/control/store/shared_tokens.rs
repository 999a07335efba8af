//! The tokens that replicas share, as rows: the store's side of [`SharedTokens`].
//!
//! # Invariants
//!
//! A token is sealed for its connector, key and serial number, its lifetime with it: no row that was
//! changed or put in another's place opens, and one that does not open is no token. Ages and leases
//! go by the database's clock alone, read within the statement that judges them. A serial number is
//! at least the date it was given at, so that a row that was erased and made again does not count
//! from the beginning.
//!
//! Each statement stands on its own: none of these is a change that administrators make, and none
//! counts in the store's revision.

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::change::Change;
use super::engine::{Dialect, Row as Columns, Value};
use super::tidy::AT_ONCE;
use super::{KeyId, Keyring, SealError, SealedValue, Store, StoreError, WrappedKey};
use crate::connector::ConnectorId;
use crate::credential::{
    Lease, LeaseState, Leased, Row, SharedKey, SharedToken, SharedTokens, Still, Unavailable,
    Unused,
};
use crate::secret::Secret;

/// How long a refresh token is kept that nobody uses.
const REFRESH_TOKENS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// What a token needs to be read, from the left.
const TOKEN: &str = "serial, key_id, wrapped, sealed, NOW - fetched_at";

const LOOK: &str = "SELECT $TOKEN, holder, leased_until - NOW FROM shared_tokens WHERE key = $1";
const TAKE: &str = "INSERT INTO shared_tokens (key, connector, holder, leased_until, spender) \
     VALUES ($1, $2, $3, NOW + $4, $3) \
     ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, \
     leased_until = excluded.leased_until, spender = CASE WHEN shared_tokens.spender = '' \
     THEN excluded.holder ELSE shared_tokens.spender END \
     WHERE shared_tokens.leased_until <= NOW \
     RETURNING $TOKEN, NOW, spender, refresh_key_id, refresh_wrapped, refresh_sealed";
const RENEW: &str = "UPDATE shared_tokens SET leased_until = NOW + $3 \
     WHERE key = $1 AND holder = $2 RETURNING serial";
const KEEP: &str = "UPDATE shared_tokens SET serial = $3, fetched_at = NOW - $4, \
     expires_at = NOW - $4 + $5, key_id = $6, wrapped = $7, sealed = $8, refresh_key_id = $9, \
     refresh_wrapped = $10, refresh_sealed = $11, holder = '', leased_until = 0, spender = '' \
     WHERE key = $1 AND holder = $2 RETURNING serial";
const RELEASE: &str = "UPDATE shared_tokens SET holder = '', leased_until = 0, \
     spender = CASE WHEN spender = $2 THEN '' ELSE spender END \
     WHERE key = $1 AND holder = $2 RETURNING serial";
const RELEASE_WITHOUT: &str = "UPDATE shared_tokens SET holder = '', leased_until = 0, \
     spender = '', refresh_key_id = '', refresh_wrapped = $3, refresh_sealed = $3 \
     WHERE key = $1 AND holder = $2 RETURNING serial";
const TIDY: &str = "DELETE FROM shared_tokens WHERE key IN \
     (SELECT key FROM shared_tokens WHERE expires_at < NOW AND leased_until < NOW \
     AND (length(refresh_sealed) = 0 OR expires_at < NOW - $1) LIMIT $2) \
     AND leased_until < NOW RETURNING connector";

/// What a value in a row is, for sealing.
#[derive(Clone, Copy)]
enum Part {
    Token,
    RefreshToken,
}

impl Store {
    async fn ask(
        &self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Columns>, StoreError> {
        let engine = self.engine().await?;
        let now = match engine.dialect() {
            Dialect::Sqlite => "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)",
            Dialect::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        };
        let sql = statement.replace("$TOKEN", TOKEN).replace("NOW", now);
        engine.query(sql, values).await
    }

    async fn row(&self, key: &SharedKey) -> Result<Row, StoreError> {
        let mut rows = self.ask(LOOK, vec![digest(key)]).await?;
        let Some(mut columns) = rows.pop() else {
            return Ok(Row {
                serial: 0,
                token: None,
                lease: LeaseState::Free,
            });
        };
        let (serial, token) = self.token(key, &mut columns)?;
        let (holder, left) = (columns.text()?, columns.integer()?);
        let lease = match u64::try_from(left) {
            _ if holder.is_empty() => LeaseState::Free,
            Ok(left) if left > 0 => LeaseState::Held(Duration::from_millis(left)),
            Ok(_) | Err(_) => LeaseState::Lapsed,
        };
        Ok(Row {
            serial,
            token,
            lease,
        })
    }

    async fn take(&self, key: &SharedKey) -> Result<Leased, StoreError> {
        let holder = Uuid::new_v4();
        let values = vec![
            digest(key),
            key.connector().as_str().into(),
            holder.to_string().into(),
            millis(self.0.lease).into(),
        ];
        let Some(mut columns) = self.ask(TAKE, values).await?.pop() else {
            return Ok(Leased::Theirs);
        };
        let (serial, token) = self.token(key, &mut columns)?;
        let now = columns.count()?;
        let ours = columns.text()? == holder.to_string();
        let sealed = sealed(&mut columns)?.filter(|_| ours);
        let refresh_token = sealed.and_then(|sealed| {
            let place = context(key, serial, Part::RefreshToken);
            let opened = self.keyring().open_value(&slices(&place), &sealed).ok()?;
            text(&opened)
        });
        Ok(Leased::Ours(Lease {
            key: key.clone(),
            holder,
            row: Row {
                serial,
                token,
                lease: LeaseState::Held(self.0.lease),
            },
            next_serial: (serial + 1).max(now),
            refresh_token,
        }))
    }

    /// The number of a row's token, and the token if it opens.
    fn token(
        &self,
        key: &SharedKey,
        columns: &mut Columns,
    ) -> Result<(u64, Option<SharedToken>), StoreError> {
        let serial = columns.count()?;
        let sealed = sealed(columns)?;
        // A clock that was set back makes nothing younger than new.
        let age = Duration::from_millis(columns.integer()?.try_into().unwrap_or(0));
        let opened = sealed.and_then(|sealed| {
            let place = context(key, serial, Part::Token);
            self.keyring().open_value(&slices(&place), &sealed).ok()
        });
        let token = opened.and_then(|opened| {
            let (lifetime, access_token) = opened.split_first_chunk()?;
            Some(SharedToken {
                access_token: text(access_token)?,
                lifetime: Duration::from_millis(u64::from_be_bytes(*lifetime)),
                age,
            })
        });
        Ok((serial, token))
    }

    async fn keep_token(
        &self,
        lease: &Lease,
        token: &SharedToken,
        refresh_token: Option<&Secret>,
    ) -> Result<Still, StoreError> {
        let (key, serial) = (&lease.key, lease.next_serial);
        let lifetime = millis(token.lifetime);
        let access_token = token.access_token.expose().as_bytes();
        let plain = Zeroizing::new([&lifetime.to_be_bytes(), access_token].concat());
        let mut values = vec![
            digest(key),
            lease.holder.to_string().into(),
            serial.into(),
            millis(token.age).into(),
            lifetime.into(),
        ];
        let token = seal(self.keyring(), &lease.key, (serial, Part::Token), &plain)?;
        values.extend(columns_of(Some(token)));
        let refresh_token = refresh_token.map(|refresh_token| {
            let part = (serial, Part::RefreshToken);
            seal(self.keyring(), key, part, refresh_token.expose().as_bytes())
        });
        values.extend(columns_of(refresh_token.transpose()?));
        self.as_holder(KEEP, values).await
    }

    /// A statement about a row whose lease is held.
    async fn as_holder(
        &self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> Result<Still, StoreError> {
        match self.ask(statement, values).await?.is_empty() {
            false => Ok(Still::Ours),
            true => Ok(Still::Lost),
        }
    }

    /// Erases tokens that are spent, and refresh tokens that nobody has used for long.
    pub(super) async fn tidy_shared_tokens(&self) -> Result<(), StoreError> {
        loop {
            let values = vec![
                millis(REFRESH_TOKENS_KEPT).into(),
                i64::from(AT_ONCE).into(),
            ];
            if self.ask(TIDY, values).await?.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Change {
    /// Erases what replicas share of the connector's tokens, its refresh token with them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn forget_shared_tokens(&mut self, id: &ConnectorId) -> Result<(), StoreError> {
        let sql = "DELETE FROM shared_tokens WHERE connector = $1";
        self.query(sql, vec![id.as_str().into()]).await.map(drop)
    }
}

impl SharedTokens for Store {
    fn fingerprint_key(&self) -> Zeroizing<[u8; 32]> {
        self.keyring().derived("shared tokens")
    }

    fn lease_time(&self) -> Duration {
        self.0.lease
    }

    fn look<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Row, Unavailable>> {
        Box::pin(async move { self.row(key).await.map_err(Unavailable::new) })
    }

    fn lease<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, Result<Leased, Unavailable>> {
        Box::pin(async move { self.take(key).await.map_err(Unavailable::new) })
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Still, Unavailable>> {
        let mut values = named(lease);
        values.push(millis(self.0.lease).into());
        Box::pin(async move {
            let renewed = self.as_holder(RENEW, values).await;
            renewed.map_err(Unavailable::new)
        })
    }

    fn keep<'a>(
        &'a self,
        lease: &'a Lease,
        token: &'a SharedToken,
        refresh_token: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Still, Unavailable>> {
        Box::pin(async move {
            let kept = self.keep_token(lease, token, refresh_token).await;
            kept.map_err(Unavailable::new)
        })
    }

    fn release<'a>(
        &'a self,
        lease: &'a Lease,
        refresh_token: Unused,
    ) -> BoxFuture<'a, Result<Still, Unavailable>> {
        let mut values = named(lease);
        let statement = match refresh_token {
            Unused::Stays => RELEASE,
            Unused::Goes => {
                values.push(Value::Bytes(Vec::new()));
                RELEASE_WITHOUT
            }
        };
        Box::pin(async move {
            let released = self.as_holder(statement, values).await;
            released.map_err(Unavailable::new)
        })
    }
}

/// What names a row.
fn digest(key: &SharedKey) -> Value {
    Value::Bytes(key.digest().to_vec())
}

/// What names a lease.
fn named(lease: &Lease) -> Vec<Value> {
    vec![digest(&lease.key), lease.holder.to_string().into()]
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn text(bytes: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(bytes).ok()?;
    // `to_owned` takes exactly the room it needs: nothing is left behind by shrinking.
    Some(Secret::new(text.to_owned()))
}

/// Where a sealed value stands.
fn context(key: &SharedKey, serial: u64, part: Part) -> [Vec<u8>; 5] {
    let part: &[u8] = match part {
        Part::Token => b"token",
        Part::RefreshToken => b"refresh token",
    };
    [
        b"shared token".to_vec(),
        key.connector().as_str().into(),
        key.digest().to_vec(),
        serial.to_be_bytes().to_vec(),
        part.to_vec(),
    ]
}

fn slices(context: &[Vec<u8>; 5]) -> [&[u8]; 5] {
    context.each_ref().map(Vec::as_slice)
}

fn seal(
    keyring: &Keyring,
    key: &SharedKey,
    (serial, part): (u64, Part),
    plain: &[u8],
) -> Result<SealedValue, StoreError> {
    let sealed = keyring.seal_value(&slices(&context(key, serial, part)), plain);
    sealed.map_err(|source: SealError| StoreError::Sealed {
        connector: key.connector().clone(),
        source,
    })
}

/// The next three columns, if they hold anything.
fn sealed(columns: &mut Columns) -> Result<Option<SealedValue>, StoreError> {
    let (key_id, wrapped, bytes) = (columns.text()?, columns.bytes()?, columns.bytes()?);
    Ok(KeyId::read(&key_id).map(|key_id| SealedValue {
        key: WrappedKey {
            key_id,
            bytes: wrapped,
        },
        bytes,
    }))
}

/// The same, to be written.
fn columns_of(sealed: Option<SealedValue>) -> [Value; 3] {
    match sealed {
        None => [
            "".into(),
            Value::Bytes(Vec::new()),
            Value::Bytes(Vec::new()),
        ],
        Some(SealedValue { key, bytes }) => {
            [key.key_id.as_str().into(), key.bytes.into(), bytes.into()]
        }
    }
}
