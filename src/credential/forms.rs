//! The forms a secret takes where somebody repeats it.
//!
//! # Invariants
//!
//! Every form holds the secret alone: what may stand beside it in a longer encoded text is no part
//! of it. No form stands there twice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::form_urlencoded;
use zeroize::Zeroizing;

/// A text that is wiped when it goes.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// What is left as it is: RFC 3986 §2.3, `encodeURIComponent`, nothing but letters and digits.
const PERCENT_SETS: [&AsciiSet; 3] = [
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~'),
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*'),
    NON_ALPHANUMERIC,
];

/// How one family of JSON writers escapes what it need not (RFC 8259 §7).
struct JsonStyle {
    /// What is written as `\u00…`.
    by_number: &'static str,
    /// Whether `/` is written `\/`.
    slash: Slash,
    /// Whether what is not ASCII is written as `\u…`.
    beyond_ascii: BeyondAscii,
    digits: Digits,
}

#[derive(Clone, Copy, PartialEq)]
enum Slash {
    Escaped,
    Plain,
}

#[derive(Clone, Copy, PartialEq)]
enum BeyondAscii {
    Escaped,
    Plain,
}

#[derive(Clone, Copy, PartialEq)]
enum Digits {
    Lower,
    Upper,
}

const fn style(
    by_number: &'static str,
    slash: Slash,
    beyond_ascii: BeyondAscii,
    digits: Digits,
) -> JsonStyle {
    JsonStyle {
        by_number,
        slash,
        beyond_ascii,
        digits,
    }
}

/// JavaScript and most others; Python; PHP; Go; Gson; .NET.
const JSON_STYLES: [JsonStyle; 6] = [
    style("", Slash::Plain, BeyondAscii::Plain, Digits::Lower),
    style("", Slash::Plain, BeyondAscii::Escaped, Digits::Lower),
    style("", Slash::Escaped, BeyondAscii::Escaped, Digits::Lower),
    style("<>&", Slash::Plain, BeyondAscii::Plain, Digits::Lower),
    style("<>&='", Slash::Plain, BeyondAscii::Plain, Digits::Lower),
    style(
        "<>&'\"+`",
        Slash::Plain,
        BeyondAscii::Escaped,
        Digits::Upper,
    ),
];

/// Every form of `secret`: as it is, base64, percent-encoded, escaped for JSON and HTML.
pub(super) fn forms(secret: &[u8]) -> Vec<Form> {
    let mut forms = vec![Zeroizing::new(secret.to_vec())];
    forms.extend(base64(secret));
    forms.extend(percent(secret));
    if let Ok(text) = std::str::from_utf8(secret) {
        forms.extend(JSON_STYLES.iter().map(|style| json(text, style)));
        forms.push(html(text));
    }
    forms.sort_unstable_by(|one, other| one[..].cmp(&other[..]));
    forms.dedup();
    forms
}

/// What of the base64 of a text holds `secret` alone, at each of the three places within a group
/// where it may begin: something else may stand before it, as the client's identifier does (RFC
/// 6749 §2.3.1). A secret too short to fill a group has none.
pub(super) fn within_base64(secret: &[u8]) -> impl Iterator<Item = Zeroizing<String>> {
    (0..3_usize).filter_map(move |before| {
        let shifted = Zeroizing::new([&[0; 2][..before], secret].concat());
        let first = (before * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        let encoded = Zeroizing::new(STANDARD.encode(&*shifted));
        let alone = encoded.get(first..end)?;
        (alone.len() >= 4).then(|| Zeroizing::new(alone.to_owned()))
    })
}

/// In both alphabets (RFC 4648 §4, §5): within a longer text, and with its last, partly filled
/// character where it ends one. Padding tells nothing.
fn base64(secret: &[u8]) -> impl Iterator<Item = Form> {
    let ending = (0..3_usize).map(move |before| {
        let shifted = Zeroizing::new([&[0; 2][..before], secret].concat());
        let encoded = Zeroizing::new(STANDARD.encode(&*shifted));
        let alone = &encoded[(before * 8).div_ceil(6)..];
        Zeroizing::new(alone.trim_end_matches('=').to_owned())
    });
    within_base64(secret).chain(ending).flat_map(|standard| {
        let url_safe = Zeroizing::new(standard.replace('+', "-")).replace('/', "_");
        [
            Zeroizing::new(standard.as_bytes().to_vec()),
            Zeroizing::new(url_safe.into_bytes()),
        ]
    })
}

/// RFC 3986 §2.1, with digits of either case; as a form does, with `+` for a space; every byte.
fn percent(secret: &[u8]) -> Vec<Form> {
    let mut forms: Vec<Zeroizing<String>> = PERCENT_SETS
        .iter()
        .map(|set| percent_encode(secret, set))
        .map(|encoded| joined(3 * secret.len(), encoded))
        .collect();
    forms.push(joined(
        3 * secret.len(),
        form_urlencoded::byte_serialize(secret),
    ));
    forms.push(joined(
        3 * secret.len(),
        secret.iter().map(|byte| format!("%{byte:02X}")),
    ));
    let lower = |form: &Zeroizing<String>| Zeroizing::new(lower_digits(form.as_bytes()));
    let lowered: Vec<Form> = forms.iter().map(lower).collect();
    let upper = forms
        .iter()
        .map(|form| Zeroizing::new(form.as_bytes().to_vec()));
    upper.chain(lowered).collect()
}

/// All of `pieces` in a text of at most `bytes_max`: growing would leave a copy behind.
fn joined(bytes_max: usize, pieces: impl Iterator<Item = impl AsRef<str>>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes_max));
    pieces.for_each(|piece| text.push_str(piece.as_ref()));
    text
}

