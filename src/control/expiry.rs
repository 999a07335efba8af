//! Says in the log which certificates and revocation lists end soon, and which have ended.
//!
//! # Invariants
//!
//! Each has one line when it comes within [`AHEAD`] of its end, one when it ends, and one a day in
//! between and afterwards, until it was replaced. A publication repeats none of them. Where that
//! were more than `LINES_MAX` at once, the gateway's own come first, for nobody else is to hide
//! them, and then what was not told for longest; the rest is told next time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::clock::{Clock, rfc3339};
use crate::metrics::CertificateExpiry;

/// How long before its end a certificate is spoken of.
pub const AHEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often what was said is said again.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The most lines written at once.
const LINES_MAX: usize = 100;

/// What stands for the gateway where others have their connector.
const GATEWAY: &str = "none";

/// What ends, as it was published last.
pub type Published = Arc<[CertificateExpiry]>;

/// How near an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within [`AHEAD`].
    Soon,
    /// Here, or past.
    Over,
}

impl Standing {
    /// How near the end of `expiry` is; `None` while there is time.
    pub fn of(expiry: &CertificateExpiry, now: SystemTime) -> Option<Self> {
        match expiry.at.duration_since(now) {
            Ok(left) if left > AHEAD => None,
            Ok(left) if left > Duration::ZERO => Some(Self::Soon),
            Ok(_) | Err(_) => Some(Self::Over),
        }
    }
}

/// Says what ends, and when, in a line for people.
pub fn sentence(expiry: &CertificateExpiry, standing: Standing) -> impl fmt::Display {
    let CertificateExpiry {
        connector,
        usage,
        at,
    } = expiry;
    fmt::from_fn(move |f| {
        match connector.as_str() {
            GATEWAY => write!(f, "the gateway's own ({usage}): ")?,
            id => write!(f, "connector {id} ({usage}): ")?,
        }
        let (what, at) = (subject(usage), rfc3339(*at));
        match standing {
            Standing::Soon => write!(f, "{what} ends at {at}"),
            Standing::Over => write!(f, "{what} ended at {at}"),
        }
    })
}

/// What stands there of which `usage` is said.
fn subject(usage: &str) -> &'static str {
    match usage {
        "crl" | "client_crl" | "admin_client_crl" => "a revocation list",
        "ca_bundle" | "client_ca" | "admin_client_ca" | "trust" | "oidc" => "a CA's certificate",
        _ => "the certificate",
    }
}

/// Says what is to be said of what is `published`, whenever there is something, for as long as there
/// is somebody who publishes.
pub async fn watch(mut published: watch::Receiver<Published>, clock: Clock) {
    let mut told = Told::default();
    loop {
        let all = Arc::clone(&published.borrow_and_update());
        let now = clock.wall();
        told.tell(&all, now, clock.monotonic());
        let next = clock.monotonic().saturating_add(until_next(&all, now));
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            () = clock.sleep_until(next) => {}
        }
    }
}

/// How long nothing new can come up.
fn until_next(all: &[CertificateExpiry], now: SystemTime) -> Duration {
    let turns = all.iter().flat_map(|one| {
        let soon = one.at.checked_sub(AHEAD);
        [soon, Some(one.at)].into_iter().flatten()
    });
    let ahead = turns.filter_map(|at| at.duration_since(now).ok());
    ahead
        .filter(|left| !left.is_zero())
        .min()
        .map_or(AGAIN, |left| left.min(AGAIN))
}

/// What was said, and when, by what it was said of.
#[derive(Default)]
struct Told(HashMap<(String, &'static str), Line>);

/// What was said of an end, and when.
type Line = (SystemTime, Standing, Duration);

impl Told {
    fn tell(&mut self, all: &[CertificateExpiry], now: SystemTime, moment: Duration) {
        let mut told = HashMap::new();
        let mut due = Vec::new();
        for one in all {
            let Some(standing) = Standing::of(one, now) else {
                continue;
            };
            let key = (one.connector.clone(), one.usage);
            match self.0.get(&key).copied() {
                Some(before) if is_told(before, (one.at, standing, moment)) => {
                    told.insert(key, before);
                }
                before => due.push((before.map(|(_, _, since)| since), key, one, standing)),
            }
        }
        due.sort_by_key(|(since, _, one, _)| (one.connector != GATEWAY, *since));
        let more = due.len().saturating_sub(LINES_MAX);
        for (_, key, one, standing) in due.into_iter().take(LINES_MAX) {
            write_line(one, standing);
            told.insert(key, (one.at, standing, moment));
        }
        if more > 0 {
            tracing::warn!(more, "more certificates end soon, or have ended");
        }
        self.0 = told;
    }
}

/// Whether it was said `before` what is to be said now, and no day ago.
fn is_told(before: Line, (at, standing, moment): Line) -> bool {
    let (was_at, stood, since) = before;
    was_at == at && stood == standing && moment.saturating_sub(since) < AGAIN
}

fn write_line(one: &CertificateExpiry, standing: Standing) {
    let CertificateExpiry {
        connector,
        usage,
        at,
    } = one;
    let (what, at) = (subject(usage), rfc3339(*at));
    match (standing, what) {
        (Standing::Soon, what) => {
            tracing::warn!(connector, r#use = usage, ends_at = %at, "{what} ends soon");
        }
        // An anchor is believed by what it says, not by its dates (RFC 5280 §6.1.1 d).
        (Standing::Over, "a CA's certificate") => {
            tracing::warn!(connector, r#use = usage, ends_at = %at, "{what} has ended");
        }
        (Standing::Over, what) => {
            tracing::error!(connector, r#use = usage, ends_at = %at, "{what} has ended");
        }
    }
}

#[cfg(test)]
mod tests;
