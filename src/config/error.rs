//! What is wrong with a configuration: file, line, column, key, and what is allowed.
//!
//! # Invariants
//!
//! No text here repeats a value of the file. What may be shown is said by the variants: keys and
//! names of environment variables that look like ones, paths of files, connector IDs.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::document::Position;
use super::store::InvalidMasterKey;
use crate::connector::{InvalidConnectorId, InvalidUrl};
use crate::tls::TlsError;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any configuration may be.
    #[error("{}: is larger than {allowed}, the most a configuration may be (limits.config_bytes_max)", file.display())]
    TooLarge {
        /// The configuration file.
        file: PathBuf,
        /// The bound, with its unit.
        allowed: String,
    },
    /// The file is not text.
    #[error("{}: is not UTF-8 text", file.display())]
    NotText {
        /// The configuration file.
        file: PathBuf,
    },
    /// The text says something that is not allowed.
    #[error("{0}")]
    Faulty(Faults),
}

/// Everything that is wrong with a text, in the order it was found; never empty.
#[derive(Debug)]
pub struct Faults {
    pub(super) file: Option<PathBuf>,
    pub(super) faults: Vec<Fault>,
    /// How many more there are.
    pub(super) unlisted: usize,
}

impl Faults {
    /// The faults that are listed.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }
}

