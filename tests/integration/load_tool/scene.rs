//! What is loaded: an origin as the harness has one, and a gateway before it.

use crate::support::answer::Answer;
use crate::support::connector::{basic, connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::origin::{Handler, Origin, Setup, whole};
use crate::support::stage::Stage;

use super::load::target::{Target, Tls};

/// What is answered to a request for `target`: so many bytes as `/b/{n}` says, else 100.
pub(crate) fn content(target: &str) -> String {
    let bytes = target
        .strip_prefix("/b/")
        .map(|bytes| bytes.parse().unwrap());
    "x".repeat(bytes.unwrap_or(100))
}

/// An origin as the harness has one, behind a gateway.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) origin: Origin,
    pub(crate) gateway: Running,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let stage = Stage::new();
        let handler = whole(|request| Answer::text(&content(&request.target)));
        Self::with(stage, handler, "").await
    }

    /// The same with another origin, and more keys of its connector.
    pub(crate) async fn with(stage: Stage, handler: Handler, more: &str) -> Self {
        let origin = Origin::start(Setup::new(&stage.server()), handler).await;
        let all = [connector_with(
            "o",
            &origin.url("/"),
            &basic("u", "p"),
            more,
        )];
        let gateway = Running::start(&stage, &connectors(&all)).await;
        Self {
            stage,
            origin,
            gateway,
        }
    }

    /// The origin through the gateway.
    pub(crate) fn through(&self) -> Target {
        Target {
            address: self.gateway.flows(),
            host: "localhost".to_owned(),
            prefix: "/o".to_owned(),
            tls: None,
        }
    }

    /// The origin itself.
    pub(crate) fn past(&self) -> Target {
        let ca = self.stage.directory().join("ca.pem");
        Target {
            address: self.origin.address(),
            host: "localhost".to_owned(),
            prefix: String::new(),
            tls: Some(Tls::trusting("localhost", Some(&ca)).unwrap()),
        }
    }
}
