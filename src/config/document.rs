//! YAML text, or a JSON value, as a tree whose every node knows where it stands.
//!
//! # Invariants
//!
//! Nothing here repeats a scalar of the text: a secret may stand anywhere, also where it should
//! not. What the YAML library says of a bad document is therefore rephrased, except for its own
//! fixed sentences about syntax. The memory a document takes is linear in its length: aliases are
//! replayed at most as many times as the text has bytes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Error, Options, Spanned};
use zeroize::Zeroizing;

use super::error::{Fault, Problem};
use super::{keys, settings};

/// The deepest nesting; the deepest key of the configuration stands at nine.
pub(super) const DEPTH_MAX: usize = 32;

/// The least budget, so that short documents are never refused for their shape.
const BUDGET_MIN: usize = 100_000;

/// A place in the text; both counts begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A parsed text, or what a JSON value says.
pub(super) struct Document<'t> {
    pub(super) source: Cow<'t, str>,
    pub(super) root: Node,
    pub(super) written: Written,
}

/// What a document was read from, which decides how its places are named and where its secrets
/// may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A configuration file: places are `connectors[orders].auth`, secrets may stand in files.
    Yaml,
    /// A connector that administrators wrote: places are JSON pointers, secrets are strings.
    Json,
}

/// A value of the text.
pub(super) struct Node {
    /// Where it is used; for an alias, where the alias stands.
    pub(super) at: Position,
    pub(super) content: Content,
    /// Where its text stands, in bytes; for an alias, where the anchor stands.
    pub(super) defined: std::ops::Range<usize>,
}

/// What a value is.
pub(super) enum Content {
    Null,
    /// Text, quoted or not.
    Text(Zeroizing<String>),
    /// A bare scalar that YAML takes for a number or truth value. Its text is read from the
    /// source, so that a password of digits keeps its leading zeros.
    Bare,
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

impl<'t> Document<'t> {
    /// Parses `source`, which must not exceed 4 GiB.
    ///
    /// # Errors
    ///
    /// A [`Fault`] at the first place that is no YAML or repeats a key.
    pub(super) fn parse(source: &'t str) -> Result<Self, Fault> {
        // Offsets count from behind a byte order mark (YAML 1.2 §5.2).
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        match serde_yaml::from_str_with_options(source, options(source.len())) {
            Ok(root) => Ok(Self {
                source: Cow::Borrowed(source),
                root,
                written: Written::Yaml,
            }),
            Err(error) => Err(fault(&error, source)),
        }
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// The text of `node`, if it is a scalar other than null.
    pub(super) fn text<'a>(&'a self, node: &'a Node) -> Option<&'a str> {
        match &node.content {
            Content::Text(text) => Some(text),
            Content::Bare => self.source.get(node.defined.clone()),
            Content::Null | Content::List(_) | Content::Map(_) => None,
        }
    }
}

fn options(bytes: usize) -> Options {
    let most = bytes.max(BUDGET_MIN);
    serde_yaml::options! {
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: most },
        budget: serde_yaml::budget! {
            max_reader_input_bytes: None,
            max_depth: DEPTH_MAX,
            max_documents: 2,
            max_events: most.saturating_mul(2),
            max_nodes: most,
            max_total_scalar_bytes: most,
            max_aliases: most,
            max_anchors: most,
            max_merge_keys: most,
            max_recorded_anchor_events: most,
            max_recorded_anchor_bytes: most,
            // Replays are limited in all; one anchor for every connector is a good use.
            enforce_alias_anchor_ratio: false,
        },
    }
}

/// Says what is wrong with a document without its text.
fn fault(error: &Error, source: &str) -> Fault {
    let mut error = error;
    // What is wrong inside an anchor is reported around every alias on the way to it.
    while let Error::AliasError { error: inner, .. } = error {
        error = inner;
    }
    let at = error
        .location()
        .map_or(Position::START, |location| Position {
            line: location.line().max(1),
            column: location.column().max(1),
        });
    let problem = if matches!(error, Error::DuplicateMappingKey { .. }) {
        Problem::RepeatedKey
    } else if matches!(error, Error::MultipleDocuments { .. }) {
        Problem::SecondDocument
    } else if matches!(error, Error::UnknownAnchor { .. }) {
        Problem::UnknownAnchor
    } else if matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    ) {
        Problem::TooIntricate
    } else if let Some(name) = interpolation_in_flow(source, at) {
        Problem::Interpolation { name }
    } else if let Error::ExternalMessage { msg, .. } = error {
        // The scanner's own fixed sentences; at most one character of the text is in them.
        Problem::Syntax(Some(msg.clone()))
    } else {
        Problem::Syntax(None)
    };
    let key = if matches!(problem, Problem::RepeatedKey) {
        known_key(source, at)
    } else {
        String::new()
    };
    Fault::new(at, key, problem)
}

/// The key that stands at `at`, if it is one of ours and so no secret in the wrong place.
fn known_key(source: &str, at: Position) -> String {
    let index = |one_based: u64| usize::try_from(one_based - 1).unwrap_or(usize::MAX);
    let line = source.lines().nth(index(at.line)).unwrap_or_default();
    let letter = |c: &char| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit();
    let key: String = line
        .chars()
        .skip(index(at.column))
        .take_while(letter)
        .collect();
    match settings::ALL_KEYS
        .iter()
        .any(|keys| keys.contains(&key.as_str()))
    {
        true => key,
        false => String::new(),
    }
}

