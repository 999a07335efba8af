//! Text from outside, made harmless for whoever reads it.
//!
//! # Invariants
//!
//! What is shown ends no line, begins none, steers no terminal and turns no direction: control
//! characters (ESC and the C1 codes among them), Unicode's line separators, its marks of direction
//! and the byte order mark are written in another way. Nothing else is.

use serde::Serialize;

/// What ends lines, steers terminals or turns the direction of what is shown.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        )
}

/// For people: each hostile character is U+FFFD.
pub fn shown(text: &str) -> String {
    let replace = |c: char| if is_hostile(c) { '\u{fffd}' } else { c };
    text.chars().map(replace).collect()
}

/// `value` as JSON in which nothing acts on a terminal.
///
/// # Errors
///
/// As [`serde_json::to_string`].
pub fn to_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_string(value).map(|text| json(text).into_bytes())
}

/// For programs: `json`, written by a JSON writer, with hostile characters escaped (RFC 8259 §7), so
/// that it says the same to whoever reads it. Line feeds are its layout, since within its strings
/// they are escaped already.
pub fn json(json: String) -> String {
    let is_meant = |c: char| c == '\n' || !is_hostile(c);
    if json.chars().all(is_meant) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if is_meant(c) {
            escaped.push(c);
        } else {
            // Every hostile character lies in the basic plane, so four digits do.
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\u{0}\u{7}\u{1b}[2J\r\n\t\u{7f}\u{85}\u{9b}31m\u{61c}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}";

    #[test]
    fn what_people_read_steers_nothing() {
        let shown = shown(&format!("Café {HOSTILE}🔒"));

        assert!(!shown.contains(is_hostile), "{shown:?}");
        assert!(shown.starts_with("Café \u{fffd}"), "{shown:?}");
        assert!(shown.ends_with("\u{fffd}🔒"), "{shown:?}");
    }

    #[test]
    fn what_programs_read_steers_nothing_and_says_the_same() {
        let value = serde_json::json!({ HOSTILE: [HOSTILE, "Café 🔒"] });

        for written in [
            serde_json::to_string(&value).unwrap(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let escaped = json(written.clone());

            assert!(
                !escaped.contains(|c| c != '\n' && is_hostile(c)),
                "{escaped:?}"
            );
            assert_eq!(escaped.matches('\n').count(), written.matches('\n').count());
            let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
            assert_eq!(read, value);
        }
    }
}
