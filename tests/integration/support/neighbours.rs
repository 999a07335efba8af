//! Two connectors side by side under a turned clock: `orders`, whose origin does as a test likes,
//! and `other`, whose origin is well.

use attache::clock::Turned;

use super::client::Answered;
use super::connector::{connector_with, connectors};
use super::gateway::Running;
use super::origin::{Handler, Origin, Setup};
use super::stage::Stage;
use super::tls::Protocols;

/// A gateway with the two connectors.
pub(crate) struct Neighbours {
    pub(crate) stage: Stage,
    /// What `orders` leads to.
    pub(crate) origin: Origin,
    /// What `other` leads to.
    pub(crate) other: Origin,
    pub(crate) gateway: Running,
    pub(crate) turned: Turned,
}

impl Neighbours {
    /// With these keys for `orders`, in YAML's flow style.
    pub(crate) async fn start(keys: &str, handler: Handler) -> Self {
        let stage = Stage::new();
        let setup = Setup {
            protocols: Protocols::Http1,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, handler).await;
        Self::before(stage, origin, keys).await
    }

    /// The same with an origin that is there already.
    pub(crate) async fn before(stage: Stage, origin: Origin, keys: &str) -> Self {
        let other = Origin::plain(&stage.server()).await;
        let (orders, beside) = (origin.url("/"), other.url("/"));
        let own = yaml(&orders, &beside, keys);
        let (gateway, turned) = Running::start_turned(&stage, &own).await;
        Self {
            stage,
            origin,
            other,
            gateway,
            turned,
        }
    }

    /// Reloads with other keys for `orders`.
    pub(crate) fn reload(&self, keys: &str) {
        let own = yaml(&self.origin.url("/"), &self.other.url("/"), keys);
        self.gateway.reload(self.stage.config(&own)).unwrap();
    }

    /// GET from `orders`.
    pub(crate) async fn get(&self) -> Answered {
        self.gateway.get("/orders/x").await
    }

    /// Fails the test unless `other` is served.
    pub(crate) async fn assert_other_served(&self) {
        let answered = self.gateway.get("/other/x").await;
        assert_eq!((answered.status.as_u16(), &*answered.text()), (200, "ok"));
    }

    /// How often `orders` was refused for `reason`.
    pub(crate) async fn refused(&self, reason: &str) -> f64 {
        let labels = [("connector", "orders"), ("reason", reason)];
        self.gateway.sample("attache_refused_total", &labels).await
    }

    /// A gauge of `orders`.
    pub(crate) async fn gauge(&self, name: &str) -> f64 {
        self.gateway.sample(name, &[("connector", "orders")]).await
    }

    /// Waits for a gauge of `orders`.
    pub(crate) async fn until_gauge(&self, name: &str, value: f64) {
        let labels = [("connector", "orders")];
        let is = |now: f64| (now - value).abs() < 0.1;
        self.gateway.until_sample(name, &labels, is).await;
    }
}

fn yaml(orders: &str, other: &str, keys: &str) -> String {
    connectors(&[
        connector_with("orders", orders, "none", keys),
        connector_with("other", other, "none", ""),
    ])
}

/// The status and the reason of a refusal, and when to come back.
pub(crate) fn told(answered: &Answered) -> (u16, String, Option<&str>) {
    let status = answered.status.as_u16();
    (status, answered.reason(), answered.field("retry-after"))
}
