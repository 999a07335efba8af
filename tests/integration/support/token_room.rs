//! A gateway under a turned clock between an origin and an authorization server.

use std::time::Duration;

use attache::clock::Turned;

use super::authority::{Authority, TokenRequest};
use super::client::Answered;
use super::connector::{connector_with, connectors};
use super::gateway::Running;
use super::origin::{Origin, Setup};
use super::stage::Stage;
use super::tls::Ask;
use super::within;

/// One connector, `c`, whose origin takes any credential.
pub(crate) struct TokenRoom {
    /// Counts what reaches it.
    pub(crate) origin: Origin,
    /// Gives tokens, and asks for client certificates without insisting.
    pub(crate) authority: Authority,
    /// The gateway.
    pub(crate) gateway: Running,
    /// Its clock.
    pub(crate) turned: Turned,
    own: String,
}

impl TokenRoom {
    /// A room whose connector has the `auth` that is made of the token URL.
    pub(crate) async fn new(stage: &Stage, auth: impl Fn(&str) -> String) -> Self {
        Self::with(stage, "", auth).await
    }

    /// The same with settings of the gateway beside the connector.
    pub(crate) async fn with(stage: &Stage, settings: &str, auth: impl Fn(&str) -> String) -> Self {
        Self::with_both(stage, settings, auth, "").await
    }

    /// The same with more keys of the connector's, in YAML's flow style.
    pub(crate) async fn with_both(
        stage: &Stage,
        settings: &str,
        auth: impl Fn(&str) -> String,
        more: &str,
    ) -> Self {
        let asking = Setup {
            ask: Ask::Any,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::plain(&stage.server()).await;
        let authority = Authority::start(asking).await;
        let auth = auth(&authority.token_url());
        let connector = connector_with("c", &origin.url("/"), &auth, more);
        let own = format!("{settings}\n{}", connectors(&[connector]));
        let (gateway, turned) = Running::start_turned(stage, &own).await;
        Self {
            origin,
            authority,
            gateway,
            turned,
            own,
        }
    }

    /// What the gateway was configured with.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// One request.
    pub(crate) async fn get(&self) -> Answered {
        self.gateway.get("/c/x").await
    }

    /// One request that is answered, and the credential the origin received with it.
    pub(crate) async fn credential(&self) -> String {
        let answered = self.get().await;
        assert_eq!(answered.status, 200, "{}", answered.text());
        let requests = self.origin.requests();
        let last = requests.last().unwrap().field("authorization");
        last.unwrap().to_owned()
    }

    /// The same after an hour, when the token before is spent.
    pub(crate) async fn next_credential(&self) -> String {
        self.turned.advance(Duration::from_secs(3600));
        self.credential().await
    }

    /// The same once a remembered failure is over: after the longest pause until another attempt,
    /// whoever makes it.
    pub(crate) async fn recovered_credential(&self) -> String {
        self.turned.advance(Duration::from_secs(330));
        let answered = async { while self.get().await.status != 200 {} };
        within("a token again", answered).await;
        self.credential().await
    }

    /// Waits until token requests fail in this class, or, where none is given, do not.
    pub(crate) async fn until_failing(&self, class: Option<&str>) {
        let (labels, count) = match class {
            Some(class) => (vec![("connector", "c"), ("class", class)], 1.0),
            None => (vec![("connector", "c")], 0.0),
        };
        self.gateway
            .until_sample("attache_token_failing", &labels, |it| it == count)
            .await;
    }

    /// Every token request so far.
    pub(crate) fn asked(&self) -> Vec<TokenRequest> {
        self.authority.requests()
    }
}
