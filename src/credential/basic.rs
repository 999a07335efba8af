//! Credentials that never change: HTTP Basic and fixed fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use zeroize::Zeroizing;

use crate::connector::{Basic, StaticHeader};
use crate::secret::wiped_bytes;

/// What stands before the pair (RFC 7617 §2).
const BASIC: &str = "Basic ";

/// `Authorization` for HTTP Basic, user-id and password in UTF-8 (RFC 7617 §2, §2.1).
///
/// # Errors
///
/// None in practice: base64 is always a legal field value.
pub(super) fn authorization(basic: &Basic) -> Result<HeaderValue, InvalidHeaderValue> {
    let pair = Zeroizing::new(format!("{}:{}", basic.username, basic.password.expose()));
    // With room for all of it, growing leaves no copy behind.
    let mut written = Zeroizing::new(String::with_capacity(
        BASIC.len() + pair.len().div_ceil(3) * 4,
    ));
    written.push_str(BASIC);
    STANDARD.encode_string(pair.as_bytes(), &mut written);
    sensitive(written.as_bytes())
}

/// The value of a fixed field.
///
/// # Errors
///
/// If the value is no legal one (RFC 9110 §5.5).
pub(super) fn fixed(header: &StaticHeader) -> Result<HeaderValue, InvalidHeaderValue> {
    sensitive(header.value.expose().as_bytes())
}

/// A field value that no log shows.
pub(super) fn sensitive(value: &[u8]) -> Result<HeaderValue, InvalidHeaderValue> {
    let wiped = wiped_bytes(Zeroizing::new(value.to_vec()));
    let mut value = HeaderValue::from_maybe_shared(wiped)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_pair_of_rfc_7617_section_2_1_is_encoded_as_utf_8() {
        let basic = Basic {
            username: "test".to_owned(),
            password: Secret::new("123£".to_owned()),
            validation_url: None,
        };

        let value = authorization(&basic).expect("base64 is legal");

        assert_eq!(value.as_bytes(), b"Basic dGVzdDoxMjPCow==");
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("dGVzd"));
    }

    #[test]
    fn a_fixed_field_with_control_bytes_is_refused() {
        for bad in ["a\r\nb", "a\nb", "a\0b", "a\x7fb"] {
            let header = StaticHeader {
                name: HeaderName::from_static("x-api-key"),
                value: Secret::new(bad.to_owned()),
            };

            assert!(fixed(&header).is_err(), "{bad:?}");
        }
    }
}
