//! `attache connector`: connectors of a running gateway, over its API.
//!
//! # Invariants
//!
//! No secret is taken from an argument: it comes from a file or is asked for at the terminal. An
//! edit is made to what was read, and not to what somebody made of it meanwhile. What a gateway
//! refuses is told in its own sentences.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use uuid::Uuid;

use self::input::Given;
use super::failure::Failure;
use super::remote::{Answer, Ask, Client, Flags};
use super::{FAILED, GOOD};

mod input;
mod show;
mod transfer;

/// Connectors of a running gateway.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: ConnectorCommand,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    Json,
    Yaml,
}

/// What to do with connectors.
#[derive(Debug, Subcommand)]
enum ConnectorCommand {
    /// List connectors.
    List {
        #[command(flatten)]
        wanted: Wanted,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a connector, without its secrets.
    Show {
        id: String,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Create a connector; it is tried first, and nothing is saved if it does not work.
    Create {
        #[command(flatten)]
        source: Source,
        /// Create it inactive.
        #[arg(long)]
        inactive: bool,
    },
    /// Change a connector.
    Edit {
        id: String,
        #[command(flatten)]
        source: Source,
        /// The file is a merge patch (RFC 7396): what it does not name stays.
        #[arg(long)]
        patch: bool,
    },
    /// Try an inactive connector, and let flows use it.
    Activate { id: String },
    /// Turn flows away; its credentials can be edited from then on.
    Deactivate { id: String },
    /// Delete an inactive connector. Its secrets are gone at once.
    Delete { id: String },
    /// Bring a deleted connector back, inactive and without its secrets.
    Restore { id: String },
    /// Try a connector leg by leg; nothing is changed.
    Test {
        id: String,
        /// With the secrets that wait.
        #[arg(long)]
        staged: bool,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Drop the token that is held; the next request obtains another.
    PurgeToken { id: String },
    /// Let new secrets wait beside those in use, or take back those that wait.
    Stage {
        id: String,
        /// A secret that waits: the JSON pointer of its place, and @FILE unless it is asked for.
        #[arg(long = "secret", value_name = "POINTER[=@FILE]")]
        secrets: Vec<String>,
        /// Take back what waits.
        #[arg(long, conflicts_with = "secrets")]
        discard: bool,
    },
    /// Put the secrets that wait to use.
    Promote {
        id: String,
        /// How long those before can be gone back to.
        #[arg(long, value_name = "TIME", default_value = "1h")]
        keep_previous_for: String,
    },
    /// Go back to the secrets before the last promotion.
    RollBack { id: String },
    /// Write all connectors, without their secrets, as the YAML that `import` reads.
    Export {
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Create connectors that are not there, and change those that are.
    Import(transfer::Import),
}

/// Which connectors.
#[derive(Debug, Args)]
struct Wanted {
    #[arg(long)]
    organization: Option<String>,
    /// active, inactive or deleted; deleted ones are listed by this alone
    #[arg(long)]
    state: Option<String>,
    #[arg(long)]
    kind: Option<String>,
    #[arg(long)]
    name: Option<String>,
    /// store, or file for those of the gateway's configuration
    #[arg(long)]
    source: Option<String>,
}

/// Where a connector's keys and secrets are.
#[derive(Debug, Args)]
struct Source {
    /// YAML or JSON with the connector's keys as a configuration file has them; - is standard
    /// input. { file: PATH } and { env: NAME } are read here.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// A secret: the JSON pointer of its place, and @FILE unless it is asked for.
    #[arg(long = "secret", value_name = "POINTER[=@FILE]")]
    secrets: Vec<String>,
}

/// Does what `options` say, says on `out` what came of it and on `err` what did not work, and
/// returns what the process answers.
///
/// # Errors
///
/// Only if `err` cannot be written to.
pub fn run(options: &Options, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let client = Client::new(&options.flags)?;
        perform(&client, &options.command, out).await
    });
    match done {
        Ok(code) => Ok(code),
        Err(failure) => {
            writeln!(err, "attache: {:#}", failure.error)?;
            Ok(failure.code)
        }
    }
}

async fn perform(
    client: &Client,
    command: &ConnectorCommand,
    out: &mut impl Write,
) -> Result<u8, Failure> {
    use ConnectorCommand as Do;
    let act =
        |id: &str, what: &str| Ask::new(Method::POST, &["connectors", id, what]).if_match("*");
    let answer = match command {
        Do::List { wanted, output } => {
            let found = all(client, wanted).await?;
            show::list(out, *output, &found)?;
            return Ok(GOOD);
        }
        Do::Show { id, output } => {
            let answer = client.send(&Ask::get(&["connectors", id])).await?;
            show::one(out, *output, &answer.body)?;
            return Ok(GOOD);
        }
        Do::Export { wanted } => {
            let found = all(client, wanted).await?;
            transfer::export(out, &found)?;
            return Ok(GOOD);
        }
        Do::Import(import) => return transfer::import(client, import, out).await,
        Do::Test { id, staged, output } => return test(client, (id, *staged), *output, out).await,
        Do::Create { source, inactive } => {
            let document = input::read(&source.file, &Given::parse(&source.secrets)?)?;
            let document = input::complete(document)?;
            create(client, with_state(document, *inactive)).await?
        }
        Do::Edit { id, source, patch } => edit(client, id, source, *patch).await?,
        Do::Activate { id } => client.send(&act(id, "activate")).await?,
        Do::Deactivate { id } => client.send(&act(id, "deactivate")).await?,
        Do::Restore { id } => client.send(&act(id, "restore")).await?,
        Do::PurgeToken { id } => client.send(&act(id, "purge-token")).await?,
        Do::RollBack { id } => client.send(&act(id, "roll-back")).await?,
        Do::Delete { id } => {
            let ask = Ask::new(Method::DELETE, &["connectors", id]).if_match("*");
            client.send(&ask).await?
        }
        Do::Stage {
            id,
            secrets,
            discard,
        } => stage(client, id, secrets, *discard).await?,
        Do::Promote {
            id,
            keep_previous_for,
        } => {
            let place = ["connectors", id, "staged-secrets", "promote"];
            let ask = Ask::new(Method::POST, &place).if_match("*");
            let body = json!({ "keep_previous_for": keep_previous_for });
            client.send(&ask.body(body)).await?
        }
    };
    show::changed(out, &answer.body)?;
    Ok(GOOD)
}

/// Every connector that is wanted, page by page.
async fn all(client: &Client, wanted: &Wanted) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let ask = Ask::get(&["connectors"]).with_query(&[
            ("organization", wanted.organization.as_deref()),
            ("state", wanted.state.as_deref()),
            ("kind", wanted.kind.as_deref()),
            ("name", wanted.name.as_deref()),
            ("source", wanted.source.as_deref()),
            ("limit", Some("200")),
            ("after", after.as_deref()),
        ]);
        let mut page = client.send(&ask).await?.body;
        if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
            found.append(items);
        }
        let next = page.get("next").and_then(Value::as_str).map(str::to_owned);
        // A server that repeats itself is left.
        if next.is_none() || next == after {
            return Ok(found);
        }
        after = next;
    }
}

