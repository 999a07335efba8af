//! Which requests may be tried again, and after which pause.

use std::time::Duration;

use http::Method;

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

/// The pause before a retry behind `retries` others. How long it is, is left to `chance`, so that
/// requests that failed together do not come back together.
pub(crate) fn own_pause(retries: u32, chance: u64) -> Duration {
    let (shortest, longest) = (PAUSE_MS.start(), PAUSE_MS.end());
    let first_ms = shortest + chance % (longest - shortest + 1);
    Duration::from_millis(first_ms << retries.min(8))
}

#[cfg(test)]
mod tests {
    use super::*;

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
