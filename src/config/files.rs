//! Where secrets, certificates and keys come from: the text itself, a file, the environment.
//!
//! # Invariants
//!
//! Paths are relative to the file they stand in. Every file is read once in a load, however many
//! connectors name it, and never beyond a bound. What was read is overwritten when it is dropped.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::document::{Content, Node, Written};
use super::error::Problem;
use super::keys;
use super::pem::{Judges, PEM_START};
use super::reader::{self, Reader, Section};
use super::store::MasterKey;
use super::units::Size;
use crate::secret::{self, Secret};

/// The largest secret, certificate, key or bundle that is read.
pub(super) const FILE_BYTES_MAX: Size = Size::mib(4);

/// The longest secret: more fits in no head and in no token request.
const SECRET_BYTES_MAX: Size = Size::kib(16);

pub(super) const SOURCE_KEYS: &[&str] = &["env", "file"];
pub(super) const PAIR_KEYS: &[&str] = &["certificate", "private_key"];

const SECRET_FORM: &str = "{ env: NAME }, { file: PATH } or a plain string";
const JSON_SECRET_FORM: &str = "a string";

/// Whether a document may name files to read and commands to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// It may: whoever wrote it runs the gateway.
    Open,
    /// It may not: somebody else wrote it.
    Shut,
}

/// Answers for environment variables.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// What a load reads beside the configuration file, and what it has found out about it.
pub(super) struct Files<'e> {
    file: Option<PathBuf>,
    base_dir: PathBuf,
    environment: Environment<'e>,
    machine: Machine,
    texts: HashMap<PathBuf, Rc<Zeroizing<String>>>,
    pub(super) pairs: HashSet<(Source, Source)>,
    pub(super) bundles: HashMap<(Judges, Source), Arc<str>>,
}

/// Where a text came from; equal sources hold equal texts within one load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The configuration itself, at this line and column.
    Inline(u64, u64),
    File(PathBuf),
    Variable(String),
}

/// A text and where it came from.
pub(super) struct Sourced {
    pub(super) source: Source,
    pub(super) text: Rc<Zeroizing<String>>,
}

impl Sourced {
    /// How errors call it: never by its content.
    pub(super) fn called(&self) -> String {
        match &self.source {
            Source::Inline(..) => "the value".to_owned(),
            Source::File(path) => format!("the file {}", path.display()),
            Source::Variable(name) => format!("the environment variable {name}"),
        }
    }
}

/// What is done with a secret, which decides the characters it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The password of Basic authentication (RFC 7617 §2: no control characters).
    Password,
    /// The value of a field (RFC 9110 §5.5).
    Field,
    /// A parameter of a form, which encodes everything.
    Parameter,
}

/// Whether a plain string is worth a warning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Warn,
    Accept,
}

impl<'e> Files<'e> {
    pub(super) fn new(file: Option<&Path>, base_dir: &Path, environment: Environment<'e>) -> Self {
        Self {
            file: file.map(Path::to_path_buf),
            base_dir: base_dir.to_path_buf(),
            environment,
            machine: Machine::Open,
            texts: HashMap::new(),
            pairs: HashSet::new(),
            bundles: HashMap::new(),
        }
    }

    /// None at all, and no commands: what stands in the text and in `environment` is all there is.
    pub(super) fn none(environment: Environment<'e>) -> Self {
        Self {
            machine: Machine::Shut,
            ..Self::new(None, Path::new(""), environment)
        }
    }

