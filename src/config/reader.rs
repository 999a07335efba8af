//! Walks a document, collecting everything that is wrong with it.
//!
//! # Invariants
//!
//! A reading function always answers; where it cannot, it records a fault and answers with the
//! default or nothing, so that one mistake does not hide the next. A configuration whose reader
//! holds a fault is thrown away. Faults and warnings show keys and places, never values.

use std::sync::Arc;
use std::time::Duration;

use super::document::{Content, Document, Entry, Node, Position, Written};
use super::error::{Fault, Problem, write_place};
use super::files::Files;
use super::keys::interpolated;
pub(super) use super::path::Path;
use super::units::{Bounded, Quantity, Sort, Span};
use crate::connector::Principal;

/// Faults and warnings listed in full; the rest are counted.
pub(super) const LISTED_MAX: usize = 100;

/// A mapping whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Section<'d> {
    pub(super) at: Position,
    entries: &'d [Entry],
    keys: &'static [&'static str],
}

impl<'d> Section<'d> {
    /// The value under `key`; a null counts as a value.
    pub(super) fn written(&self, key: &'static str) -> Option<&'d Node> {
        debug_assert!(self.keys.contains(&key), "{key} is not listed");
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// The value under `key`, unless it is null.
    pub(super) fn optional(&self, key: &'static str) -> Option<&'d Node> {
        self.written(key)
            .filter(|node| !matches!(node.content, Content::Null))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where `key` is written, or else where the mapping begins.
    pub(super) fn place(&self, key: &'static str) -> Position {
        self.written(key).map_or(self.at, |node| node.at)
    }
}

/// Reads one document.
pub(super) struct Reader<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) files: Files<'d>,
    pub(super) faults: Vec<Fault>,
    pub(super) unlisted: usize,
    pub(super) warnings: Vec<Warning>,
    unlisted_warnings: usize,
    /// Whom the document names under `inbound`, where that is known.
    pub(super) principals: Option<Arc<[Arc<Principal>]>>,
}

/// Something that is allowed but unwise.
pub(super) struct Warning {
    at: Position,
    pub(super) key: String,
    pub(super) advice: &'static str,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Document<'d>, files: Files<'d>) -> Self {
        Self {
            document,
            files,
            faults: Vec::new(),
            unlisted: 0,
            warnings: Vec::new(),
            unlisted_warnings: 0,
            principals: None,
        }
    }

    /// Records that the value at `at` is wrong.
    pub(super) fn fault(&mut self, at: Position, path: &Path<'_>, problem: Problem) {
        if self.faults.len() < LISTED_MAX {
            let key = self.place(path);
            self.faults.push(Fault::new(at, key, problem));
        } else {
            self.unlisted += 1;
        }
    }

    /// How whoever wrote the document calls `path`.
    pub(super) fn place(&self, path: &Path<'_>) -> String {
        match self.document.written {
            Written::Yaml => path.to_string(),
            Written::Json => path.pointer(),
        }
    }

    /// Records that the value at `at` is unwise.
    pub(super) fn warn(&mut self, at: Position, path: &Path<'_>, advice: &'static str) {
        if self.warnings.len() >= LISTED_MAX {
            self.unlisted_warnings += 1;
            return;
        }
        let key = self.place(path);
        self.warnings.push(Warning { at, key, advice });
    }

    /// The warnings, a line each, with a count of those that are not listed.
    pub(super) fn into_warnings(self) -> Vec<String> {
        let line = |warning: &Warning| {
            let mut line = String::new();
            // Writing to a String cannot fail.
            let _ = super::error::write_file(&mut line, self.files.named());
            let _ = write_place(&mut line, warning.at, &warning.key);
            line.push_str(warning.advice);
            line
        };
        let mut lines: Vec<String> = self.warnings.iter().map(line).collect();
        if self.unlisted_warnings > 0 {
            lines.push(format!("and {} more warnings", self.unlisted_warnings));
        }
        lines
    }

    /// Records that `node` should have been something else.
    pub(super) fn refuse(&mut self, node: &Node, path: &Path<'_>, problem: Problem) {
        match self.interpolated(node) {
            Some(name) => self.fault(node.at, path, Problem::Interpolation { name }),
            None => self.fault(node.at, path, problem),
        }
    }

    /// As [`interpolated`], of what `node` says. JSON is no text that anybody hopes to be filled
    /// in, and has no other way to write a secret that looks like it.
    fn interpolated(&self, node: &Node) -> Option<String> {
        match self.document.written {
            Written::Yaml => self.document.text(node).and_then(interpolated),
            Written::Json => None,
        }
    }

    /// The text of `node` if it is a scalar, and of that `sort` where that can be told.
    fn scalar(&self, node: &'d Node, sort: Sort) -> Option<&'d str> {
        let document = self.document;
        let fits = match (document.written, sort) {
            (Written::Yaml, _) | (Written::Json, Sort::Either) => true,
            (Written::Json, Sort::Text) => matches!(node.content, Content::Text(_)),
            (Written::Json, Sort::Bare) => matches!(node.content, Content::Bare),
        };
        document.text(node).filter(|_| fits)
    }

    /// Reads the mapping under `key`, whose keys all have defaults: an absent one is empty.
    pub(super) fn section(
        &mut self,
        parent: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
        keys: &'static [&'static str],
    ) -> Section<'d> {
        let read = match parent.written(key) {
            Some(node) => self.mapping(node, &path.key(key), keys),
            None => None,
        };
        read.unwrap_or(Section {
            at: parent.place(key),
            entries: &[],
            keys,
        })
    }