/// The same with the two digits behind each `%` in lower case.
fn lower_digits(encoded: &[u8]) -> Vec<u8> {
    let mut lowered = encoded.to_vec();
    for at in 0..lowered.len() {
        if encoded[at] == b'%' {
            let end = lowered.len().min(at + 3);
            lowered[at..end].make_ascii_lowercase();
        }
    }
    lowered
}

fn json(text: &str, style: &JsonStyle) -> Form {
    // No character takes more than its bytes do as `\u0000`.
    let mut written = Zeroizing::new(String::with_capacity(6 * text.len()));
    for c in text.chars() {
        let beyond = !c.is_ascii() && style.beyond_ascii == BeyondAscii::Escaped;
        if beyond || style.by_number.contains(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                written.push_str(&match style.digits {
                    Digits::Lower => format!("\\u{unit:04x}"),
                    Digits::Upper => format!("\\u{unit:04X}"),
                });
            }
        } else {
            if c == '"' || c == '\\' || (c == '/' && style.slash == Slash::Escaped) {
                written.push('\\');
            }
            written.push(c);
        }
    }
    Zeroizing::new(written.as_bytes().to_vec())
}

fn html(text: &str) -> Form {
    let mut written = Zeroizing::new(String::with_capacity("&quot;".len() * text.len()));
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            plain => written.push(plain),
        }
    }
    Zeroizing::new(written.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
    use serde_json::Value;

    use super::*;

    /// A secret that every encoding changes.
    const SECRET: &str = "a+b/c=\"é?>&'~\\ !";

    fn texts(secret: &str) -> Vec<String> {
        let forms = forms(secret.as_bytes());
        let text = |form: &Form| String::from_utf8(form.to_vec()).expect("text");
        forms.iter().map(text).collect()
    }

    #[test]
    fn every_form_is_found_in_what_an_encoder_writes_of_a_longer_text() {
        let forms = texts(SECRET);
        for before in ["", "u", "us", "user:"] {
            for after in ["", ".", "..", "...."] {
                let text = format!("{before}{SECRET}{after}");
                for encoded in [
                    STANDARD.encode(&text),
                    STANDARD_NO_PAD.encode(&text),
                    URL_SAFE.encode(&text),
                    form_urlencoded::byte_serialize(text.as_bytes()).collect(),
                    serde_json::to_string(&text).expect("text"),
                ] {
                    let shown = forms.iter().any(|form| encoded.contains(form.as_str()));
                    assert!(shown, "{encoded}");
                }
            }
        }
    }

    #[test]
    fn what_follows_a_secret_hides_no_more_than_its_last_character_in_base64() {
        let encoded = STANDARD.encode(format!("user:{SECRET}xyz"));
        let longest = texts(SECRET)
            .iter()
            .filter(|form| encoded.contains(form.as_str()))
            .map(String::len)
            .max();

        assert!(longest.is_some_and(|length| length + 2 >= SECRET.len() * 4 / 3));
    }

    #[test]
    fn every_json_form_is_read_back_as_the_secret() {
        for style in &JSON_STYLES {
            let written = json(SECRET, style);
            let quoted = format!("\"{}\"", String::from_utf8_lossy(&written));

            let read: Value = serde_json::from_str(&quoted).expect("legal JSON");

            assert_eq!(read, Value::String(SECRET.to_owned()), "{quoted}");
        }
    }

    #[test]
    fn the_forms_that_servers_write_are_there() {
        let forms = texts(SECRET);
        for written in [
            "a%2Bb%2Fc%3D%22%C3%A9%3F%3E%26%27~%5C%20%21",
            "a%2bb%2fc%3d%22%c3%a9%3f%3e%26%27~%5c%20%21",
            "a%2Bb%2Fc%3D%22%C3%A9%3F%3E%26'~%5C%20!",
            "a%2Bb%2Fc%3D%22%C3%A9%3F%3E%26%27%7E%5C+%21",
            r#"a+b/c=\"é?>&'~\\ !"#,
            r#"a+b\/c=\"\u00e9?>&'~\\ !"#,
            r#"a+b/c=\"é?\u003e\u0026'~\\ !"#,
            r"a\u002Bb/c=\u0022\u00E9?\u003E\u0026\u0027~\\ !",
            "a+b/c=&quot;é?&gt;&amp;&#39;~\\ !",
        ] {
            assert!(forms.iter().any(|form| form == written), "{written}");
        }
    }

    #[test]
    fn a_plain_secret_has_few_forms() {
        // As it is, every byte percent-encoded, and base64 in three places, each of two lengths
        // where its bits do not fill the last character.
        let forms = texts("s3cr3tpassw0rd");

        assert!(forms.len() <= 8, "{forms:?}");
    }
}
