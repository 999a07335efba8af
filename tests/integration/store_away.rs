//! What flows find while the store is away: what it held last, or, at a start, what its snapshot
//! holds.

use std::path::PathBuf;

use attache::control::store::Phase;

use crate::support::connector::{connector, connectors};
use crate::support::gateway::{Running, get};
use crate::support::load::Load;
use crate::support::origin::{Origin, Setup, scripted};
use crate::support::postgres::{Fsync, Postgres};
use crate::support::stage::Stage;
use crate::support::store_room::{StoreRoom, basic, open};
use crate::support::within;

/// A store on a server that a test may stop, with the connector `mine`.
struct Scene {
    stage: Stage,
    origin: Origin,
    server: Postgres,
    room: StoreRoom,
}

impl Scene {
    async fn new() -> Self {
        let (stage, server) = (Stage::new(), Postgres::own(Fsync::Off));
        let origin = Origin::plain(&stage.server()).await;
        let room = StoreRoom::at(&stage, &server.database().await, "timeout: 500ms").await;
        room.create("mine", basic(&origin.url("/"), "pass-word"))
            .await;
        Self {
            stage,
            origin,
            server,
            room,
        }
    }

    /// A gateway with `yaml` beside the store's.
    async fn start(&self) -> Running {
        let own = connectors(&[connector("yaml", &self.origin.url("/"), "none")]);
        Running::start(&self.stage, &self.room.yaml(&own)).await
    }

    fn snapshot(&self) -> PathBuf {
        self.stage.directory().join("attache.snapshot")
    }

    async fn until_snapshot(&self) {
        let path = self.snapshot();
        let looking = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        within("a snapshot", looking).await;
    }
}

async fn readiness(gateway: &Running) -> (u16, String) {
    let answered = get(gateway.admin(), "/readyz").await;
    (answered.status.as_u16(), answered.text())
}

async fn until_ready(gateway: &Running) {
    let looking = async { while readiness(gateway).await.1 != "ready\n" {} };
    within("the gateway to be ready", looking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_while_the_store_is_away_serves_its_snapshot_and_says_so() {
    let scene = Scene::new().await;
    let gateway = scene.start().await;
    scene.until_snapshot().await;
    let first = std::fs::read(scene.snapshot()).unwrap();
    scene
        .room
        .create("late", open(&scene.origin.url("/")))
        .await;
    let looking = async {
        while std::fs::read(scene.snapshot()).unwrap() == first {
            tokio::task::yield_now().await;
        }
    };
    within("another snapshot", looking).await;
    gateway.drain().await;
    scene.server.stop();

    let gateway = scene.start().await;

    for target in ["/mine/x", "/late/x", "/yaml/x"] {
        assert_eq!(gateway.get(target).await.status, 200, "{target}");
    }
    let (status, told) = readiness(&gateway).await;
    assert_eq!(status, 200);
    assert!(told.starts_with("ready, from the snapshot of 2"), "{told}");
    assert!(told.ends_with(": the store is unreachable\n"), "{told}");
    assert_eq!(gateway.sample("attache_store_up", &[]).await, 0.0);
    let store = get(gateway.admin(), "/readyz?verbose").await.json()["store"].clone();
    assert_eq!(store["served_from"], "snapshot");
    assert!(store["outage"]["error"].is_string(), "{store}");
    assert!(!store.to_string().contains("postgres:"), "{store}");

    scene.server.start();
    until_ready(&gateway).await;
    scene.room.set("mine", Phase::Inactive).await;
    let asking = async { while gateway.get("/mine/x").await.status != 403 {} };
    within("the store to be followed", asking).await;
    assert_eq!(gateway.sample("attache_store_up", &[]).await, 1.0);
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_snapshot_the_configuration_is_served_and_no_balancer_sends_flows() {
    let scene = Scene::new().await;
    scene.server.stop();

    let gateway = scene.start().await;

    assert_eq!(gateway.get("/yaml/x").await.status, 200);
    assert_eq!(gateway.get("/mine/x").await.status, 404);
    let (status, told) = readiness(&gateway).await;
    assert_eq!(status, 503);
    assert_eq!(
        told,
        "not ready: the store was not read so far, and there is no snapshot of it\n"
    );

    scene.server.start();
    until_ready(&gateway).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_changed_on_disk_serves_nobody() {
    let scene = Scene::new().await;
    let gateway = scene.start().await;
    scene.until_snapshot().await;
    gateway.drain().await;
    scene.server.stop();
    let mut bytes = std::fs::read(scene.snapshot()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(scene.snapshot(), bytes).unwrap();

    let gateway = scene.start().await;

    assert_eq!(gateway.get("/mine/x").await.status, 404);
    assert_eq!(readiness(&gateway).await.0, 503);
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_that_changed_while_the_store_was_away_is_taken_once_it_is_back() {
    let (stage, server) = (Stage::new(), Postgres::own(Fsync::Off));
    let silent = scripted(|_| std::future::pending());
    let origin = Origin::start(Setup::new(&stage.server()), silent).await;
    let room = StoreRoom::at(&stage, &server.database().await, "timeout: 500ms").await;
    room.create("mine", open(&origin.url("/"))).await;
    let own = |limit| room.yaml(&format!("upstream: {{ response_head: {limit} }}\n"));
    let gateway = Running::start(&stage, &own("10m")).await;
    let up = |up: f64| gateway.until_sample("attache_store_up", &[], move |sample| sample == up);

    server.stop();
    gateway.reload(stage.config(&own("50ms"))).unwrap();
    up(0.0).await;
    server.start();
    up(1.0).await;

    let asked = within("the new limit", gateway.get("/mine/x")).await;
    assert_eq!(asked.status, 504);
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stops_hangs_or_is_killed_under_load_costs_no_request() {
    let scene = Scene::new().await;
    let gateway = scene.start().await;
    until_ready(&gateway).await;
    let load = Load::start(gateway.flows(), "/mine/x", (4, 1));
    load.further(200).await;
    let up = async |up: f64| {
        gateway
            .until_sample("attache_store_up", &[], |sample| sample == up)
            .await;
    };

    scene.server.stop();
    up(0.0).await;
    load.further(500).await;
    scene.server.start();
    up(1.0).await;
    scene.server.freeze();
    up(0.0).await;
    load.further(500).await;
    scene.server.thaw();
    up(1.0).await;
    scene.server.kill();
    up(0.0).await;
    load.further(500).await;
    scene.server.start();
    up(1.0).await;

    // It is followed again.
    let revision = scene
        .room
        .create("late", open(&scene.origin.url("/")))
        .await;
    let revision = revision as f64;
    gateway
        .until_sample("attache_store_revision", &[], |sample| sample == revision)
        .await;
    assert_eq!(gateway.get("/late/x").await.status, 200);
    let count = load.stopped().await;
    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert_eq!((count.refused, count.farewells), (0, 0), "{count:?}");
    gateway.drain().await;
}
