//! What all conversations of the origin share: counters, tokens, and what a request is answered
//! with.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;

/// The password that contenders attach.
pub(crate) const USERNAME: &str = "svc";
pub(crate) const PASSWORD: &str = "a password as long as one that is made by a machine";
/// Tokens are this, the time they are good until, and their number: as long as Basic's value is, so
/// that the two cost the same on the wire.
const TOKEN: &str = "opaque-token-of-the-bench";
/// The default lifetime of a token.
const LIFETIME: Duration = Duration::from_secs(3600);
/// What an upload is answered with, in bytes.
const UPLOAD_ANSWER_BYTES: usize = 100;

pub(super) struct Room {
    /// TLS handshakes of the origin's listeners, full or resumed.
    pub(super) handshakes: AtomicU64,
    pub(super) token_handshakes: AtomicU64,
    pub(super) token_requests: AtomicU64,
    pub(super) lifetime_ms: AtomicU64,
    /// The value of `Authorization` that a request has unless it has a token.
    basic: String,
    /// Bodies by their length.
    bodies: Mutex<HashMap<usize, Bytes>>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Bytes(usize),
    Upload,
    Token,
    Nothing,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            handshakes: AtomicU64::new(0),
            token_handshakes: AtomicU64::new(0),
            token_requests: AtomicU64::new(0),
            lifetime_ms: AtomicU64::new(LIFETIME.as_millis() as u64),
            basic: basic(),
            bodies: Mutex::new(HashMap::new()),
        }
    }
}

impl Room {
    /// The status and the body for a request to `path` with that `Authorization`.
    pub(super) fn answer(&self, path: &str, authorization: Option<&[u8]>) -> (StatusCode, Bytes) {
        let (path, open) = match path.strip_prefix("/open") {
            Some(path) => (path, true),
            None => {
                let path = path.strip_prefix("/h2").unwrap_or(path);
                (path.strip_prefix("/o").unwrap_or(path), false)
            }
        };
        match Wanted::of(path) {
            Wanted::Token => (StatusCode::OK, self.token()),
            Wanted::Bytes(_) | Wanted::Upload if !open && !self.allows(authorization) => {
                (StatusCode::UNAUTHORIZED, Bytes::new())
            }
            Wanted::Bytes(length) => (StatusCode::OK, self.body(length)),
            Wanted::Upload => (StatusCode::OK, self.body(UPLOAD_ANSWER_BYTES)),
            Wanted::Nothing => (StatusCode::NOT_FOUND, Bytes::new()),
        }
    }

    fn allows(&self, authorization: Option<&[u8]>) -> bool {
        let Some(value) = authorization else {
            return false;
        };
        value == self.basic.as_bytes() || good_until(value).is_some_and(|until| now_ms() < until)
    }

    fn body(&self, length: usize) -> Bytes {
        let mut bodies = self.bodies.lock().unwrap();
        let body = bodies
            .entry(length)
            .or_insert_with(|| vec![b'x'; length].into());
        body.clone()
    }

    fn token(&self) -> Bytes {
        let number = self.token_requests.fetch_add(1, Ordering::Relaxed);
        let lifetime_ms = self.lifetime_ms.load(Ordering::Relaxed);
        let token = token(now_ms() + lifetime_ms, number);
        // RFC 6749 §5.1.
        let answer = serde_json::json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime_ms.div_ceil(1000),
        });
        answer.to_string().into()
    }
}

impl Wanted {
    fn of(path: &str) -> Self {
        match path {
            "/upload" => Self::Upload,
            "/token" => Self::Token,
            _ => {
                let length = path.strip_prefix("/b/").and_then(|n| n.parse().ok());
                length.map_or(Self::Nothing, Self::Bytes)
            }
        }
    }
}

/// The value of `Authorization` with user name and password (RFC 7617 §2).
pub(crate) fn basic() -> String {
    let pair = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    format!("Basic {pair}")
}

/// A token that outlasts any run, for contenders that do not ask for theirs.
pub(crate) fn lasting_token() -> String {
    token(now_ms() + 24 * 3600 * 1000, 0)
}

fn token(good_until_ms: u64, number: u64) -> String {
    format!("{TOKEN}-{good_until_ms:014}-{number:027}")
}

/// When the token in an `Authorization` ends to be good.
fn good_until(authorization: &[u8]) -> Option<u64> {
    let token = authorization.strip_prefix(b"Bearer ")?;
    let rest = token.strip_prefix(TOKEN.as_bytes())?.strip_prefix(b"-")?;
    str::from_utf8(rest.get(..14)?).ok()?.parse().ok()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}
