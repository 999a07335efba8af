//! `attache demo`: a gateway and everything it leads to, in one process.
//!
//! # Invariants
//!
//! It needs nothing but the binary: no file is read or written, no name resolved, no other machine
//! reached. Everything listens on loopback only, because the gateway serves whoever reaches it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{AccessLog, Config, LogFormat, Logs};
use crate::gateway::{Environment, Gateway, StartError};
use crate::logging;

mod authority;
mod pki;
mod records;
mod resource;
mod server;
mod stage;
mod tokens;

use stage::Stage;

/// Every request is logged, so that one sees what happens; the configuration says the same.
const LOGS: Logs = Logs {
    format: LogFormat::Text,
    level: tracing::Level::INFO,
    access: AccessLog::All,
};

/// What the command can be told.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Where flows connect: a loopback address and a port, 0 for any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = loopback)]
    pub listen: SocketAddr,
    /// Where health and metrics are: likewise
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = loopback)]
    pub admin_listen: SocketAddr,
}

/// An address that may be given: anything else is wrong usage, said before anything is started.
fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "an IP address with a port is needed, such as 127.0.0.1:8080")?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => {
            Err("the demonstration serves whoever reaches it, so it takes a loopback address only")
        }
    }
}

/// Shows the demonstration until SIGINT or SIGTERM ends it.
///
/// # Errors
///
/// Whatever kept it from starting, a port in use for instance: one sentence with its causes, for
/// exit code 1.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the demonstration could not be started")?;
    // Before anything is started, so that no signal finds it half way.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?,
            signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?,
        )
    };
    // Dropped last, so that what is logged while it ends is written too.
    let logging = logging::init(&LOGS).context("the log could not be started")?;
    let environment = Environment {
        access_log: logging.access_log(),
        ..Environment::system()
    };
    let demo = Demo::start_in(environment, options.listen, options.admin_listen)?;
    print(demo.lines())?;
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let token_requests = demo.token_requests();
    demo.stop();
    print(&[format!("# Ended. Token requests in all: {token_requests}")])?;
    Ok(ExitCode::SUCCESS)
}

fn print(lines: &[String]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .context("standard output cannot be written to")
}

/// A running demonstration.
pub struct Demo {
    gateway: Gateway,
    stage: Stage,
    flow_address: SocketAddr,
    lines: Vec<String>,
}

impl Demo {
    /// Starts the stand-ins and a gateway that leads to them. Blocks until all of it listens.
    ///
    /// # Errors
    ///
    /// An address that is not loopback, or that cannot be bound.
    pub fn start(listen: SocketAddr, admin: SocketAddr) -> anyhow::Result<Self> {
        Self::start_in(Environment::system(), listen, admin)
    }

    /// The same with a clock and an access log of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`Demo::start`].
    pub fn start_in(
        environment: Environment,
        listen: SocketAddr,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        for (option, address) in [("--listen", listen), ("--admin-listen", admin)] {
            ensure!(
                address.ip().is_loopback(),
                "the demonstration serves whoever reaches it, so {option} takes a loopback address \
                 only, and {} is none",
                address.ip()
            );
        }
        let stage = Stage::set(&environment.clock)?;
        let configuration = stage.configuration(listen, admin);
        let mut config = Config::parse(configuration.expose(), Path::new("."))
            .context("the demonstration's own configuration is refused")?;
        // They would warn of plain secrets and of the password grant: of what is shown here.
        config.warnings.clear();
        let gateway = Gateway::start(config, environment).map_err(with_advice)?;
        let flow_address = *gateway
            .flow_addresses()
            .first()
            .context("the gateway listens nowhere")?;
        let lines = playbill(&stage, flow_address, gateway.admin_address());
        Ok(Self {
            gateway,
            stage,
            flow_address,
            lines,
        })
    }

    /// Where flows connect.
    pub fn flow_address(&self) -> SocketAddr {
        self.flow_address
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.gateway.admin_address()
    }

    /// Where the resource domain listens, for whoever wants to ask it without the gateway.
    pub fn resource_domain(&self) -> SocketAddr {
        self.stage.resource_domain()
    }

    /// What is printed: lines that begin with `curl` are commands, all others are comments.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Requests that reached the authorization server's token endpoint so far.
    pub fn token_requests(&self) -> u64 {
        self.stage.token_requests()
    }

    /// Drains the gateway and ends the stand-ins. Blocks until that is done.
    pub fn stop(self) {
        self.gateway.drain();
        drop(self.stage);
    }
}

/// A port that is taken is the one thing a user can mend with an option.
fn with_advice(error: StartError) -> anyhow::Error {
    let in_use = matches!(
        &error,
        StartError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse
    );
    match in_use {
        true => anyhow!(
            "{}; --listen and --admin-listen take other addresses",
            logging::with_sources(&error)
        ),
        false => anyhow::Error::new(error),
    }
}

/// What to try, and what each of it proves. As a whole it can be pasted into a shell.
fn playbill(stage: &Stage, flows: SocketAddr, admin: SocketAddr) -> Vec<String> {
    let resource = stage.resource_domain();
    let authority = stage.authorization_server();
    let (phone, contact, case) = (records::PHONE, records::CONTACT_ID, records::CASE_ID);
    let data = "services/data/v52.0";
    let by_phone = format!("WHERE+Phone+LIKE+%27%25{phone}%25%27");
    format!(
        "\
# Attaché demonstration. Flows connect to http://{flows}
# Resource domain: https://{resource}
# Authorization server: https://{authority}
# Asked without the gateway, the resource domain answers 401. None of these four requests
# carries a credential, and each of them is answered.

# 1. HTTP Basic: the gateway added a user name and a password.
curl -sS -i 'http://{flows}/demo-basic/{data}/query?q=SELECT+id,name,phone+from+Account+{by_phone}'

# 2. OAuth 2.0 with a client secret: the gateway fetched a token and keeps it. Ask again: it
#    does not fetch another.
curl -sS -i 'http://{flows}/demo-client-secret/{data}/query?q=SELECT+id,Name+FROM+Contact+{by_phone}'

# 3. OAuth 2.0 with a certificate (RFC 8705): the token is bound to the certificate that the
#    gateway shows to both servers, and is worth nothing without its key.
curl -sS -i 'http://{flows}/demo-certificate/{data}/query\
?q=SELECT+Id,CaseNumber,Subject,Priority+FROM+Case+WHERE+ContactId=%27{contact}%27'

# 4. OAuth 2.0 password grant, and a request with a body: the case takes the comment (204).
curl -sS -i -X PATCH -H 'Content-Type: application/json' -d '{{\"Comments\":\"Called back\"}}' \
'http://{flows}/demo-password/{data}/sobjects/Case/{case}'

# What the resource domain receives: http://{flows}/demo-certificate/echo
# Metrics: http://{admin}/metrics (attache_token_requests_total, attache_requests_total)
# Health: http://{admin}/readyz?verbose
# Ctrl-C ends it."
    )
    .lines()
    .map(str::to_owned)
    .collect()
}
