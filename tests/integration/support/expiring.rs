//! An origin that takes one token at a time, with a gateway before it and an authorization server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::answer::Answer;
use super::authority::Authority;
use super::client::Client;
use super::connector::{connector_with, connectors, with_secret};
use super::exchange::{Exchange, Recorded};
use super::gateway::Running;
use super::origin::{self, Handler, Origin, Setup};
use super::stage::Stage;
use super::tls::Protocols;

/// Both versions that origins speak.
pub(crate) const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

/// Which token an origin takes; none before it is told.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<AtomicUsize>);

impl Taken {
    /// From now on the token `token-{number}` and no other.
    pub(crate) fn only(&self, number: usize) {
        self.0.store(number, Ordering::SeqCst);
    }

    /// Whether a request carries the token that is taken.
    pub(crate) fn accepts(&self, request: &Recorded) -> bool {
        let expected = format!("Bearer token-{}", self.0.load(Ordering::SeqCst));
        request.field("authorization") == Some(expected.as_str())
    }
}

/// One connector, `c`, whose origin takes `token-2` alone.
pub(crate) struct Expiring {
    pub(crate) origin: Origin,
    pub(crate) authority: Authority,
    pub(crate) gateway: Running,
    pub(crate) taken: Taken,
}

impl Expiring {
    /// An origin that answers other tokens with 401 once their request is whole.
    pub(crate) async fn plain(protocols: Protocols) -> Self {
        Self::rejecting(protocols, "", || Answer::status(401).body("rejected")).await
    }

    /// The same with settings of the gateway.
    pub(crate) async fn set(protocols: Protocols, settings: &str) -> Self {
        Self::start(protocols, (settings, ""), |taken| {
            origin::whole(move |request| match taken.accepts(request) {
                true => Answer::text(&request.text()),
                false => Answer::status(401),
            })
        })
        .await
    }

    /// The same with more keys of the connector, and `rejection` in the place of 401.
    pub(crate) async fn rejecting(
        protocols: Protocols,
        more: &str,
        rejection: impl Fn() -> Answer + Send + Sync + 'static,
    ) -> Self {
        let rejection = Arc::new(rejection);
        Self::start(protocols, ("", more), |taken| {
            origin::whole(move |request| match taken.accepts(request) {
                true => Answer::text(&request.text()),
                false => rejection(),
            })
        })
        .await
    }

    /// An origin that answers other tokens with 401 before it reads their request's body,
    /// behind a gateway with these settings.
    pub(crate) async fn hasty(protocols: Protocols, settings: &str) -> Self {
        Self::start(protocols, (settings, ""), |taken| {
            origin::scripted(move |mut exchange: Exchange| {
                let taken = taken.clone();
                async move {
                    if !taken.accepts(&exchange.recorded()) {
                        return Answer::status(401).body("rejected");
                    }
                    let request = exchange.finish().await;
                    Answer::text(&request.text())
                }
            })
        })
        .await
    }

    /// An origin that answers as `handler` says, which is told the token to take, behind a gateway
    /// with these settings and more keys of the connector.
    pub(crate) async fn start(
        protocols: Protocols,
        (settings, more): (&str, &str),
        handler: impl FnOnce(Taken) -> Handler,
    ) -> Self {
        let stage = Stage::new();
        let taken = Taken::default();
        taken.only(2);
        let setup = Setup {
            protocols,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, handler(taken.clone())).await;
        let authority = Authority::plain(&stage.server()).await;
        let auth = with_secret(&authority.token_url());
        let connector = connector_with("c", &origin.url("/"), &auth, more);
        let own = format!("{settings}\n{}", connectors(&[connector]));
        let gateway = Running::start(&stage, &own).await;
        Self {
            origin,
            authority,
            gateway,
            taken,
        }
    }

    /// A client of the gateway.
    pub(crate) async fn client(&self) -> Client {
        Client::http1(self.gateway.flows()).await
    }

    /// How many requests were sent again for `cause`.
    pub(crate) async fn retries(&self, cause: &str) -> f64 {
        retries(&self.gateway, cause).await
    }

    /// The credentials of all requests that reached the origin, in order.
    pub(crate) fn credentials(&self) -> Vec<String> {
        let requests = self.origin.requests().into_iter();
        let credential = |request: Recorded| request.field("authorization").unwrap().to_owned();
        requests.map(credential).collect()
    }
}

/// How many requests `gateway` sent again for `cause`.
pub(crate) async fn retries(gateway: &Running, cause: &str) -> f64 {
    let labels = [("cause", cause)];
    gateway
        .sample("attache_upstream_retries_total", &labels)
        .await
}
