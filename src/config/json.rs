//! A JSON value as a document.
//!
//! # Invariants
//!
//! Every value has a position of its own, as it would have in a text: what was read is remembered
//! by where it stands. Texts are copied into memory that is overwritten when it is dropped.

use std::borrow::Cow;

use serde_json::Value;
use zeroize::Zeroizing;

use super::document::{Content, DEPTH_MAX, Document, Entry, Node, Position, Written};
use super::error::{Fault, Problem};
use super::path::push_pointer;
use super::stored::{Secrets, is_kept};

/// Reads the mapping of `entries`; where `{"kept": true}` stands, the secret of that place.
///
/// # Errors
///
/// A [`Fault`] if it is nested more deeply than any configuration.
pub(super) fn document<'v>(
    entries: impl Iterator<Item = (&'v str, &'v Value)>,
    secrets: &Secrets,
) -> Result<Document<'static>, Fault> {
    let mut builder = Builder {
        next: 1,
        bare: String::new(),
        secrets,
    };
    let (at, root) = (builder.position(), Whereabouts::ROOT);
    let content = builder.map(entries, &root)?;
    Ok(Document {
        source: Cow::Owned(builder.bare),
        root: Node {
            at,
            content,
            defined: 0..0,
        },
        written: Written::Json,
    })
}

struct Builder<'s> {
    /// The next position's column.
    next: u64,
    /// The text of every number and truth value.
    bare: String,
    secrets: &'s Secrets,
}

/// Where a value stands, from the root; lives on the stack.
struct Whereabouts<'p> {
    parent: Option<&'p Whereabouts<'p>>,
    key: &'p str,
    depth: usize,
}

impl Whereabouts<'_> {
    const ROOT: Self = Whereabouts {
        parent: None,
        key: "",
        depth: 0,
    };

    fn pointer(&self) -> String {
        let Some(parent) = self.parent else {
            return String::new();
        };
        let mut pointer = parent.pointer();
        push_pointer(&mut pointer, self.key);
        pointer
    }
}

impl Builder<'_> {
    fn position(&mut self) -> Position {
        let column = self.next;
        self.next += 1;
        Position { line: 1, column }
    }

    fn node(&mut self, value: &Value, place: &Whereabouts<'_>) -> Result<Node, Fault> {
        let at = self.position();
        let start = self.bare.len();
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(truth) => self.bare(if *truth { "true" } else { "false" }),
            Value::Number(number) => self.bare(&number.to_string()),
            Value::String(text) => Content::Text(Zeroizing::new(text.clone())),
            Value::Array(values) => self.list(values, place)?,
            Value::Object(map) => match self.kept(value, place) {
                Some(secret) => secret,
                None => {
                    let entries = map.iter().map(|(key, value)| (key.as_str(), value));
                    self.map(entries, place)?
                }
            },
        };
        let defined = start..self.bare.len();
        Ok(Node {
            at,
            content,
            defined,
        })
    }

    fn bare(&mut self, text: &str) -> Content {
        self.bare.push_str(text);
        Content::Bare
    }

    /// The secret that `value` stands for.
    fn kept(&self, value: &Value, place: &Whereabouts<'_>) -> Option<Content> {
        if self.secrets.is_empty() || !is_kept(value) {
            return None;
        }
        let secret = self.secrets.get(&place.pointer())?;
        Some(Content::Text(Zeroizing::new(secret.expose().to_owned())))
    }

    fn list(&mut self, values: &[Value], place: &Whereabouts<'_>) -> Result<Content, Fault> {
        let place = self.below(place, "-")?;
        let nodes = values.iter().map(|value| self.node(value, &place));
        nodes.collect::<Result<_, _>>().map(Content::List)
    }

    fn map<'v>(
        &mut self,
        entries: impl Iterator<Item = (&'v str, &'v Value)>,
        place: &Whereabouts<'_>,
    ) -> Result<Content, Fault> {
        let mut map = Vec::new();
        for (key, value) in entries {
            let place = self.below(place, key)?;
            map.push(Entry {
                at: self.position(),
                key: key.to_owned(),
                value: self.node(value, &place)?,
            });
        }
        Ok(Content::Map(map))
    }

    fn below<'p>(
        &self,
        parent: &'p Whereabouts<'p>,
        key: &'p str,
    ) -> Result<Whereabouts<'p>, Fault> {
        let depth = parent.depth + 1;
        if depth > DEPTH_MAX {
            let at = Position { line: 1, column: 1 };
            return Err(Fault::new(at, String::new(), Problem::TooIntricate));
        }
        Ok(Whereabouts {
            parent: Some(parent),
            key,
            depth,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let mut deep = json!(1);
        for _ in 0..DEPTH_MAX {
            deep = json!([deep]);
        }

        let fault = document([("a", &deep)].into_iter(), &Secrets::new()).err();

        assert!(fault.is_some_and(|fault| fault.detail().contains("too deeply nested")));
    }

    #[test]
    fn every_value_has_a_position_of_its_own() {
        let value = json!({"b": [1, true, "x"], "c": {"d": null}});
        let read = document([("a", &value)].into_iter(), &Secrets::new()).ok();
        let mut seen = Vec::new();

        gather(read.expect("a document").root(), &mut seen);

        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), count), (8, 8));
    }

    fn gather(node: &Node, seen: &mut Vec<Position>) {
        seen.push(node.at);
        match &node.content {
            Content::Null | Content::Text(_) | Content::Bare => {}
            Content::List(nodes) => nodes.iter().for_each(|node| gather(node, seen)),
            Content::Map(entries) => entries.iter().for_each(|entry| gather(&entry.value, seen)),
        }
    }
}
