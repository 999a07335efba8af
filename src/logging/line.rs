//! One line of the log, whatever it is made of.
//!
//! # Invariants
//!
//! A line is one line. What comes from outside cannot end it, begin another, recolour a terminal or
//! reorder what is shown: control characters (ESC and the C1 codes among them), Unicode's line
//! separators and its marks of direction are written as escapes. A value takes at most
//! [`VALUE_BYTES_MAX`] bytes.

use std::fmt::{self, Display, Write};
use std::time::{Duration, SystemTime};

use crate::clock::rfc3339;
use crate::config::LogFormat;

/// The most bytes of one value that are written.
pub(super) const VALUE_BYTES_MAX: usize = 4096;
/// Stands where something was cut off.
const CUT: &str = "…";

/// Names that every line of JSON has already.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// A line as it is put together.
pub(super) struct Line {
    format: LogFormat,
    text: String,
}

/// What a field holds.
pub(super) enum Value<'a> {
    /// Text, from anywhere.
    Text(&'a str),
    /// A number or a truth value, as both formats write it.
    Plain(&'a dyn Display),
}

impl Line {
    pub(super) fn new(
        format: LogFormat,
        at: SystemTime,
        level: &str,
        target: &str,
        message: &str,
    ) -> Self {
        let mut line = Self {
            format,
            text: String::with_capacity(256),
        };
        let at = rfc3339(at);
        match format {
            LogFormat::Text => {
                line.push(format_args!("{at} {level:<5} {target}: "));
                escape(message, LogFormat::Text, &mut line.text);
            }
            LogFormat::Json => {
                line.push(format_args!(r#"{{"timestamp":"{at}""#));
                line.field("level", Value::Text(level));
                line.field("target", Value::Text(target));
                line.json_field("message", Value::Text(message));
            }
        }
        line
    }

    /// Adds `name=value`.
    pub(super) fn field(&mut self, name: &str, value: Value<'_>) {
        match self.format {
            LogFormat::Text => {
                self.push(format_args!(" {name}="));
                match value {
                    Value::Plain(plain) => self.push(format_args!("{plain}")),
                    Value::Text(text) if is_bare(text) => self.text.push_str(text),
                    Value::Text(text) => self.quoted(text),
                }
            }
            LogFormat::Json => self.json_field(name, value),
        }
    }

    fn json_field(&mut self, name: &str, value: Value<'_>) {
        self.push(format_args!(r#","{name}":"#));
        match value {
            Value::Plain(plain) => self.push(format_args!("{plain}")),
            Value::Text(text) => self.quoted(text),
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        escape(text, self.format, &mut self.text);
        self.text.push('"');
    }

    /// Ends the line.
    pub(super) fn end(mut self) -> String {
        match self.format {
            LogFormat::Text => {}
            LogFormat::Json => self.text.push('}'),
        }
        self.text.push('\n');
        self.text
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string fails only if a Display does; what it wrote until then stands.
        let _written = self.text.write_fmt(arguments);
    }
}

/// A name for a field of an event that does not collide with what every line has.
pub(super) fn field_name(name: &'static str) -> &'static str {
    match RESERVED.iter().position(|reserved| *reserved == name) {
        None => name,
        Some(0) => "field_timestamp",
        Some(1) => "field_level",
        Some(2) => "field_target",
        Some(_) => "field_message",
    }
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(duration: Duration) -> impl Display {
    let us = duration.as_micros();
    fmt::from_fn(move |f| write!(f, "{}.{:03}", us / 1_000, us % 1_000))
}

fn is_bare(text: &str) -> bool {
    let bare = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && !is_hostile(c);
    !text.is_empty() && text.len() <= VALUE_BYTES_MAX && text.chars().all(bare)
}

/// What ends lines, steers terminals or turns the direction of what is shown.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        )
}

/// Appends `text` as it may stand between quotes.
fn escape(text: &str, format: LogFormat, out: &mut String) {
    let kept = clip(text, VALUE_BYTES_MAX);
    for c in kept.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            hostile if is_hostile(hostile) => {
                // Every hostile character lies in the basic plane, so four digits do (RFC 8259 §7).
                let code = u32::from(hostile);
                let _written = match format {
                    LogFormat::Text => write!(out, "\\u{{{code:x}}}"),
                    LogFormat::Json => write!(out, "\\u{code:04x}"),
                };
            }
            plain => out.push(plain),
        }
    }
    if kept.len() < text.len() {
        out.push_str(CUT);
    }
}

/// The longest beginning of `text` that takes at most `bytes_max` bytes.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    fn line(format: LogFormat, message: &str, value: &str) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let mut line = Line::new(format, at, "INFO", "attache::proxy", message);
        line.field("path", Value::Text(value));
        line.field("status", Value::Plain(&200));
        line.end()
    }

    #[test]
    fn hostile_text_stays_within_its_line_and_shows_as_escapes() {
        let hostile = "a\r\nb\u{1b}[31mc\u{7}\u{0}\u{7f}\u{9b}\u{2028}\u{202e}\u{85}\"\\ d";
        for format in FORMATS {
            let line = line(format, hostile, hostile);

            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let shown = line.trim_end_matches('\n');
            assert!(!shown.contains(is_hostile), "{line:?}");
        }
    }

    #[test]
    fn json_keeps_hostile_text_to_the_letter() {
        let hostile = "a\r\nb\u{1b}[31m\u{0}\u{9b}\u{2028}\u{202e}\u{feff}\"\\ \u{1F512}d\t";
        let line = line(LogFormat::Json, hostile, hostile);

        let read: serde_json::Value = serde_json::from_str(&line).unwrap();

        assert_eq!(read["message"], hostile);
        assert_eq!(read["path"], hostile);
        assert_eq!(read["status"], 200);
        assert_eq!(read["timestamp"], "2027-01-15T08:00:00.123Z");
    }

    #[test]
    fn text_quotes_only_what_could_be_misread() {
        assert_eq!(
            line(LogFormat::Text, "request answered", "/crm/x"),
            "2027-01-15T08:00:00.123Z INFO  attache::proxy: request answered path=/crm/x status=200\n"
        );
        for (value, shown) in [
            ("", r#"path="" "#),
            ("a b", r#"path="a b" "#),
            ("a=b", r#"path="a=b" "#),
            ("a\u{a0}b", "path=\"a\u{a0}b\" "),
            ("a\"b", r#"path="a\"b" "#),
            ("a\nlevel=ERROR", r#"path="a\nlevel=ERROR" "#),
        ] {
            let line = line(LogFormat::Text, "m", value);
            assert!(line.contains(shown), "{line}");
        }
    }

    #[test]
    fn a_value_is_cut_at_its_bound_and_says_so() {
        let long = "é".repeat(VALUE_BYTES_MAX);
        for format in FORMATS {
            let line = line(format, "m", &long);
            assert_eq!(line.matches('é').count(), VALUE_BYTES_MAX / 2);
            assert!(line.contains("é…\""), "{format:?}");
        }
    }

    #[test]
    fn durations_are_milliseconds_with_three_decimals() {
        let shown = |duration| milliseconds(duration).to_string();
        assert_eq!(shown(Duration::from_micros(1_234_567)), "1234.567");
        assert_eq!(shown(Duration::from_nanos(5_999)), "0.005");
    }
}
