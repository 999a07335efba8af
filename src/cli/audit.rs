//! `attache audit export`: the audit log of a running gateway, as JSON lines.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use tokio::runtime::Builder;

use super::GOOD;
use super::remote::{Ask, Client, Flags};

/// The audit log of a running gateway.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: AuditCommand,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Write its entries to standard output, from the oldest on, each on a line of its own.
    Export {
        /// Whose things they are about.
        #[arg(long)]
        organization: Option<String>,
        /// To what it was done.
        #[arg(long)]
        target: Option<String>,
        /// Who did it.
        #[arg(long)]
        actor: Option<String>,
        /// What was done, connector.edit for instance.
        #[arg(long)]
        action: Option<String>,
        /// The earliest moment (RFC 3339).
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The `id` of the last entry that is known already.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
}

/// Does what `options` say and returns what the process answers.
///
/// # Errors
///
/// Only if `err` cannot be written to.
pub fn run(options: &Options, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let AuditCommand::Export {
        organization,
        target,
        actor,
        action,
        since,
        after,
    } = &options.command;
    let ask = Ask::get(&["audit"]).with_query(&[
        ("organization", organization.as_deref()),
        ("target", target.as_deref()),
        ("actor", actor.as_deref()),
        ("action", action.as_deref()),
        ("since", since.as_deref()),
        ("after", after.as_deref()),
    ]);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let client = Client::new(&options.flags)?;
        client.lines(&ask, out).await
    });
    match done {
        Ok(()) => Ok(GOOD),
        Err(failure) => {
            writeln!(err, "attache: {:#}", failure.error)?;
            Ok(failure.code)
        }
    }
}