/// One line a fault: `FILE:LINE:COLUMN: KEY: what is wrong, what is allowed`.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write_file(f, self.file.as_deref())?;
            write!(f, "{fault}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Begins a line that names a place in `file`.
pub(super) fn write_file(f: &mut impl fmt::Write, file: Option<&Path>) -> fmt::Result {
    match file {
        Some(file) => write!(f, "{}:", file.display()),
        None => Ok(()),
    }
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Fault {
    at: Position,
    key: String,
    problem: Box<Problem>,
}

impl Fault {
    pub(super) fn new(at: Position, key: String, problem: Problem) -> Self {
        Self {
            at,
            key,
            problem: Box::new(problem),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// The line it stands in; the first is 1.
    pub fn line(&self) -> u64 {
        self.at.line
    }

    /// The column it begins in; the first is 1.
    pub fn column(&self) -> u64 {
        self.at.column
    }

    /// The key it is about, from the root: `connectors[orders].auth.basic.password`.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Fault {
    /// What is wrong, without saying where.
    pub(super) fn detail(&self) -> String {
        let mut detail = self.problem.to_string();
        let mut source = self.problem.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        detail
    }
}

/// The whole sentence: a fault is read by a person, who wants the cause in the same line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.at, &self.key)?;
        f.write_str(&self.detail())
    }
}

/// Writes `LINE:COLUMN: KEY: `.
pub(super) fn write_place(f: &mut impl fmt::Write, at: Position, key: &str) -> fmt::Result {
    write!(f, "{}:{}: ", at.line, at.column)?;
    match key {
        "" => Ok(()),
        key => write!(f, "{key}: "),
    }
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    // The text.
    /// The scanner's own sentence, which holds none of the text.
    #[error("is not valid YAML{}", .0.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    Syntax(Option<String>),
    #[error("this key was given before in the same mapping")]
    RepeatedKey,
    #[error("a second document begins here; the configuration is one document")]
    SecondDocument,
    #[error("an alias (*name) names no anchor (&name) that stands before it")]
    UnknownAnchor,
    #[error("the document is too deeply nested or repeats itself too often through aliases")]
    TooIntricate,

    // Keys.
    #[error("is not a known key; the nearest is `{nearest}` (known here: {})", known.join(", "))]
    UnknownKey {
        nearest: &'static str,
        known: &'static [&'static str],
    },
    #[error(
        "an unknown key stands here (not repeated, in case it is a secret); the nearest is `{nearest}` (known here: {})",
        known.join(", ")
    )]
    UnknownUnshownKey {
        nearest: &'static str,
        known: &'static [&'static str],
    },
    #[error("is required: {0}")]
    Required(&'static str),
    #[error("does not go with {with}; {instead}")]
    Forbidden {
        with: &'static str,
        instead: &'static str,
    },
    #[error("says more than one of {}; write exactly one", .0.join(", "))]
    MoreThanOne(&'static [&'static str]),

    // Values.
    #[error("must be {0}")]
    MustBe(&'static str),
    #[error("must be {form}, from {allowed}")]
    OutOfBounds { form: &'static str, allowed: String },
    #[error("must be one of {0}")]
    NotAChoice(String),
    #[error("holds {found} entries; at most {most} are allowed")]
    TooMany { found: usize, most: usize },
    #[error(
        "looks like ${{…}}, but nothing is filled into the text; a secret, certificate or key is written {{ env: {name} }}, everything else as it is"
    )]
    Interpolation { name: String },
    #[error("the file is {found} long; limits.config_bytes_max allows {allowed}")]
    FileTooLong { found: String, allowed: String },

    /// Of JSON that administrators send: the gateway's files and environment are not theirs.
    #[error(
        "must be the secret, certificate or key itself, as a string: {{ env: … }}, {{ file: … }} and {{ command: … }} are for the gateway's configuration file"
    )]
    Elsewhere,
    #[error(
        "nothing is kept here that `{{\"kept\": true}}` could stand for; write the secret itself"
    )]
    NothingKept,

    // Connectors.
    #[error("is not a connector ID")]
    ConnectorId(#[source] InvalidConnectorId),
    #[error("connector IDs are unique in the whole gateway; line {first} has the same")]
    DuplicateId { first: u64 },
    #[error("each key is listed once; line {first} has the same")]
    DuplicateKey { first: u64 },
    #[error("asks for certificates, which nobody is asked for; set tls.client_ca")]
    NoClientCa,
    #[error("each pattern is listed once; line {first} has the same")]
    DuplicatePattern { first: u64 },
    #[error("connector names are unique in their organization; line {first} has the same")]
    DuplicateName { first: u64 },
    /// The nested sentence begins with a verb: "must begin with https://".
    #[error("{0}")]
    Url(InvalidUrl),
    #[error(
        "a field of the connection, the message or the gateway cannot carry a credential (RFC 9110 §7.6.1); choose another"
    )]
    FieldRefused,
    #[error(
        "`{0}` is a parameter of the gateway's own, and none may be given twice (RFC 6749 §3.2); leave it out"
    )]
    StandardParameter(&'static str),
    #[error("the private key cannot make {algorithm} signatures; {needed}")]
    Algorithm {
        algorithm: &'static str,
        needed: &'static str,
    },

    // Listeners.
    #[error(
        "{0} is not a loopback address: set `trust_network: true` if everyone who can reach it may use every connector, ask for keys with `inbound.keys`, or for client certificates with `tls.client_ca`"
    )]
    OpenListen(std::net::SocketAddr),
    #[error("{0} is not a loopback address; `admin.tls` is required for it")]
    OpenAdmin(std::net::SocketAddr),

    #[error("{0} is the address of another listener as well")]
    SameAddress(std::net::SocketAddr),

    // The store.
    #[error(
        "sends passwords to another host without knowing which: `sslmode` must be verify-full there (what holds where it is absent)"
    )]
    StoreUnverified,
    #[error("has a parameter that is not known; known are {}", .0.join(", "))]
    UnknownParameter(&'static [&'static str]),
    #[error("is the database itself; the snapshot is a file of its own")]
    SnapshotIsDatabase,
    #[error("is a key that stands before it already")]
    SameMasterKey,
    #[error("what is written there {0}")]
    MasterKey(InvalidMasterKey),
    #[error("the command cannot be started")]
    CommandNotStarted(#[source] std::io::Error),
    #[error("the output of the command cannot be read")]
    CommandOutput(#[source] std::io::Error),
    #[error("the output of the command is not UTF-8 text")]
    CommandNotText,
    #[error("the command failed ({0})")]
    CommandFailed(std::process::ExitStatus),
    #[error("the command took longer than {0} s and was ended")]
    CommandSlow(u64),

    // Secrets, certificates and keys.
    #[error("the file {} cannot be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the file {} is larger than {allowed}, the most that is read", path.display())]
    FileLarge { path: PathBuf, allowed: String },
    #[error("the file {} is not UTF-8 text", path.display())]
    FileNotText { path: PathBuf },
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("the environment variable {0} is not UTF-8 text")]
    VariableNotText(String),
    #[error("{0} is empty; a secret has at least one character")]
    Empty(String),
    #[error("{0} is longer than {1}, the most that is allowed")]
    Long(String, String),
    #[error("{0} holds {1}")]
    Characters(String, &'static str),
    /// The nested sentence begins with a verb: "holds no PEM certificate".
    #[error("{0} {1}")]
    Pem(String, TlsError),
    #[error("{0}")]
    Tls(TlsError),
}
