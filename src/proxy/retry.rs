//! Which requests may be tried again, and after which pause.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, header};

/// The pause before a first retry where the origin names none, in milliseconds; doubled each time.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 25..=100;

/// Methods whose repetition does nothing twice (RFC 9110 §9.2.2). TRACE is not carried, and of
/// unknown methods nothing is known.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    const METHODS: [Method; 5] = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    METHODS.contains(method)
}

/// How long an origin asks to wait (RFC 9110 §10.2.3), if it does.
pub(crate) fn asked_pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that is too large for us is a long time too.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The pause before a retry behind `retries` others. How long it is, is left to `chance`, so that
/// requests that failed together do not come back together.
pub(crate) fn own_pause(retries: u32, chance: u64) -> Duration {
    let (shortest, longest) = (PAUSE_MS.start(), PAUSE_MS.end());
    let first_ms = shortest + chance % (longest - shortest + 1);
    Duration::from_millis(first_ms << retries.min(8))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        asked_pause(&headers, now)
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        // RFC 9110 §10.2.3; 784111777 is the date of §5.6.7.
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:50:07 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        let endless = Some(Duration::from_secs(u64::MAX));
        assert_eq!(asked("99999999999999999999999"), endless);
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing() {
        for bad in ["soon", "-1", "1.5", "2026-11-21T12:00:00Z"] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }

    #[test]
    fn post_patch_and_unknown_methods_are_not_idempotent() {
        for method in ["POST", "PATCH", "PURGE", "get"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a token");
            assert!(!is_idempotent(&method), "{method}");
        }
    }

    #[test]
    fn a_pause_grows_and_stays_within_its_bounds() {
        for chance in [0, 1, 12, 25, 1_000_003, u64::MAX] {
            let first = own_pause(0, chance);
            assert!((25..=100).contains(&first.as_millis()), "{first:?}");
            let third = own_pause(2, chance);
            assert!((100..=400).contains(&third.as_millis()), "{third:?}");
        }
    }
}
