//! The words behind `cargo bench --bench instructions --`.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
cargo bench --bench instructions [-- OPTIONS]
  --accept         write what was counted to the baseline
  --only PART      count only walks whose name has PART in it
  --binary PATH    count another build of attache than the one just built";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) accept: bool,
    pub(crate) only: Option<String>,
    pub(crate) binary: Option<PathBuf>,
}

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Figures.
    Counts(Arguments),
    /// Nothing: whoever lists or runs tests runs this too, without the word that asks for figures.
    Nothing,
    /// Something that does not exist, or lacks what must stand behind it.
    Unknown(String),
}

/// Reads the words, without the program's name.
pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Asked {
    let mut words = words.into_iter();
    let mut benched = false;
    let mut asked = Arguments {
        accept: false,
        only: None,
        binary: None,
    };
    let mut unknown = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => benched = true,
            "--accept" => asked.accept = true,
            "--only" | "--binary" => match (words.next(), word.as_str()) {
                (Some(part), "--only") => asked.only = Some(part),
                (Some(path), _) => asked.binary = Some(PathBuf::from(path)),
                (None, _) => unknown = unknown.or(Some(word)),
            },
            _ => unknown = unknown.or(Some(word)),
        }
    }
    match (benched, unknown) {
        (false, _) => Asked::Nothing,
        (true, Some(word)) => Asked::Unknown(word),
        (true, None) => Asked::Counts(asked),
    }
}
