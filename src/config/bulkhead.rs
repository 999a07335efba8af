//! The most that one connector may take: requests in flight, rate, breaker, bodies, upgrades.

use super::document::{Content, Node};
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use super::settings;
use super::units::{Bounded, Count, Size, Span};
use crate::connector::{Breaker, Bulkhead, Rate};

pub(super) const RATE_KEYS: &[&str] = &["rate", "burst"];
pub(super) const BREAKER_KEYS: &[&str] = &["failures", "window", "open"];

pub(super) const REQUESTS_IN_FLIGHT_MAX: Bounded<Count> =
    count("requests_in_flight_max", 512, 1_000_000);
pub(super) const RATE: Bounded<Count> = count("rate", 50, 1_000_000);
pub(super) const BURST: Bounded<Count> = count("burst", 50, 1_000_000);
pub(super) const FAILURES: Bounded<Count> = count("failures", 20, 1_000_000);
pub(super) const WINDOW: Bounded<Span> = span("window", 10);
pub(super) const OPEN: Bounded<Span> = span("open", 5);
pub(super) const RESPONSE_BODY_BYTES_MAX: Bounded<Size> = Bounded {
    key: "response_body_bytes_max",
    ..settings::REQUEST_BODY_BYTES_MAX
};

const fn count(key: &'static str, default: u64, max: u64) -> Bounded<Count> {
    Bounded {
        key,
        default: Count(default),
        min: Count(1),
        max: Count(max),
    }
}

const fn span(key: &'static str, default_secs: u64) -> Bounded<Span> {
    Bounded {
        key,
        default: Span::secs(default_secs),
        min: Span::millis(100),
        max: Span::minutes(10),
    }
}

/// Reads the most that `connector` may take.
pub(super) fn bulkhead<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
) -> Bulkhead {
    Bulkhead {
        requests_in_flight_max: reader
            .quantity(connector, path, &REQUESTS_IN_FLIGHT_MAX)
            .as_u32(),
        rate: rate(reader, connector, path),
        breaker: breaker(reader, connector, path),
        request_body_bytes_max: size(reader, connector, path, &settings::REQUEST_BODY_BYTES_MAX),
        response_body_bytes_max: size(reader, connector, path, &RESPONSE_BODY_BYTES_MAX),
    }
}

fn size<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
    bounded: &Bounded<Size>,
) -> Option<u64> {
    connector.optional(bounded.key)?;
    Some(reader.quantity(connector, path, bounded).0)
}

const RATE_FORM: &str = "how many requests a second";

fn rate<'d>(reader: &mut Reader<'d>, connector: &Section<'d>, path: &Path<'_>) -> Option<Rate> {
    let node = connector.optional("requests_per_second")?;
    let path = path.key("requests_per_second");
    let section = reader.mapping(node, &path, RATE_KEYS)?;
    if section.optional("rate").is_none() {
        let at = section.place("rate");
        reader.fault(at, &path.key("rate"), Problem::Required(RATE_FORM));
        return None;
    }
    let per_second = reader.quantity(&section, &path, &RATE);
    let burst = reader.quantity_or(&section, &path, &BURST, per_second);
    Some(Rate {
        per_second: per_second.as_u32(),
        burst: burst.as_u32(),
    })
}

const BREAKER_FORM: &str = "a mapping (failures, window, open), or null for none";

/// One that is not written is as by default; `null` says that there is none.
fn breaker<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
) -> Option<Breaker> {
    let written = connector.written("breaker");
    if written.is_some_and(|node| matches!(node.content, Content::Null)) {
        return None;
    }
    if let Some(node) = written.filter(|node| !matches!(node.content, Content::Map(_))) {
        // Whoever writes `off` or `false` wants to know what says that.
        let path = path.key("breaker");
        reader.refuse(node, &path, Problem::MustBe(BREAKER_FORM));
        return None;
    }
    let section = reader.section(connector, path, "breaker", BREAKER_KEYS);
    let path = path.key("breaker");
    Some(Breaker {
        failures: reader.quantity(&section, &path, &FAILURES).as_u32(),
        window: reader.duration(&section, &path, &WINDOW),
        open: reader.duration(&section, &path, &OPEN),
    })
}

/// The most protocols that one connector's requests may upgrade to.
const UPGRADES_MAX: usize = 8;
/// The longest name of one, in bytes.
const UPGRADE_BYTES_MAX: usize = 32;
const UPGRADE_FORM: &str =
    "a protocol's name in lower case such as websocket; HTTP and TLS themselves are none";

/// Reads the protocols that `connector`'s requests may upgrade to.
pub(super) fn upgrades<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
) -> Vec<String> {
    let Some(node) = connector.written("upgrades") else {
        return Vec::new();
    };
    let path = path.key("upgrades");
    let nodes = reader.list(node, &path, UPGRADES_MAX).iter();
    let read = |(index, node)| upgrade(reader, node, &path.index(index));
    nodes.enumerate().filter_map(read).collect()
}

fn upgrade<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<String> {
    let text = reader.text(node, path, UPGRADE_FORM)?;
    if !is_upgrade(text) {
        reader.fault(node.at, path, Problem::MustBe(UPGRADE_FORM));
        return None;
    }
    Some(text.to_owned())
}

/// Whether a request may upgrade to `name` (RFC 9110 §7.8). Another HTTP or TLS within this one
/// would carry requests that nobody permitted.
fn is_upgrade(name: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (1..=UPGRADE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(legal)
        && !["h2c", "h2", "http", "tls"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_http_within_this_one_is_no_upgrade() {
        for bad in [
            "",
            "h2c",
            "http",
            "tls",
            "http/2",
            "WebSocket",
            "a b",
            "a,b",
        ] {
            assert!(!is_upgrade(bad), "{bad:?}");
        }
        for good in ["websocket", "x-chat", "spdy.9_1"] {
            assert!(is_upgrade(good), "{good:?}");
        }
    }
}