fn with_state(mut document: Value, inactive: bool) -> Value {
    if let Value::Object(keys) = &mut document
        && inactive
    {
        keys.insert("enabled".to_owned(), json!(false));
    }
    document
}

/// Sent twice, it creates one: the answer of the first may have been lost.
async fn create(client: &Client, document: Value) -> Result<Answer, Failure> {
    let mut ask = Ask::new(Method::POST, &["connectors"]).body(document);
    ask.idempotency_key = Some(Uuid::new_v4().to_string());
    client.send_again_if_lost(&ask).await
}

/// Sends what stands in a file, for the state that was read.
async fn edit(client: &Client, id: &str, source: &Source, patch: bool) -> Result<Answer, Failure> {
    let document = input::read(&source.file, &Given::parse(&source.secrets)?)?;
    // Who edits what `show` wrote means the state that they saw.
    let seen = document.get("revision").and_then(Value::as_u64);
    let tag = match seen {
        Some(revision) => format!("\"{revision}\""),
        None => {
            let now = client.send(&Ask::get(&["connectors", id])).await?;
            now.etag.unwrap_or_else(|| "*".to_owned())
        }
    };
    let method = if patch { Method::PATCH } else { Method::PUT };
    let ask = Ask::new(method, &["connectors", id]).if_match(tag);
    client.send(&ask.body(input::own_keys(document))).await
}

async fn stage(
    client: &Client,
    id: &str,
    secrets: &[String],
    discard: bool,
) -> Result<Answer, Failure> {
    let place = ["connectors", id, "staged-secrets"];
    if discard {
        return client
            .send(&Ask::new(Method::DELETE, &place).if_match("*"))
            .await;
    }
    let secrets = Given::parse(secrets)?.read()?;
    let body = json!({ "secrets": secrets });
    client
        .send(&Ask::new(Method::PUT, &place).if_match("*").body(body))
        .await
}

/// 1 if a leg failed.
async fn test(
    client: &Client,
    (id, staged): (&str, bool),
    output: Output,
    out: &mut impl Write,
) -> Result<u8, Failure> {
    let place: &[&str] = match staged {
        true => &["connectors", id, "staged-secrets", "test"],
        false => &["connectors", id, "test"],
    };
    let ask = Ask::new(Method::POST, place).if_match("*");
    let report = client.send(&ask).await?.body;
    show::report(out, output, &report)?;
    match report.get("passed").and_then(Value::as_bool) {
        Some(true) => Ok(GOOD),
        Some(false) | None => Ok(FAILED),
    }
}