    /// Fails where nothing of this machine may be read or run.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::PermissionDenied`].
    pub(super) fn check_open(&self) -> io::Result<()> {
        match self.machine {
            Machine::Open => Ok(()),
            Machine::Shut => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// The configuration file, if the text came from one.
    pub(super) fn named(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Every file that was read: the configuration itself, then the others by name.
    pub(super) fn read(&self) -> Vec<PathBuf> {
        let mut beside: Vec<&PathBuf> = self.texts.keys().collect();
        beside.sort();
        self.file.iter().chain(beside).cloned().collect()
    }

    /// The directory that paths are relative to.
    pub(super) fn base_dir(&self) -> &Path {
        &self.base_dir
    }

    /// Where `written` leads.
    pub(super) fn resolve(&self, written: &str) -> PathBuf {
        self.base_dir.join(written)
    }

    fn read_file(&mut self, written: &str) -> Result<Sourced, Problem> {
        let path = self.resolve(written);
        self.check_open().map_err(|source| Problem::File {
            path: path.clone(),
            source,
        })?;
        let text = match self.texts.get(&path) {
            Some(text) => Rc::clone(text),
            None => {
                let text = Rc::new(read_text(&path)?);
                self.texts.insert(path.clone(), Rc::clone(&text));
                text
            }
        };
        let source = Source::File(path);
        Ok(Sourced { source, text })
    }

    fn read_variable(&self, name: &str) -> Result<Sourced, Problem> {
        let shown = match keys::is_variable_name(name) {
            true => name.to_owned(),
            false => "(its name is not repeated, in case it is a secret)".to_owned(),
        };
        // The system panics at names with '=' or NUL instead of having none of them.
        let value = match name.is_empty() || name.contains(['=', '\0']) {
            true => None,
            false => (self.environment)(name),
        };
        let Some(value) = value else {
            return Err(Problem::Unset(shown));
        };
        match value.into_string() {
            Ok(text) => Ok(Sourced {
                source: Source::Variable(shown),
                text: Rc::new(Zeroizing::new(text)),
            }),
            Err(_) => Err(Problem::VariableNotText(shown)),
        }
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Problem> {
    let unreadable = |source| Problem::File {
        path: path.to_path_buf(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // What a pipe says of its length is nothing, and a wrong length does no harm.
    let told = Size(file.metadata().map_err(unreadable)?.len());
    let expected = told.min(FILE_BYTES_MAX).as_usize();
    let bounded = file.take(FILE_BYTES_MAX.0 + 1);
    let bytes = secret::read_all(bounded, expected).map_err(unreadable)?;
    if bytes.len() > FILE_BYTES_MAX.as_usize() {
        return Err(Problem::FileLarge {
            path: path.to_path_buf(),
            allowed: FILE_BYTES_MAX.to_string(),
        });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Problem::FileNotText {
            path: path.to_path_buf(),
        }),
    }
}

impl<'d> Reader<'d> {
    /// What a secret may be written as.
    fn secret_form(&self) -> &'static str {
        match self.document.written {
            Written::Yaml => SECRET_FORM,
            Written::Json => JSON_SECRET_FORM,
        }
    }

    /// Why `node` of a JSON document, which is no string, gives no text: nothing there may make the
    /// gateway read its own files.
    fn elsewhere(&self, node: &Node) -> Option<Problem> {
        let Content::Map(entries) = &node.content else {
            return None;
        };
        let has = |key: &str| entries.iter().any(|entry| entry.key == key);
        if has("kept") {
            return Some(Problem::NothingKept);
        }
        let sources = ["env", "file", "command"];
        sources.into_iter().any(has).then_some(Problem::Elsewhere)
    }

    /// Reads `{ env: NAME }`, `{ file: PATH }` or a plain string; of JSON, a string.
    pub(super) fn sourced(
        &mut self,
        node: &'d Node,
        path: &reader::Path<'_>,
        form: &'static str,
    ) -> Option<Sourced> {
        let is_json = self.document.written == Written::Json;
        if is_json && !matches!(node.content, Content::Text(_)) {
            let problem = self.elsewhere(node).unwrap_or(Problem::MustBe(form));
            self.fault(node.at, path, problem);
            return None;
        }
        if self.document.text(node).is_some() {
            let text = self.text(node, path, form)?;
            return Some(Sourced {
                source: Source::Inline(node.at.line, node.at.column),
                text: Rc::new(Zeroizing::new(text.to_owned())),
            });
        }
        if !matches!(node.content, Content::Map(_)) {
            self.refuse(node, path, Problem::MustBe(form));
            return None;
        }
        let section = self.mapping(node, path, SOURCE_KEYS)?;
        let read = match (section.optional("env"), section.optional("file")) {
            (Some(env), None) => {
                let name =
                    self.text(env, &path.key("env"), "the name of an environment variable")?;
                self.files.read_variable(name)
            }
            (None, Some(file)) => {
                let path = path.key("file");
                let written = self.text(file, &path, "the path of a file")?;
                // What was pasted here instead of a path must not be repeated as one.
                if !is_path(written) {
                    self.fault(file.at, &path, Problem::MustBe("the path of a file"));
                    return None;
                }
                self.files.read_file(written)
            }
            (Some(_), Some(_)) => Err(Problem::MoreThanOne(SOURCE_KEYS)),
            (None, None) => Err(Problem::MustBe(form)),
        };
        read.map_err(|problem| self.fault(node.at, path, problem))
            .ok()
    }

    /// Warns of a secret that stands in the document itself, where it might stand elsewhere.
    pub(super) fn warn_of(&mut self, node: &Node, path: &reader::Path<'_>, advice: &'static str) {
        match self.document.written {
            Written::Yaml => self.warn(node.at, path, advice),
            Written::Json => {}
        }
    }

    /// Reads a secret, with the characters that `usage` allows.
    pub(super) fn secret(
        &mut self,
        node: &'d Node,
        path: &reader::Path<'_>,
        usage: Use,
        plain: Plain,
    ) -> Option<Secret> {
        let sourced = self.sourced(node, path, self.secret_form())?;
        let mut text = sourced.text.as_str();
        match &sourced.source {
            Source::File(_) => text = without_newline(text),
            Source::Inline(..) if plain == Plain::Warn => self.warn_of(node, path, PLAIN_SECRET),
            Source::Inline(..) | Source::Variable(_) => {}
        }
        match secret_problem(text, usage, || sourced.called()) {
            None => Some(Secret::new(text.to_owned())),
            Some(problem) => {
                self.fault(node.at, path, problem);
                None
            }
        }
    }

    /// Reads a secret that must be there.
    pub(super) fn required_secret(
        &mut self,
        section: &Section<'d>,
        path: &reader::Path<'_>,
        key: &'static str,
        usage: Use,
    ) -> Option<Secret> {
        let path = path.key(key);
        match section.optional(key) {
            Some(node) => self.secret(node, &path, usage, Plain::Warn),
            None => {
                let problem = Problem::Required(self.secret_form());
                self.fault(section.place(key), &path, problem);
                None
            }
        }
    }
}

const PLAIN_SECRET: &str =
    "the secret stands in the configuration itself; write { env: NAME } or { file: PATH }";

fn is_path(written: &str) -> bool {
    !written.is_empty()
        && written.len() <= 1024
        && !written.contains(char::is_control)
        && !written.contains(PEM_START)
        && !written.contains(MasterKey::PREFIX)
}

/// Without the newline that editors and `echo` put behind a secret; further ones are its own.
pub(super) fn without_newline(text: &str) -> &str {
    match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    }
}

fn secret_problem(text: &str, usage: Use, called: impl Fn() -> String) -> Option<Problem> {
    if text.is_empty() {
        return Some(Problem::Empty(called()));
    }
    if text.len() > SECRET_BYTES_MAX.as_usize() {
        return Some(Problem::Long(called(), SECRET_BYTES_MAX.to_string()));
    }
    let holds = |what| Some(Problem::Characters(called(), what));
    if text.contains(['\r', '\n']) {
        return holds("a line break; one at the end of a file is dropped, any other is refused");
    }
    // Tab is a legal part of a field's value (RFC 9110 §5.5), not of a password (RFC 7617 §2).
    let tab_allowed = usage != Use::Password;
    if text.contains(|c: char| c.is_control() && !(c == '\t' && tab_allowed)) {
        return holds("a control character (RFC 9110 §5.5, RFC 7617 §2)");
    }
    if usage == Use::Field && text.trim_matches([' ', '\t']).len() < text.len() {
        return holds("a space at its beginning or end, which no field can carry (RFC 9110 §5.5)");
    }
    None
}