/// `{ key: ${NAME} }` is no YAML: the scanner stops at the second brace, after the `$`.
fn interpolation_in_flow(source: &str, at: Position) -> Option<String> {
    let line = source.lines().nth(usize::try_from(at.line).ok()? - 1)?;
    let before_brace = usize::try_from(at.column).ok()?.checked_sub(2)?;
    let start = line.char_indices().nth(before_brace)?.0;
    let end = start + line.get(start..)?.find('}')? + 1;
    let separates = |c: char| c.is_whitespace() || "[]{},".contains(c);
    let alone = line[..start].chars().next_back().is_none_or(separates)
        && line[end..].chars().next().is_none_or(separates);
    let name = keys::interpolated(&line[start..end])?;
    Some(if alone { name } else { "NAME".to_owned() })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let offset = |bytes: Option<u64>| usize::try_from(bytes.unwrap_or(0)).unwrap_or(0);
        let start = offset(span.byte_offset());
        Ok(Self {
            at: position(spanned.referenced),
            content: spanned.value,
            defined: start..start.saturating_add(offset(span.byte_len())),
        })
    }
}

fn position(location: serde_yaml::Location) -> Position {
    Position {
        line: location.line(),
        column: location.column(),
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Bare)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Bare)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Content, E> {
        Ok(Content::Bare)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Bare)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
        Ok(Content::Text(Zeroizing::new(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            map.push(Entry {
                at: position(key.referenced),
                key: key.value,
                value: entries.next_value()?,
            });
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "hunter2";

    fn value<'a>(document: &'a Document<'_>, key: &str) -> &'a Node {
        match &document.root().content {
            Content::Map(entries) => {
                let entry = entries.iter().find(|entry| entry.key == key);
                &entry.unwrap().value
            }
            Content::Null | Content::Text(_) | Content::Bare | Content::List(_) => panic!("no map"),
        }
    }

    fn refused(source: &str) -> Fault {
        Document::parse(source).err().expect(source)
    }

    #[test]
    fn what_is_no_yaml_is_refused_without_repeating_it() {
        for source in [
            "a: [hunter2",
            "a: b: hunter2",
            "a: \"hunter2\\q\"",
            "a: *hunter2",
            "a: !hunter2 b",
            "a: !hunter2!x b",
            "a: 1\n---\nhunter2: 2",
            "? [hunter2]\n: 5",
            "? {hunter2: b}\n: 5",
            "a: !!int hunter2",
            "a: !!float hunter2",
            "a: !!bool hunter2",
            "a: !!binary hunter2",
            "a: !!timestamp hunter2",
            "a: @hunter2",
            "a: `hunter2",
            "a: !<hunter2 b",
            "a: &hunter2 &hunter2 b",
            "- a\nhunter2: b",
            "a: 'hunter2",
            "{hunter2",
            "a: |hunter2\n b",
            "a: \"\\xZZhunter2\"",
            "!!set {hunter2}",
            "<<: hunter2",
            "{? , b: hunter2}",
            "hunter2: 1\nhunter2: 2",
            "a: hunter2\n b: c",
        ] {
            let fault = refused(source);

            assert!(!format!("{fault} {fault:?}").contains(CANARY), "{fault:?}");
        }
    }

    #[test]
    fn a_repeated_key_is_refused_where_it_stands_again() {
        let fault = refused("a: 1\nb:\n  c: 1\n  c: 2\n");

        assert_eq!(
            fault.to_string(),
            "4:3: this key was given before in the same mapping"
        );
    }

    #[test]
    fn nesting_and_alias_bombs_are_refused() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let row = [before.as_str(); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
        }
        for source in [deep, bomb] {
            let fault = refused(&source);

            assert!(fault.to_string().contains("too deeply nested"), "{fault}");
        }
    }

    #[test]
    fn bare_scalars_keep_their_text() {
        let source = "\u{feff}ä: \u{e9}\na: 0123\nb: 1e999\nc: yes\nd: 0x1F\ne: true\nf: -5\ng: 1_0\nh: &x 007\ni: *x\n";
        let document = Document::parse(source).unwrap();

        for (key, text) in [
            ("a", "0123"),
            ("b", "1e999"),
            ("c", "yes"),
            ("d", "0x1F"),
            ("e", "true"),
            ("f", "-5"),
            ("g", "1_0"),
            ("h", "007"),
            ("i", "007"),
        ] {
            assert_eq!(document.text(value(&document, key)), Some(text), "{key}");
        }
    }

    #[test]
    fn positions_are_those_of_the_text() {
        let document = Document::parse("a: 1\nb:\n  - c\n").unwrap();

        assert_eq!(value(&document, "b").at, Position { line: 3, column: 3 });
    }

    #[test]
    fn an_empty_text_is_an_empty_document() {
        for source in ["", "# nothing\n", "---\n"] {
            let document = Document::parse(source).unwrap();

            assert!(
                matches!(document.root().content, Content::Null),
                "{source:?}"
            );
        }
    }
}
