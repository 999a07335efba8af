//! How long another host asks us to wait: `Retry-After` (RFC 9110 §10.2.3).
//!
//! # Invariants
//!
//! Whatever stands in the field, reading it fails no request and asks for no longer wait than the
//! caller's bound.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// The wait that `fields` ask for at `now`, `wait_max` at most; `None` if they say nothing that
/// can be read. Of several values the longest wait holds, and a date that is over asks for none.
pub fn read(fields: &HeaderMap, now: SystemTime, wait_max: Duration) -> Option<Duration> {
    let values = fields.get_all(header::RETRY_AFTER).iter();
    let waits = values.filter_map(|value| wait(value, now));
    waits.max().map(|wait| wait.min(wait_max))
}

/// Either form: a number of seconds or a date, in any of the three ways to write one (§5.6.7).
fn wait(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match digits {
        // More digits than a number holds are a wait beyond every bound.
        true => Some(text.parse().map_or(Duration::MAX, Duration::from_secs)),
        false => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110 §5.6.7.
    const THEN: Duration = Duration::from_secs(784_111_777);

    fn asked(values: &[&[u8]]) -> Option<Duration> {
        let mut fields = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            fields.append(header::RETRY_AFTER, value);
        }
        let now = SystemTime::UNIX_EPOCH + THEN - Duration::from_secs(90);
        read(&fields, now, Duration::from_secs(300))
    }

    #[test]
    fn seconds_and_every_form_of_a_date_are_read() {
        // RFC 9110 §10.2.3 and §5.6.7.
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 120 ", 120),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 90),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 90),
            ("Sun Nov  6 08:49:37 1994", 90),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ] {
            let wait = asked(&[value.as_bytes()]);

            assert_eq!(wait, Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn no_wait_is_longer_than_the_bound() {
        for value in [
            "301",
            "18446744073709551615",
            "99999999999999999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            let wait = asked(&[value.as_bytes()]);

            assert_eq!(wait, Some(Duration::from_secs(300)), "{value}");
        }
    }

    #[test]
    fn what_is_neither_is_no_wait_and_no_panic() {
        // protocol.md row 63: RUSTSEC-2026-0009.
        for value in [
            &b""[..],
            b"-1",
            b"+1",
            b"1.5",
            b"1e3",
            b"0x10",
            b"soon",
            b"1, 2",
            b"Thu, 99 Foo 2026",
            b"Thu, 99 Nov 2026 99:99:99 GMT",
            b"Sun, 06 Nov 0000 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 GMT Sun, 06 Nov 1994 08:49:37 GMT",
            b"\xff\xfe",
            &[b'('; 8_000],
            &[b' '; 8_000],
        ] {
            assert_eq!(asked(&[value]), None, "{value:?}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn of_several_values_the_longest_wait_holds() {
        assert_eq!(
            asked(&[b"5", b"soon", b"20"]),
            Some(Duration::from_secs(20))
        );
    }
}
