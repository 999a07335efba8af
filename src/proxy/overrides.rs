//! Fields by which a request says that it is another one than its head shows.
//!
//! # Invariants
//!
//! A connector's `allow` judges the method and the path that are in the head. Where it does, no
//! field reaches the origin that some servers take another method or another path from, in its head
//! or in its trailers.

use http::HeaderName;

use super::rewrite::is_spelling_of;
use crate::connector::Connector;

/// Servers and frameworks that honour these do so instead of the request line.
static OVERRIDES: [HeaderName; 7] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// What of them travels to a connector's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Overrides {
    /// All: whoever reaches the connector may ask for anything.
    #[default]
    Travel,
    /// None.
    Stay,
}

impl Overrides {
    /// In a request to `connector`.
    pub(super) fn of(connector: &Connector) -> Self {
        match connector.requests.allow {
            None => Self::Travel,
            Some(_) => Self::Stay,
        }
    }

    /// Whether `name` is one that stays behind, in either spelling.
    pub(super) fn keep_back(self, name: &HeaderName) -> bool {
        self == Self::Stay && OVERRIDES.iter().any(|one| is_spelling_of(name, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_spelling_is_kept_back_where_rules_judge_and_nothing_elsewhere() {
        for one in &OVERRIDES {
            let dashed = one.as_str();
            for spelling in [dashed.to_owned(), dashed.replace('-', "_")] {
                let name = HeaderName::try_from(spelling).unwrap();

                assert!(Overrides::Stay.keep_back(&name), "{name}");
                assert!(!Overrides::Travel.keep_back(&name), "{name}");
            }
        }
        for name in ["x-http", "x-original", "x-rewrite-urls", "accept"] {
            assert!(!Overrides::Stay.keep_back(&HeaderName::from_static(name)));
        }
    }
}
