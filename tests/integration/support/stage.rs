//! What a test of the gateway needs before it starts: a CA, a directory, a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attache::config::{Config, ConfigError};
use tempfile::TempDir;

use super::pki::{Ca, Identity};

/// Settings that every test shares unless it writes the same top-level key itself.
const SHARED: &[(&str, &str)] = &[
    ("listen", "127.0.0.1:0"),
    ("workers", "2"),
    ("admin", "{ listen: 127.0.0.1:0 }"),
    ("logs", "{ level: trace, access: all }"),
    (
        "trust",
        "{ ca_bundles: [{ file: ca.pem }], allow_addresses: [127.0.0.0/8, \"::1\"] }",
    ),
    ("timeouts", "{ drain_delay: 0s }"),
];

/// A CA that the gateway will trust, and a directory for its files.
pub(crate) struct Stage {
    /// Signs origins and authorization servers.
    pub(crate) ca: Arc<Ca>,
    directory: TempDir,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new() -> Self {
        let stage = Self {
            ca: Arc::new(Ca::new("stage")),
            directory: TempDir::new().unwrap(),
        };
        stage.write("ca.pem", &stage.ca.pem());
        stage
    }

    /// The directory that the configuration's paths are relative to.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A server's identity that the gateway will trust.
    pub(crate) fn server(&self) -> Identity {
        self.ca.server(&[])
    }

    /// Writes a file and says where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A whole configuration: the shared settings and `own`, top-level YAML keys.
    pub(crate) fn yaml(&self, own: &str) -> String {
        let mut text = String::new();
        for (key, value) in SHARED {
            let written = own.lines().any(|line| line.starts_with(&format!("{key}:")));
            if !written {
                text += &format!("{key}: {value}\n");
            }
        }
        text + own
    }

    /// The same, read.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn config(&self, own: &str) -> Result<Config, ConfigError> {
        Config::parse(&self.yaml(own), self.directory())
    }

    /// The same, written to a file for a gateway that is a process of its own.
    pub(crate) fn config_file(&self, own: &str) -> PathBuf {
        self.write("attache.yaml", &self.yaml(own))
    }
}
