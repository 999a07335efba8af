//! One line of the log, whatever it is made of.
//!
//! # Invariants
//!
//! A line is one line. What comes from outside cannot end it, begin another, recolour a terminal or
//! reorder what is shown: control characters (ESC and the C1 codes among them), Unicode's line
//! separators and its marks of direction are written as escapes. A value takes at most
//! [`VALUE_BYTES_MAX`] bytes.

use std::fmt::{self, Display, Write};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::rfc3339;
use crate::config::LogFormat;
use crate::harmless::is_hostile;

/// The most bytes of one value that are written.
pub(super) const VALUE_BYTES_MAX: usize = 4096;
/// Stands where something was cut off.
const CUT: &str = "…";

/// Names that every line of JSON has already.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// A line as it is put together, at the end of a text that may hold others.
pub(super) struct Line<'a> {
    format: LogFormat,
    text: &'a mut String,
}

/// What every line begins with.
pub(super) struct Head<'a> {
    /// As [`Dates`] shows it.
    pub(super) at: &'a str,
    pub(super) level: &'a str,
    pub(super) target: &'a str,
    pub(super) message: &'a str,
}

/// What a field holds.
pub(super) enum Value<'a> {
    /// Text, from anywhere.
    Text(&'a str),
    /// A number or a truth value, as both formats write it.
    Plain(&'a dyn Display),
    /// A whole number, without the detour through [`Display`].
    Number(u64),
    /// A time, in milliseconds with three decimals.
    Milliseconds(Duration),
    /// Somebody's address.
    Address(SocketAddr),
}

impl<'a> Line<'a> {
    pub(super) fn begin(text: &'a mut String, format: LogFormat, head: &Head<'_>) -> Self {
        let mut line = Self { format, text };
        match format {
            LogFormat::Text => {
                line.text.push_str(head.at);
                line.text.push(' ');
                line.text.push_str(head.level);
                // Levels stand in a column of five.
                line.text.extend(std::iter::repeat_n(
                    ' ',
                    6_usize.saturating_sub(head.level.len()),
                ));
                line.text.push_str(head.target);
                line.text.push_str(": ");
                escape(head.message, LogFormat::Text, line.text);
            }
            LogFormat::Json => {
                line.text.push_str(r#"{"timestamp":""#);
                line.text.push_str(head.at);
                line.text.push('"');
                line.field("level", Value::Text(head.level));
                line.field("target", Value::Text(head.target));
                line.field("message", Value::Text(head.message));
            }
        }
        line
    }

    /// Adds `name=value`.
    pub(super) fn field(&mut self, name: &str, value: Value<'_>) {
        let (before, after) = match self.format {
            LogFormat::Text => (" ", "="),
            LogFormat::Json => (",\"", "\":"),
        };
        self.text.push_str(before);
        self.text.push_str(name);
        self.text.push_str(after);
        match value {
            Value::Text(text) => match self.format {
                LogFormat::Text if is_bare(text) => self.text.push_str(text),
                LogFormat::Text | LogFormat::Json => self.quoted(text),
            },
            Value::Plain(plain) => self.push(format_args!("{plain}")),
            Value::Number(number) => push_number(number, self.text),
            Value::Milliseconds(duration) => push_milliseconds(duration, self.text),
            Value::Address(address) => {
                let quote = match self.format {
                    LogFormat::Text => "",
                    LogFormat::Json => "\"",
                };
                self.text.push_str(quote);
                self.address(address);
                self.text.push_str(quote);
            }
        }
    }

    fn address(&mut self, address: SocketAddr) {
        let SocketAddr::V4(four) = address else {
            self.push(format_args!("{address}"));
            return;
        };
        for (place, octet) in four.ip().octets().into_iter().enumerate() {
            if place > 0 {
                self.text.push('.');
            }
            push_number(octet.into(), self.text);
        }
        self.text.push(':');
        push_number(four.port().into(), self.text);
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        escape(text, self.format, self.text);
        self.text.push('"');
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.text.push_str(match self.format {
            LogFormat::Text => "\n",
            LogFormat::Json => "}\n",
        });
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string fails only if a Display does; what it wrote until then stands.
        let _written = self.text.write_fmt(arguments);
    }
}

/// Dates as lines show them (RFC 3339 §5.6). One in the same second as the last costs three digits.
#[derive(Default)]
pub(super) struct Dates {
    second: Option<u64>,
    text: String,
}

impl Dates {
    /// How far a date is the same for a second.
    const SECOND_BYTES: usize = "2027-01-15T08:00:00.".len();

    pub(super) fn show(&mut self, at: SystemTime) -> &str {
        let since_epoch = at.duration_since(UNIX_EPOCH).ok();
        let second = since_epoch.map(|since| since.as_secs());
        match since_epoch {
            Some(since) if second == self.second => {
                self.text.truncate(Self::SECOND_BYTES);
                push_three(since.subsec_millis().into(), &mut self.text);
                self.text.push('Z');
            }
            Some(_) | None => {
                self.text = rfc3339(at).to_string();
                self.second = second;
            }
        }
        &self.text
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

fn push_number(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn push_milliseconds(duration: Duration, out: &mut String) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    push_number(us / 1_000, out);
    out.push('.');
    push_three(us % 1_000, out);
}

/// Three digits of a number below 1000.
fn push_three(number: u64, out: &mut String) {
    // The digits of 1000 more are those three behind a one.
    out.push_str(&itoa::Buffer::new().format(1_000 + number)[1..]);
}

fn is_bare(text: &str) -> bool {
    let bare = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && !is_hostile(c);
    let bare_byte = |byte: u8| is_plain(byte) & (byte != b' ') & (byte != b'=');
    !text.is_empty()
        && text.len() <= VALUE_BYTES_MAX
        && (all(text, bare_byte) || text.chars().all(bare))
}

/// Whether a byte is a character that stands for itself, between quotes too.
fn is_plain(byte: u8) -> bool {
    (b' '..0x7F).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Looks at every byte whatever it finds, which goes many bytes at a time.
fn all(text: &str, holds: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & holds(byte))
}

/// Appends `text` as it may stand between quotes.
fn escape(text: &str, format: LogFormat, out: &mut String) {
    let kept = clip(text, VALUE_BYTES_MAX);
    if all(kept, is_plain) {
        out.push_str(kept);
    } else {
        kept.chars().for_each(|c| escape_one(c, format, out));
    }
    if kept.len() < text.len() {
        out.push_str(CUT);
    }
}

fn escape_one(c: char, format: LogFormat, out: &mut String) {
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

/// The longest beginning of `text` that takes at most `bytes_max` bytes.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [LogFormat; 2] = [LogFormat::Text, LogFormat::Json];

    fn line(format: LogFormat, message: &str, value: &str) -> String {
        let mut text = String::new();
        let head = Head {
            at: "2027-01-15T08:00:00.123Z",
            level: "INFO",
            target: "attache::proxy",
            message,
        };
        let mut line = Line::begin(&mut text, format, &head);
        line.field("path", Value::Text(value));
        line.field("status", Value::Plain(&200));
        line.end();
        text
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
        let shown = |duration| {
            let mut text = String::new();
            push_milliseconds(duration, &mut text);
            text
        };
        assert_eq!(shown(Duration::from_micros(1_234_567)), "1234.567");
        assert_eq!(shown(Duration::from_nanos(5_999)), "0.005");
    }

    #[test]
    fn dates_are_right_within_a_second_and_across_seconds_either_way() {
        let mut dates = Dates::default();
        for ms in [
            0,
            1_800_000_000_123,
            1_800_000_000_007,
            1_800_000_000_999,
            1_800_000_001_000,
            1_800_000_000_999,
            1_800_086_400_010,
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(ms);
            assert_eq!(dates.show(at), rfc3339(at).to_string());
        }
        let before = UNIX_EPOCH - Duration::from_millis(1_500);
        for at in [before, UNIX_EPOCH, before, before] {
            assert_eq!(dates.show(at), rfc3339(at).to_string());
        }
    }

    #[test]
    fn addresses_are_written_as_the_library_writes_them() {
        for address in [
            "0.0.0.0:0",
            "203.0.113.255:65535",
            "[::1]:8",
            "[::ffff:1.2.3.4]:80",
        ] {
            let address: SocketAddr = address.parse().unwrap();
            let mut text = String::new();
            let mut line = Line {
                format: LogFormat::Text,
                text: &mut text,
            };
            line.field("peer", Value::Address(address));
            assert_eq!(text, format!(" peer={address}"));
        }
    }

    #[test]
    fn one_bad_character_anywhere_in_a_long_value_is_found() {
        for place in 0..70 {
            for bad in ['\n', '"', '\\', '\u{7f}', '\u{85}', '\u{202e}'] {
                let mut value = "x".repeat(70);
                value.insert(place, bad);
                for format in FORMATS {
                    let line = line(format, "m", &value);
                    let quoted = line.contains("path=\"") || format == LogFormat::Json;
                    assert!(quoted && line.contains('\\'), "{line}");
                }
            }
        }
    }
}
