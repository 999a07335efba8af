//! A door into the reading of configurations, for `tests/fuzz` alone.
//!
//! [`Config::parse`] reads the files and runs the commands that its text names. Of a text that
//! chance has written it must do neither.
//!
//! It is here in every build, hidden from the documents: what is compiled for fuzzing alone is
//! checked by nobody else, and the linker drops what nothing calls.

use std::ffi::OsString;

use super::files::Files;
use super::{Config, ConfigError, load};

/// As [`Config::parse`], but there is no file and no command, and `environment` answers for the
/// variables.
///
/// # Errors
///
/// [`ConfigError::Faulty`].
pub fn parse(
    text: &str,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    load::text_with(text, Files::none(environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_names_beside_itself_is_neither_read_nor_run() {
        let written = tempfile::tempdir().unwrap();
        let trace = written.path().join("trace");
        std::fs::write(written.path().join("bundle"), "not to be read").unwrap();
        let text = format!(
            "trust: {{ ca_bundles: [{{ file: {bundle} }}] }}\n\
             store: {{ url: sqlite:a.db, master_keys: [{{ command: [touch, {trace}] }}] }}",
            bundle = written.path().join("bundle").display(),
            trace = trace.display(),
        );

        let refused = parse(&text, &|_| None).unwrap_err().to_string();

        assert!(!trace.exists(), "the command was run");
        assert!(!refused.contains("holds no PEM"), "{refused}");
        assert!(refused.contains("cannot be read") && refused.contains("cannot be started"));
    }
}
