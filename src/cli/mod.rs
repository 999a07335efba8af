//! One file a command.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub mod admin;
pub mod audit;
pub mod check;
pub mod check_connect;
pub mod connector;
pub mod demo;
pub mod key;
mod confine;
#[doc(hidden)]
pub mod doors;
mod failure;
mod remote;
pub mod serve;
mod table;
mod watch;

pub use confine::confine;

/// The configuration file unless another is named.
const CONFIG: &str = "config/attache.yaml";

/// It went well.
const GOOD: u8 = 0;
/// Something failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration.
const WRONG: u8 = 2;

/// An authenticating reverse-proxy gateway: flows address a connector, Attaché attaches the
/// credential.
#[derive(Debug, Parser)]
#[command(name = "attache", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve flows until told to end (SIGTERM, SIGINT); SIGHUP and changes of files reload.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Tell whether a configuration is good, without serving it.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// Walk each connector's way too: name, connection, TLS, token or validation URL.
        #[arg(long)]
        connect: bool,
    },
    /// Try it: a gateway in front of a throw-away resource domain and authorization server.
    Demo(demo::Options),
    /// Manage the connectors of a running gateway, over its admin API.
    Connector(connector::Options),
    /// Read the audit log of a running gateway, over its admin API.
    Audit(audit::Options),
    /// Make, list and revoke administrators' tokens in the store itself.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Make master keys for the store, tell which are in use, and replace them.
    #[command(subcommand)]
    Key(key::KeyCommand),
}

/// Does what the arguments say and returns what the process answers: 0 good, 1 failed, 2 wrong
/// usage or configuration. The first argument is the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => perform(arguments.command),
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _printed = error.print();
            u8::try_from(error.exit_code()).unwrap_or(FAILED)
        }
    }
}

fn perform(command: Command) -> u8 {
    // `serve` says so in its log.
    if !matches!(command, Command::Serve { .. }) {
        for exposure in confine::exposures() {
            let _told = writeln!(io::stderr(), "attache: warning: {exposure}");
        }
    }
    match command {
        Command::Serve { config } => match serve::run(&config) {
            Ok(()) => GOOD,
            Err(error) => {
                // With nobody left to read it, the exit code says enough.
                let _told = writeln!(io::stderr(), "attache: {}", error.sentence());
                error.exit_code()
            }
        },
        Command::Check { config, connect } => {
            let (mut out, mut err) = (io::stdout(), io::stderr());
            let outcome = match connect {
                true => check_connect::run(&config, &mut out, &mut err),
                false => check::run(&config, &mut out, &mut err),
            };
            outcome.map_or(FAILED, check::CheckOutcome::exit_code)
        }
        Command::Connector(options) => {
            connector::run(&options, &mut io::stdout(), &mut io::stderr()).unwrap_or(FAILED)
        }
        Command::Audit(options) => {
            audit::run(&options, &mut io::stdout(), &mut io::stderr()).unwrap_or(FAILED)
        }
        Command::Admin(command) => {
            admin::run(&command, &mut io::stdout(), &mut io::stderr()).unwrap_or(FAILED)
        }
        Command::Key(command) => {
            key::run(&command, &mut io::stdout(), &mut io::stderr()).unwrap_or(FAILED)
        }
        Command::Demo(options) => match demo::run(&options) {
            Ok(_) => GOOD,
            Err(error) => {
                let _told = writeln!(io::stderr(), "attache: {error:#}");
                FAILED
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn with_name<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["attache"], arguments].concat()
    }

    #[test]
    fn wrong_usage_answers_2() {
        for arguments in [
            &[][..],
            &["serv"],
            &["check", "--confg", "a"],
            &["check", "--config"],
            &["check", "a.yaml"],
            &["demo", "--listen", "0.0.0.0:0"],
            &["demo", "--admin-listen", "localhost:0"],
        ] {
            let error = Arguments::try_parse_from(with_name(arguments)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn help_and_version_are_no_failure() {
        for arguments in [&["--help"][..], &["check", "--help"], &["--version"]] {
            let shown = Arguments::try_parse_from(with_name(arguments)).unwrap_err();
            assert_eq!(shown.exit_code(), 0, "{arguments:?}");
        }
    }

    #[test]
    fn a_configuration_that_is_not_there_answers_2() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("attache.yaml");

        for command in ["serve", "check"] {
            let arguments = ["attache", command, "--config"].map(OsString::from);
            let answered = run(arguments.into_iter().chain([missing.clone().into()]));
            assert_eq!(answered, 2, "{command}");
        }
    }

    #[test]
    fn the_arguments_contradict_nothing() {
        Arguments::command().debug_assert();
    }
}
