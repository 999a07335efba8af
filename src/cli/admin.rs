//! `attache admin`: administrators' tokens, for whoever holds the store itself.
//!
//! # Invariants
//!
//! A new token goes to standard output and nowhere else, once. What is done stands in the audit log
//! under the name `cli`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use tokio::runtime::Builder;
use uuid::Uuid;

use super::table::Table;
use super::{CONFIG, FAILED, GOOD, WRONG};
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::connector::{Organization, Role};
use crate::control::access::{Actor, Administration, Denied, Scope, TOKEN_LIFETIME_MAX, Wanted};
use crate::control::store::{AdminToken, Page, Store};

/// Tokens that are read at a time.
const PIECE: u32 = 200;

/// What to do with administrators' tokens.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make a token and print it, once. This is how the first one is made.
    CreateToken(NewToken),
    /// List the tokens, those that have ended too.
    ListTokens {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// End a token now; running gateways refuse it from the next request on.
    RevokeToken {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// The token's ID: what stands between the first two underscores of it.
        id: String,
    },
}

/// The token that is asked for.
#[derive(Debug, Args)]
pub struct NewToken {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// What it is called by people.
    #[arg(long)]
    name: String,
    /// What its holder is: full-admin, contact-center-service-admin, external-full-admin,
    /// external-contact-center-admin, help-desk-full-admin, partner-full-admin (which read and
    /// write), external-read-only-admin, help-desk-admin, partner-read-only-admin (which read),
    /// read-only-admin (which does neither).
    #[arg(long)]
    role: Role,
    /// Whose connectors its holder sees.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = organization)]
    organization: Organization,
    /// Its holder runs the gateway: sees every organization and makes new ones.
    #[arg(long, conflicts_with = "organization")]
    gateway: bool,
    /// How long it holds: days (90d) or hours (12h), 366 days at most.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    expires: Duration,
}

fn organization(text: &str) -> Result<Organization, String> {
    Organization::parse(text).map_err(|error| error.to_string())
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "write days or hours, such as 90d or 12h, and 366d at most";
    let (number, hours) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 24),
        (None, Some(hours)) => (hours, 1),
        (None, None) => return Err(FORM),
    };
    let number: u32 = number.parse().map_err(|_| FORM)?;
    let lifetime = Duration::from_secs(u64::from(number) * hours * 3_600);
    match lifetime.is_zero() || lifetime > TOKEN_LIFETIME_MAX {
        true => Err(FORM),
        false => Ok(lifetime),
    }
}

/// Does it, says on `out` what came of it and on `err` what did not work, and returns what the
/// process answers.
///
/// # Errors
///
/// Only if `out` or `err` cannot be written to.
pub fn run(command: &AdminCommand, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let (AdminCommand::CreateToken(NewToken { config, .. })
    | AdminCommand::ListTokens { config }
    | AdminCommand::RevokeToken { config, .. }) = command;
    let settings = match settings(config) {
        Ok(settings) => settings,
        Err(error) => {
            writeln!(err, "attache: {error:#}")?;
            return Ok(WRONG);
        }
    };
    match perform(command, &settings, out, err) {
        Ok(()) => Ok(GOOD),
        Err(error) => {
            writeln!(err, "attache: {error:#}")?;
            Ok(FAILED)
        }
    }
}

fn settings(path: &Path) -> anyhow::Result<crate::config::Store> {
    let config = Config::load(path)?;
    let file = path.display();
    config.store.ok_or_else(|| {
        anyhow!("{file}: `store` is null, so that there is nothing to administer and no token")
    })
}

fn perform(
    command: &AdminCommand,
    settings: &crate::config::Store,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock = Clock::system();
        let store = Store::open(settings, clock.clone()).await;
        let store = store.context("the store cannot be opened")?;
        let administration = Administration::new(store.clone(), clock.clone());
        let done = match command {
            AdminCommand::CreateToken(wanted) => create(&administration, wanted, out, err).await,
            AdminCommand::ListTokens { .. } => list(&administration, &clock, out).await,
            AdminCommand::RevokeToken { id, .. } => revoke(&administration, id, err).await,
        };
        store.close().await;
        done
    })
}

/// Whoever can read the store and its key may do everything already.
fn operator() -> Actor {
    Actor {
        name: "cli".to_owned(),
        title: "the command line".to_owned(),
        role: Role::FullAdmin,
        scope: Scope::All,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: Uuid::now_v7().to_string(),
    }
}

async fn create(
    administration: &Administration,
    new: &NewToken,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let scope = match new.gateway {
        true => Scope::All,
        false => Scope::One(new.organization.clone()),
    };
    let wanted = Wanted {
        name: new.name.clone(),
        role: new.role,
        scope,
        lifetime: new.expires,
    };
    let issued = administration.issue(&operator(), wanted).await;
    let issued = issued.map_err(sentence)?;
    let record = &issued.record;
    writeln!(out, "{}", issued.token.expose())?;
    writeln!(
        err,
        "Token {} ({}) of {} ends {}. Keep it now: it is not shown again.",
        record.id,
        record.role,
        record.scope,
        date(record.expires_at),
    )?;
    Ok(())
}

async fn list(
    administration: &Administration,
    clock: &Clock,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut table = Table::new(["ID", "NAME", "ROLE", "ORGANIZATION", "EXPIRES", "STATE"]);
    let mut after = None;
    loop {
        let page = Page {
            after: after.take(),
            limit: PIECE,
        };
        let tokens = administration.tokens(&operator(), page).await;
        let tokens = tokens.map_err(sentence)?;
        let Some(last) = tokens.last() else {
            break;
        };
        after = Some(last.id.clone());
        for token in &tokens {
            table.row([
                token.id.clone(),
                token.name.clone(),
                token.role.to_string(),
                token.scope.to_string(),
                date(token.expires_at),
                state(token, clock.wall()).to_owned(),
            ]);
        }
    }
    write!(out, "{table}")?;
    Ok(())
}

fn state(token: &AdminToken, now: SystemTime) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else {
        "valid"
    }
}

async fn revoke(
    administration: &Administration,
    id: &str,
    err: &mut impl Write,
) -> anyhow::Result<()> {
    let revoked = administration.revoke(&operator(), id).await;
    match revoked {
        Ok(()) => Ok(writeln!(err, "Token {id} is revoked.")?),
        Err(Denied::NotFound) => Err(anyhow!(
            "there is no token of that ID; `attache admin list-tokens` lists them"
        )),
        Err(denied) => Err(sentence(denied)),
    }
}

fn date(at: Option<SystemTime>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| rfc3339(at).to_string())
}

/// The error, with what is wrong with each field.
fn sentence(denied: Denied) -> anyhow::Error {
    if let Denied::Invalid(faults) = &denied {
        let faults = faults.iter().map(|fault| {
            let name = fault.field.trim_start_matches('/');
            format!("{name}: {}", fault.detail)
        });
        return anyhow!(faults.collect::<Vec<_>>().join("; "));
    }
    denied.into()
}
