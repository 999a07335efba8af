//! Looks for secrets where none may be.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `application/x-www-form-urlencoded` and URLs may leave as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Secrets, by name.
#[derive(Debug, Default)]
pub(crate) struct Canaries(Vec<Canary>);

#[derive(Debug)]
struct Canary {
    name: String,
    /// Each shape the secret may take, and what the shape is called.
    shapes: Vec<(&'static str, String)>,
}

impl Canaries {
    /// Looks for `secret` from now on, and calls it `name`.
    pub(crate) fn watch(&mut self, name: &str, secret: &str) {
        assert!(
            secret.len() >= 8,
            "{name} is too short to be told from chance"
        );
        self.0.push(Canary {
            name: name.to_owned(),
            shapes: shapes(secret),
        });
    }

    /// The names of those that do not show in `text` at all: they would not be found elsewhere
    /// either if they were watched wrongly.
    pub(crate) fn missing_from(&self, text: &str) -> Vec<&str> {
        let shows = |canary: &Canary| {
            let mut shapes = canary.shapes.iter();
            shapes.any(|(_, form)| text.contains(form.as_str()))
        };
        let missing = self.0.iter().filter(|canary| !shows(canary));
        missing.map(|canary| canary.name.as_str()).collect()
    }

    /// Every secret that shows in `text`, and in which shape; never the secret itself.
    pub(crate) fn found_in(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for canary in &self.0 {
            for (shape, form) in &canary.shapes {
                if let Some(at) = text.find(form.as_str()) {
                    found.push(format!("{} as {shape} at byte {at}", canary.name));
                }
            }
        }
        found
    }

    /// Fails the test if `text`, which is called `place`, shows a secret.
    pub(crate) fn assert_absent(&self, place: &str, text: &str) {
        let found = self.found_in(text);
        assert!(found.is_empty(), "{place} shows {found:?}");
    }
}

fn shapes(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let every_byte = |upper| {
        let percent = |byte| {
            if upper {
                format!("%{byte:02X}")
            } else {
                format!("%{byte:02x}")
            }
        };
        bytes.iter().map(percent).collect::<String>()
    };
    let percent = utf8_percent_encode(secret, UNRESERVED).to_string();
    let json = serde_json::to_string(secret).unwrap();
    let mut shapes = vec![
        ("plain text", secret.to_owned()),
        ("percent-encoded text", percent.clone()),
        ("form-encoded text", percent.replace("%20", "+")),
        ("lower-case percent-encoded text", percent.to_lowercase()),
        ("percent-encoded bytes", every_byte(true)),
        ("lower-case percent-encoded bytes", every_byte(false)),
        ("hexadecimal", every_byte(false).replace('%', "")),
        ("upper-case hexadecimal", every_byte(true).replace('%', "")),
        ("a JSON string", json.trim_matches('"').to_owned()),
        (
            "debug output",
            format!("{secret:?}").trim_matches('"').to_owned(),
        ),
    ];
    for offset in 0..3 {
        shapes.push(("base64", within_base64(&STANDARD, offset, bytes)));
        shapes.push(("base64url", within_base64(&URL_SAFE, offset, bytes)));
    }
    shapes
}

/// The characters that `secret` alone decides when it stands `offset` bytes into what is encoded.
fn within_base64(engine: &impl Engine, offset: usize, secret: &[u8]) -> String {
    let padded: Vec<u8> = [0_u8; 2][..offset.min(2)]
        .iter()
        .chain(secret)
        .copied()
        .collect();
    let encoded = engine.encode(&padded);
    let encoded = encoded.trim_end_matches('=');
    // Six bits a character: the first ones carry what stands before, the last what comes after.
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded[first..last].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_shape_and_at_every_place_in_base64() {
        let secret = "s3cret/with+odd bytes";
        let mut canaries = Canaries::default();
        canaries.watch("password", secret);

        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", "!", "!!"] {
                let text = format!("{before}{secret}{after}");
                for shown in [
                    text.clone(),
                    STANDARD.encode(&text),
                    URL_SAFE.encode(&text),
                    utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string(),
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
                ] {
                    let found = canaries.found_in(&format!("line: {shown}."));
                    assert!(!found.is_empty(), "not found in {shown}");
                }
            }
        }
    }

    #[test]
    fn other_text_shows_nothing() {
        let mut canaries = Canaries::default();
        canaries.watch("password", "correct horse battery");

        let found = canaries.found_in("correct horse; Y29ycmVjdCBob3JzZQ==");

        assert!(found.is_empty(), "{found:?}");
    }
}
