//! Which of the fields that mean something to the gateway a head has, found in one look.
//!
//! Most heads have hardly any of them. To ask a map for each by name would cost more than all the
//! rest of a small request's head.

use http::{HeaderMap, HeaderName};

/// A field that means something to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Field {
    Connection,
    ConnectorId,
    Cookie,
    Expect,
    Location,
    /// `Origin`, `Sec-Fetch-Site` or `Access-Control-Request-Method`, which browsers send.
    OfBrowser,
    RequestId,
    SetCookie,
    Te,
    TransferEncoding,
    Upgrade,
    Via,
    /// One of one connection alone (RFC 9110 §7.6.1), of no other use here.
    OtherHopByHop,
}

impl Field {
    fn of(name: &HeaderName) -> Option<Self> {
        Some(match name.as_str() {
            "connection" => Self::Connection,
            "connector-id" => Self::ConnectorId,
            "cookie" => Self::Cookie,
            "expect" => Self::Expect,
            "http2-settings" | "keep-alive" | "proxy-connection" => Self::OtherHopByHop,
            "origin" | "sec-fetch-site" | "access-control-request-method" => Self::OfBrowser,
            "location" => Self::Location,
            "set-cookie" => Self::SetCookie,
            "te" => Self::Te,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            "via" => Self::Via,
            "x-request-id" => Self::RequestId,
            _ => return None,
        })
    }
}

/// The fields of that kind that a head has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(u16);

impl Fields {
    /// Those that `headers` has.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let found = headers.keys().filter_map(Field::of);
        Self(found.fold(0, |fields, field| fields | 1 << field as u8))
    }

    /// Whether `field` is one of them.
    pub(crate) fn has(self, field: Field) -> bool {
        self.0 & 1 << field as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_head_has_is_found_and_nothing_else() {
        let mut headers = HeaderMap::new();
        assert_eq!(Fields::of(&headers), Fields::default());
        for name in ["accept", "via", "x-custom", "te"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }

        let fields = Fields::of(&headers);

        assert!(fields.has(Field::Via) && fields.has(Field::Te));
        assert!(!fields.has(Field::Connection) && !fields.has(Field::Cookie));
    }
}
