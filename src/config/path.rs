//! Where a value stands in the configuration.

use std::fmt;

/// Where a value stands, from the root; lives on the stack and is written only when needed.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'static str),
    Index(usize),
    Name(&'p str),
    /// An entry of a mapping whose keys are the writer's own. A configuration's faults do not show
    /// it, because a secret may have slipped into it; whoever sent JSON is shown where in it.
    Entry(&'p str),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Path<'static> = Path {
        parent: None,
        step: Step::Root,
    };

    pub(super) fn key(&'p self, key: &'static str) -> Path<'p> {
        self.step(Step::Key(key))
    }

    pub(super) fn index(&'p self, index: usize) -> Path<'p> {
        self.step(Step::Index(index))
    }

    pub(super) fn entry(&'p self, key: &'p str) -> Path<'p> {
        self.step(Step::Entry(key))
    }

    /// The same place, by a name instead of an index where it has one that may be shown.
    pub(super) fn renamed<'q>(&'q self, name: Option<&'q str>) -> Path<'q> {
        Path {
            parent: self.parent,
            step: name.map_or(self.step, Step::Name),
        }
    }

    fn step(&'p self, step: Step<'p>) -> Path<'p> {
        Path {
            parent: Some(self),
            step,
        }
    }

    /// The place as a JSON pointer (RFC 6901 §3).
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map_or_else(String::new, Path::pointer);
        match self.step {
            Step::Root => {}
            Step::Key(key) | Step::Name(key) | Step::Entry(key) => {
                push_pointer(&mut pointer, key);
            }
            Step::Index(index) => push_pointer(&mut pointer, &index.to_string()),
        }
        pointer
    }

    /// Whether it stands anywhere under `key`.
    pub(super) fn is_within(&self, key: &str) -> bool {
        matches!(self.step, Step::Key(step) if step == key)
            || self.parent.is_some_and(|parent| parent.is_within(key))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        let at_root = self
            .parent
            .is_none_or(|parent| matches!(parent.step, Step::Root));
        match self.step {
            Step::Root | Step::Entry(_) => Ok(()),
            Step::Key(key) if at_root => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) => write!(f, "[{name}]"),
        }
    }
}

/// Lets `pointer` go one step further down, to `key` (RFC 6901 §3).
pub(super) fn push_pointer(pointer: &mut String, key: &str) {
    pointer.push('/');
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
