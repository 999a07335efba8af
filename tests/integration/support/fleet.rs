//! Several gateways on one store, each a process of its own, as they run behind a balancer.

use std::net::SocketAddr;

use super::child::Child;
use super::client::Answered;
use super::gateway::{get, process, sample};
use super::stage::Stage;
use super::store_room::StoreRoom;
use super::within;

/// One of them.
pub(crate) struct Replica {
    /// The process.
    pub(crate) child: Child,
    /// Where flows connect.
    pub(crate) flows: SocketAddr,
    /// Where administrators connect.
    pub(crate) admin: SocketAddr,
}

impl Replica {
    /// Starts one called `name`, with a snapshot of its own, on the store of `room`, and `own`,
    /// top-level YAML keys.
    pub(crate) async fn start(stage: &Stage, room: &StoreRoom, name: &str, own: &str) -> Self {
        let snapshot = format!(", snapshot: {name}.snapshot }}\n");
        let store = room.yaml("");
        let store = store.trim_end().strip_suffix(" }").unwrap().to_owned() + &snapshot;
        let quiet = "logs: { access: off }\n";
        let text = stage.yaml(&format!("{quiet}{store}{own}"));
        let child = process(&stage.write(&format!("{name}.yaml"), &text));
        let flows = address(&child, "flows are served").await;
        let admin = address(&child, "served to administrators").await;
        Self {
            child,
            flows,
            admin,
        }
    }

    /// Sends one GET over a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Answered {
        get(self.flows, target).await
    }

    /// Waits until a sample of `/metrics` satisfies `is`.
    pub(crate) async fn until_sample(&self, name: &str, is: impl Fn(f64) -> bool) {
        let looking = async { while !is(sample(self.admin, name, &[]).await) {} };
        within(name, looking).await;
    }
}

async fn address(child: &Child, what: &str) -> SocketAddr {
    let line = child.stderr.line(what, |line| line.contains(what)).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

/// Three of them, each of which has read the store.
pub(crate) async fn three(stage: &Stage, room: &StoreRoom, own: &str) -> [Replica; 3] {
    let start = async |name| {
        let replica = Replica::start(stage, room, name, own).await;
        replica
            .until_sample("attache_store_up", |up| up == 1.0)
            .await;
        replica
    };
    [start("one").await, start("two").await, start("three").await]
}
