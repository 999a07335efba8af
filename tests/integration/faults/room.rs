//! Where a row is staged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use attache::clock::{Clock, Turned};
use attache::dial::Lookup;
use attache::gateway::Environment;

use crate::support::answer::Answer;
use crate::support::chaos::{Chaos, Fault};
use crate::support::connector::{basic, connector_with, connectors, with_secret};
use crate::support::gateway::Running;
use crate::support::origin::{self, Origin, Setup};
use crate::support::stage::Stage;

use super::{BESIDE, CONTENT, HIT, Leg, Limit, Row, Warm, served};

/// Every limit that a fault could meet, at its bound: far behind a test's patience.
pub(super) const FAR: &str =
    "timeouts: { handshake: 5m, head: 5m, idle: 1h, body: 1h, write: 1h, drain_delay: 0s }
upstream: { connect: 1m, response_head: 1h, stall: 1h, idle: 1h, age_max: 24h }
";

/// A gateway with two connectors, of which one meets the fault.
pub(super) struct Room {
    pub(super) chaos: Chaos,
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
            Warm::Yes | Warm::Noticed => Fault::Nothing,
        };
        let chaos = Chaos::start(&stage, row.protocols, CONTENT, fault).await;
        let healthy = origin::whole(|_| Answer::text(CONTENT));
        let origin = Origin::start(Setup::new(&stage.server()), healthy).await;
        let faulty = format!("https://localhost:{}/x", chaos.address().port());
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
        let turned = Turned::starting_at(SystemTime::now());
        let environment = Environment {
            clock: Clock::turned(&turned),
            lookup: names(),
            ..Environment::system()
        };
        let gateway = Running::start_in(&stage, &own, environment).await;
        Self {
            chaos,
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
        if row.warm == Warm::Noticed {
            self.gateway
                .until_sample(name, &idle, |count| count < 0.5)
                .await;
        }
        vec![served(HIT)]
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

/// `localhost` without the system, which may take its time.
fn names() -> Lookup {
    let localhost = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    Lookup::Table(Arc::new([("localhost".to_owned(), localhost)].into()))
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