    /// Reads a mapping with `keys`; everything else in it is a fault. Null is an empty mapping.
    pub(super) fn mapping(
        &mut self,
        node: &'d Node,
        path: &Path<'_>,
        keys: &'static [&'static str],
    ) -> Option<Section<'d>> {
        let entries = match &node.content {
            Content::Null => &[],
            Content::Map(entries) => entries.as_slice(),
            Content::Text(_) | Content::Bare | Content::List(_) => {
                self.refuse(node, path, Problem::MustBe("a mapping (key: value)"));
                return None;
            }
        };
        for entry in entries {
            if !keys.contains(&entry.key.as_str()) {
                self.unknown_key(entry, path, keys);
            }
        }
        Some(Section {
            at: node.at,
            entries,
            keys,
        })
    }

    /// Reads a list of at most `most` entries.
    pub(super) fn list(&mut self, node: &'d Node, path: &Path<'_>, most: usize) -> &'d [Node] {
        match &node.content {
            Content::List(nodes) if nodes.len() <= most => nodes,
            Content::List(nodes) => {
                let found = nodes.len();
                self.fault(node.at, path, Problem::TooMany { found, most });
                &[]
            }
            Content::Null | Content::Text(_) | Content::Bare | Content::Map(_) => {
                self.refuse(node, path, Problem::MustBe("a list, [] if it is empty"));
                &[]
            }
        }
    }

    /// Reads a mapping whose keys are the operator's own, of at most `most` entries.
    pub(super) fn entries(&mut self, node: &'d Node, path: &Path<'_>, most: usize) -> &'d [Entry] {
        match &node.content {
            Content::Map(entries) if entries.len() <= most => entries,
            Content::Map(entries) => {
                let found = entries.len();
                self.fault(node.at, path, Problem::TooMany { found, most });
                &[]
            }
            Content::Null => &[],
            Content::Text(_) | Content::Bare | Content::List(_) => {
                self.refuse(node, path, Problem::MustBe("a mapping (name: value)"));
                &[]
            }
        }
    }

    /// Reads a text; `expected` says what should stand there.
    pub(super) fn text(
        &mut self,
        node: &'d Node,
        path: &Path<'_>,
        expected: &'static str,
    ) -> Option<&'d str> {
        self.sorted(node, path, Sort::Text, expected)
    }

    /// Reads a scalar of `sort`; `expected` says what should stand there.
    pub(super) fn sorted(
        &mut self,
        node: &'d Node,
        path: &Path<'_>,
        sort: Sort,
        expected: &'static str,
    ) -> Option<&'d str> {
        match self.scalar(node, sort) {
            Some(text) if self.interpolated(node).is_none() => Some(text),
            Some(_) | None => {
                self.refuse(node, path, Problem::MustBe(expected));
                None
            }
        }
    }

    /// Reads a text that must be there: at least one byte, at most [`super::TEXT_BYTES_MAX`], no
    /// control characters.
    pub(super) fn required_text(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
        expected: &'static str,
    ) -> Option<&'d str> {
        let path = path.key(key);
        match section.optional(key) {
            Some(node) => self.plain_text(node, &path, expected),
            None => {
                self.fault(section.place(key), &path, Problem::Required(expected));
                None
            }
        }
    }

    /// Reads a text that may be absent, with the rules of [`Reader::required_text`].
    pub(super) fn optional_text(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
        expected: &'static str,
    ) -> Option<&'d str> {
        let node = section.optional(key)?;
        self.plain_text(node, &path.key(key), expected)
    }

    fn plain_text(
        &mut self,
        node: &'d Node,
        path: &Path<'_>,
        expected: &'static str,
    ) -> Option<&'d str> {
        let text = self.text(node, path, expected)?;
        self.plain(node, path, text, expected)
    }

    /// `text`, which stands at `node`, if it is short and without control characters.
    pub(super) fn plain(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        text: &'d str,
        expected: &'static str,
    ) -> Option<&'d str> {
        if text.is_empty() || text.len() > super::TEXT_BYTES_MAX || text.contains(char::is_control)
        {
            self.fault(node.at, path, Problem::MustBe(expected));
            return None;
        }
        Some(text)
    }

    /// Reads a quantity, or takes `default` where the key is absent.
    pub(super) fn quantity_or<Q: Quantity>(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        bounded: &Bounded<Q>,
        default: Q,
    ) -> Q {
        let Some(node) = section.written(bounded.key) else {
            return default;
        };
        let path = path.key(bounded.key);
        let read = self
            .scalar(node, Q::SORT)
            .and_then(|text| bounded.parse(text));
        read.unwrap_or_else(|| {
            let problem = Problem::OutOfBounds {
                form: Q::FORM,
                allowed: bounded.allowed(),
            };
            self.refuse(node, &path, problem);
            default
        })
    }

    /// Reads a quantity, or takes its own default where the key is absent.
    pub(super) fn quantity<Q: Quantity>(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        bounded: &Bounded<Q>,
    ) -> Q {
        self.quantity_or(section, path, bounded, bounded.default)
    }

    /// Reads a duration, or takes its own default where the key is absent.
    pub(super) fn duration(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        bounded: &Bounded<Span>,
    ) -> Duration {
        self.quantity(section, path, bounded).duration()
    }

    /// Reads one of `choices`; `None` where the key is absent (or the value wrong).
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.choice_of(section, path, key, (Sort::Text, choices))
    }

    fn choice_of<T: Copy>(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
        (sort, choices): (Sort, &[(&'static str, T)]),
    ) -> Option<T> {
        let node = section.written(key)?;
        let found = self
            .scalar(node, sort)
            .and_then(|text| choices.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.refuse(node, &path.key(key), Problem::NotAChoice(words.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    /// Reads `true` or `false`; `None` where the key is absent (or the value wrong).
    pub(super) fn flag(
        &mut self,
        section: &Section<'d>,
        path: &Path<'_>,
        key: &'static str,
    ) -> Option<bool> {
        let choices = &[("true", true), ("false", false)];
        self.choice_of(section, path, key, (Sort::Bare, choices))
    }
}
