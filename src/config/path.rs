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
            Step::Root => Ok(()),
            Step::Key(key) if at_root => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) => write!(f, "[{name}]"),
        }
    }
}
