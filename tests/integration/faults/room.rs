//! Where a row is staged.

use attache::clock::Turned;

use crate::support::answer::Answer;
use crate::support::chaos::{Chaos, Fault, NAME};
use crate::support::connector::{basic, connector_with, connectors, with_secret};
use crate::support::gateway::Running;
use crate::support::names::Names;
use crate::support::origin::{self, Origin, Setup};
use crate::support::stage::Stage;

use super::{BESIDE, CONTENT, HIT, Leg, Limit, Row, Trouble, Warm, served};

/// Every limit that a fault could meet, at its bound: far behind a test's patience.
pub(super) const FAR: &str =
    "timeouts: { handshake: 5m, head: 5m, idle: 1h, body: 1h, write: 1h, drain_delay: 0s }
upstream: { connect: 1m, response_head: 1h, stall: 1h, idle: 10m, age_max: 24h }
";

/// A gateway with two connectors, of which one meets the fault.
pub(super) struct Room {
    pub(super) chaos: Chaos,
    names: Names,
    /// What is healthy: behind the other connector, and behind a faulty token endpoint.
    _origin: Origin,
    pub(super) gateway: Running,
    pub(super) turned: Turned,
    _stage: Stage,
}

impl Room {
    pub(super) async fn start(row: &Row) -> Self {
        let stage = Stage::new();
        let fault = match row.warm {
            Warm::No => row.fault.clone(),
            Warm::Yes | Warm::Noticed | Warm::Later(_) => Fault::Nothing,
        };
        let names = Names::new();
        names.set("localhost", &["127.0.0.1"]);
        trouble(
            &names,
            match row.warm {
                Warm::No => row.trouble,
                Warm::Yes | Warm::Noticed | Warm::Later(_) => Trouble::None,
            },
        );
        let chaos = Chaos::start(&stage, row.protocols, CONTENT, fault).await;
        let healthy = origin::whole(|_| Answer::text(CONTENT));
        let origin = Origin::start(Setup::new(&stage.server()), healthy).await;
        let faulty = format!("https://{NAME}:{}/x", chaos.address().port());
        let (resource, auth) = match row.leg {
            Leg::Origin => (faulty, basic("svc", "pass-word")),
            Leg::TokenEndpoint => (origin.url("/"), with_secret(&faulty)),
        };
        let (upstream, tokens) = row.limit.written();
        let all = [
            connector_with(HIT, &resource, &auth, &upstream),
            connector_with(BESIDE, &origin.url("/"), "none", ""),
        ];
        let own = format!("{FAR}{tokens}{}", connectors(&all));
        let (environment, turned) = names.turned();
        let gateway = Running::start_in(&stage, &own, environment).await;
        Self {
            chaos,
            names,
            gateway,
            turned,
            _origin: origin,
            _stage: stage,
        }
    }

    /// A good request before the fault, where the row wants one, and what it counts.
    pub(super) async fn warm_up(&self, row: &Row) -> Vec<String> {
        if row.warm == Warm::No {
            return Vec::new();
        }
        let (name, idle) = ("attache_upstream_connections", [("state", "idle")]);
        self.claim_served().await;
        self.gateway
            .until_sample(name, &idle, |count| count > 0.5)
            .await;
        self.chaos.inflict(row.fault.clone());
        trouble(&self.names, row.trouble);
        if row.warm == Warm::Noticed {
            self.gateway
                .until_sample(name, &idle, |count| count < 0.5)
                .await;
        }
        if let Warm::Later(later) = row.warm {
            self.turned.advance(later);
        }
        vec![served(HIT)]
    }

    /// Ends the fault.
    pub(super) fn lift(&self) {
        self.chaos.lift();
        trouble(&self.names, Trouble::None);
    }

    /// Claims that the connector with the fault serves a request.
    pub(super) async fn claim_served(&self) {
        let answered = self.gateway.get("/hit/x").await;
        assert_eq!(
            (answered.status.as_u16(), answered.text()),
            (200, CONTENT.to_owned())
        );
    }
}

fn trouble(names: &Names, trouble: Trouble) {
    match trouble {
        Trouble::None => names.set(NAME, &["127.0.0.1"]),
        Trouble::Denied => names.forget(NAME),
        Trouble::Failing => names.fail(NAME),
        Trouble::Hanging => names.hang(NAME),
        Trouble::Addresses(addresses) => names.set(NAME, addresses),
    }
}

impl Limit {
    /// As the connector's `upstream` has it, and as the gateway's `tokens` do.
    fn written(self) -> (String, String) {
        let (upstream, tokens) = match self {
            Self::Event => ("", "wait: 1m, fetch: 5m"),
            Self::Upstream(key) => (key, "wait: 1m, fetch: 5m"),
            Self::Tokens(keys) | Self::TokensTurned(keys, _) => ("", keys),
        };
        let upstream = format!("upstream: {{ {upstream} }}");
        (upstream, format!("tokens: {{ {tokens} }}\n"))
    }
}
