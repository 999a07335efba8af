//! One connector, `orders`, with a gateway before it and a resource domain behind it.

use attache::clock::{Clock, Turned};
use attache::gateway::Environment;

use super::answer::Answer;
use super::gateway::Running;
use super::origin::{self, Handler, Origin, Setup};
use super::stage::Stage;
use super::tls::Protocols;

/// `Authorization` as the connector of a scene carries it.
pub(crate) const CREDENTIAL: &str = "Basic c3ZjOnBhLXNzLXdvcmQ=";

/// What a test wants otherwise than usual.
pub(crate) struct Plan {
    /// What the origin answers.
    pub(crate) handler: Handler,
    /// What the origin speaks.
    pub(crate) protocols: Protocols,
    /// The resource domain's base path.
    pub(crate) base: &'static str,
    /// Further lines of the connector, in YAML.
    pub(crate) connector: &'static [&'static str],
    /// Further top-level keys, in YAML.
    pub(crate) settings: &'static str,
}

impl Plan {
    /// An origin that speaks HTTP/1.1 and answers `ok`, and a connector with Basic authentication.
    pub(crate) fn new() -> Self {
        Self {
            handler: origin::whole(|_| Answer::text("ok")),
            protocols: Protocols::Http1,
            base: "/api",
            connector: &[],
            settings: "",
        }
    }

    /// The same with an origin that answers with `handler`.
    pub(crate) fn answering(handler: Handler) -> Self {
        Self {
            handler,
            ..Self::new()
        }
    }
}

/// Everything that a test of forwarding needs.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) origin: Origin,
    pub(crate) gateway: Running,
}

impl Scene {
    /// The usual.
    pub(crate) async fn plain() -> Self {
        Self::start(Plan::new()).await
    }

    /// As `plan` says.
    pub(crate) async fn start(plan: Plan) -> Self {
        Self::start_in(plan, Environment::system(), |_| ()).await
    }

    /// The same, with files that `prepare` writes before the gateway starts.
    pub(crate) async fn start_with(plan: Plan, prepare: impl FnOnce(&Stage)) -> Self {
        Self::start_in(plan, Environment::system(), prepare).await
    }

    /// The same, under a clock that the test turns.
    pub(crate) async fn start_turned(plan: Plan) -> (Self, Turned) {
        let turned = Turned::starting_at(std::time::SystemTime::now());
        let environment = Environment {
            clock: Clock::turned(&turned),
            ..Environment::system()
        };
        (Self::start_in(plan, environment, |_| ()).await, turned)
    }

    async fn start_in(plan: Plan, environment: Environment, prepare: impl FnOnce(&Stage)) -> Self {
        let stage = Stage::new();
        prepare(&stage);
        let setup = Setup {
            protocols: plan.protocols,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, plan.handler).await;
        let yaml = orders(&origin.url(plan.base), plan.connector) + plan.settings;
        let gateway = Running::start_in(&stage, &yaml, environment).await;
        Self {
            stage,
            origin,
            gateway,
        }
    }
}

/// `connectors:` with `orders`, which leads to `resource_domain` and carries [`CREDENTIAL`] unless
/// `lines` say otherwise.
pub(crate) fn orders(resource_domain: &str, lines: &[&str]) -> String {
    let mut yaml = format!(
        "connectors:\n  - id: orders\n    name: Orders\n    resource_domain: \"{resource_domain}\"\n"
    );
    if !lines.iter().any(|line| line.starts_with("auth:")) {
        yaml += "    auth: { basic: { username: svc, password: pa-ss-word } }\n";
    }
    for line in lines {
        yaml += &format!("    {line}\n");
    }
    yaml
}
