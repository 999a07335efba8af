//! What the store keeps is what flows find, within a second of each change, whatever becomes of the
//! store.

use std::time::{Duration, Instant};

use attache::connector::ConnectorId;
use attache::control::store::Phase;
use attache::gateway::{Environment, Gateway, ReloadError, StartError};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::authority::Authority;
use crate::support::client::{Answered, Client};
use crate::support::connector::{connector, connectors};
use crate::support::exchange::Recorded;
use crate::support::gateway::{Running, get};
use crate::support::origin::{Origin, Setup, held, scripted};
use crate::support::postgres::Postgres;
use crate::support::stage::Stage;
use crate::support::store_room::{StoreRoom, basic, open, with_token};
use crate::support::tls::Protocols;
use crate::support::within;

/// How soon a change of the store has to be acted on.
const SOON: Duration = Duration::from_secs(1);

/// A store on either engine.
async fn rooms(stage: &Stage, server: &Postgres) -> [StoreRoom; 2] {
    [
        StoreRoom::sqlite(stage).await,
        StoreRoom::postgres(stage, server).await,
    ]
}

/// Waits until GET `target` is answered with `status`, and says how long that took.
async fn until(gateway: &Running, target: &str, status: u16) -> Duration {
    let begun = Instant::now();
    let asking = async { while gateway.get(target).await.status != status {} };
    within(&format!("{status} on {target}"), asking).await;
    begun.elapsed()
}

/// What `/readyz?verbose` says of the store.
async fn store_of(gateway: &Running) -> serde_json::Value {
    get(gateway.admin(), "/readyz?verbose").await.json()["store"].clone()
}

/// Waits until that satisfies `is`.
async fn until_store(gateway: &Running, is: impl Fn(&serde_json::Value) -> bool) {
    let looking = async { while !is(&store_of(gateway).await) {} };
    within("the store to be told so", looking).await;
}

/// Waits until what is published stands at `revision`, without asking for any connector.
async fn until_at(gateway: &Running, revision: u64) {
    until_store(gateway, |store| store["revision"] == revision).await;
}

#[tokio::test]
async fn a_change_of_the_store_acts_on_flows_within_a_second_on_either_engine() {
    let (stage, server) = (Stage::new(), Postgres::shared());
    let origin = Origin::plain(&stage.server()).await;
    for room in rooms(&stage, &server).await {
        room.create("first", open(&origin.url("/"))).await;
        let gateway = Running::start(&stage, &room.yaml("")).await;
        assert_eq!(gateway.get("/first/x").await.status, 200);

        room.create("mine", basic(&origin.url("/"), "pass-word"))
            .await;
        let created = until(&gateway, "/mine/x", 200).await;
        room.set("mine", Phase::Inactive).await;
        let deactivated = until(&gateway, "/mine/x", 403).await;
        room.set("mine", Phase::Active).await;
        let activated = until(&gateway, "/mine/x", 200).await;
        room.set("mine", Phase::Deleted).await;
        let deleted = until(&gateway, "/mine/x", 404).await;

        let took = [created, deactivated, activated, deleted];
        assert!(took.iter().all(|took| *took < SOON), "{took:?}");
        assert_eq!(gateway.get("/first/x").await.status, 200);
        let sent = origin.requests();
        let sent = sent.iter().find_map(|one| one.field("authorization"));
        assert_eq!(sent, Some("Basic c3ZjOnBhc3Mtd29yZA=="));
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_token_and_a_connection_of_before_an_edit_are_never_used_again() {
    let stage = Stage::new();
    let (origin, other) = (
        Origin::plain(&stage.server()).await,
        Origin::plain(&stage.server()).await,
    );
    let authority = Authority::plain(&stage.server()).await;
    authority.release_all();
    let document =
        |origin: &Origin, secret| with_token(&origin.url("/"), &authority.token_url(), secret);
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", document(&origin, "old")).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);

    until_at(&gateway, room.set("mine", Phase::Inactive).await).await;
    origin.until(|tally| tally.closed == 1).await;
    room.replace("mine", document(&other, "new")).await;
    until_at(&gateway, room.set("mine", Phase::Active).await).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);

    let tokens = [&origin, &other].map(|origin| {
        let request = origin.requests().pop().unwrap();
        request.field("authorization").unwrap().to_owned()
    });
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);
    assert_eq!(origin.tally().heads, 1);
    gateway.drain().await;
}

/// RFC 7009.
#[tokio::test]
async fn a_token_is_revoked_when_its_connector_is_deactivated_and_not_when_it_is_edited() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let mut document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    document["auth"]["oauth2"]["revocation_url"] = authority.origin().url("/revoke").into();
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", document).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);
    until_at(&gateway, room.edit("mine", |_| {}).await).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);

    room.set("mine", Phase::Inactive).await;
    authority.until_requests(3).await;

    let revocations = authority.requests();
    let revoked = revocations.iter().filter_map(|one| one.parameter("token"));
    assert_eq!(revoked.collect::<Vec<_>>(), ["token-2"]);
    gateway.drain().await;
}

#[tokio::test]
async fn a_deactivated_connector_refuses_flows_even_if_it_obtains_its_token_early() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let mut document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    document["warm"] = true.into();
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", document).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    authority.until_requests(1).await;

    until_at(&gateway, room.set("mine", Phase::Inactive).await).await;

    assert_eq!(gateway.get("/mine/x").await.status, 403);
    assert_eq!(store_of(&gateway).await["broken"], json!([]));
    gateway.drain().await;
}

#[tokio::test]
async fn a_purged_token_is_fetched_anew_and_the_connection_stays() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.release_all();
    let room = StoreRoom::sqlite(&stage).await;
    let document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    room.create("mine", document).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);

    let revision = room.edit("mine", |_| {}).await;
    until_at(&gateway, revision).await;

    assert_eq!(gateway.get("/mine/x").await.status, 200);
    assert_eq!(authority.count(), 2);
    assert_eq!(origin.tally().accepted, 1);
    gateway.drain().await;
}

#[tokio::test]
async fn a_change_that_flows_are_not_to_notice_costs_no_token() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.release_all();
    let room = StoreRoom::sqlite(&stage).await;
    let document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    let made = room.create("mine", document).await;
    room.edit("mine", |record| record.served_revision = made)
        .await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);

    let revision = room
        .edit("mine", |record| record.served_revision = made)
        .await;
    until_at(&gateway, revision).await;

    assert_eq!(gateway.get("/mine/x").await.status, 200);
    assert_eq!(authority.count(), 1);
    gateway.drain().await;
}

#[tokio::test]
async fn the_token_of_a_connector_that_goes_is_ended_and_that_of_one_that_cannot_be_read_is_not() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let revocations = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.release_all();
    let room = StoreRoom::sqlite(&stage).await;
    let mut document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    document["auth"]["oauth2"]["revocation_url"] = revocations.url("/revoke").into();
    for id in ["unread", "deleted", "inactive"] {
        room.create(id, document.clone()).await;
    }
    let gateway = Running::start(&stage, &room.yaml("")).await;
    for id in ["unread", "deleted", "inactive"] {
        assert_eq!(gateway.get(&format!("/{id}/x")).await.status, 200);
    }

    room.edit("unread", |record| record.document["cookies"] = 1.into())
        .await;
    room.set("deleted", Phase::Deleted).await;
    until_at(&gateway, room.set("inactive", Phase::Inactive).await).await;

    revocations.until(|tally| tally.whole == 2).await;
    let mut bodies: Vec<_> = revocations.requests().iter().map(Recorded::text).collect();
    bodies.sort();
    assert!(bodies[0].contains("token-2"), "{bodies:?}");
    assert!(bodies[1].contains("token-3"), "{bodies:?}");
    gateway.drain().await;
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_its_connector_is_deactivated() {
    let stage = Stage::new();
    let (origin, mut pens) = held(&stage, Protocols::Both).await;
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", open(&origin.url("/"))).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    let mut client = Client::http1(gateway.flows()).await;
    let response = client.send("GET", "/mine/x", &[], "").await.unwrap();
    let pen = pens.recv().await.unwrap();
    assert!(pen.write("begun ").await);

    until_at(&gateway, room.set("mine", Phase::Inactive).await).await;

    assert_eq!(gateway.get("/mine/y").await.status, 403);
    assert!(pen.write("ended").await);
    drop(pen);
    let answered = Answered::read(response).await.unwrap();
    assert_eq!(answered.text(), "begun ended");
    origin.until(|tally| tally.closed == 1).await;
    gateway.drain().await;
}

#[tokio::test]
async fn an_id_that_the_store_and_the_configuration_name_stops_a_start_and_a_reload() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", open(&origin.url("/store"))).await;
    let own = |id: &str| room.yaml(&connectors(&[connector(id, &origin.url("/yaml"), "none")]));

    let config = stage.config(&own("mine")).unwrap();
    let starting = std::thread::spawn(move || {
        let started = Gateway::start(config, Environment::system());
        started.map(drop).unwrap_err()
    });
    let error = within("a start", async { starting.join().unwrap() }).await;
    assert!(matches!(error, StartError::Store(_)), "{error:?}");

    let gateway = Running::start(&stage, &own("other")).await;
    let refused = gateway.reload(stage.config(&own("mine")));
    assert!(
        matches!(refused, Err(ReloadError::Publish(_))),
        "{refused:?}"
    );
    let told = get(gateway.admin(), "/readyz?verbose").await.text();
    let sentence = "connector mine is in the store and in the configuration";
    assert!(told.contains(sentence), "{told}");
    assert_eq!(gateway.get("/mine/x").await.status, 200);
    assert_eq!(origin.only_request().target, "/store/x");
    gateway.drain().await;
}

#[tokio::test]
async fn where_the_store_brings_an_id_of_the_configuration_that_one_stays_until_it_lets_go() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let room = StoreRoom::sqlite(&stage).await;
    let own = |id: &str| room.yaml(&connectors(&[connector(id, &origin.url("/yaml"), "none")]));
    let gateway = Running::start(&stage, &own("mine")).await;

    room.create("mine", open(&origin.url("/store"))).await;
    until_store(&gateway, |store| store["broken"][0]["connector"] == "mine").await;

    assert_eq!(gateway.get("/mine/x").await.status, 200);
    assert_eq!(origin.only_request().target, "/yaml/x");
    let broken = [("state", "broken")];
    let count = gateway.sample("attache_store_connectors", &broken).await;
    assert_eq!(count, 1.0);

    gateway.reload(stage.config(&own("other"))).unwrap();
    until_store(&gateway, |store| store["broken"] == json!([])).await;
    assert_eq!(gateway.get("/mine/x").await.status, 200);
    assert_eq!(origin.requests().pop().unwrap().target, "/store/x");
    gateway.drain().await;
}

#[tokio::test]
async fn a_connector_that_cannot_be_read_or_opened_is_shown_and_costs_the_others_nothing() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let room = StoreRoom::sqlite(&stage).await;
    room.create("unread", open("http://not-https.example"))
        .await;
    room.create("unopened", basic(&origin.url("/"), "pass-word"))
        .await;
    room.create("good", open(&origin.url("/"))).await;
    // Its password was sealed for another place.
    room.edit("unopened", |record| {
        record.document["resource_domain"] = "https://elsewhere.example".into();
    })
    .await;

    let gateway = Running::start(&stage, &room.yaml("")).await;

    assert_eq!(gateway.get("/good/x").await.status, 200);
    for id in ["unread", "unopened"] {
        assert_eq!(gateway.get(&format!("/{id}/x")).await.status, 404);
    }
    let store = store_of(&gateway).await;
    let broken: Vec<_> = store["broken"].as_array().unwrap().iter().collect();
    let told = |index: usize, key| broken[index][key].as_str().unwrap();
    assert_eq!(
        [told(0, "connector"), told(1, "connector")],
        ["unopened", "unread"]
    );
    assert!(told(1, "error").starts_with("/resource_domain "), "{store}");
    assert_eq!(store["connectors"], 1);
    assert!(!store.to_string().contains("pass-word"), "{store}");

    room.replace("unread", open(&origin.url("/"))).await;
    until(&gateway, "/unread/x", 200).await;
    until_store(&gateway, |store| store["broken"][1].is_null()).await;
    // Nor is one served on that was good.
    room.replace("good", open("http://not-https.example")).await;
    until(&gateway, "/good/x", 404).await;
    gateway.drain().await;
}

#[tokio::test]
async fn another_default_of_the_configuration_is_taken_by_the_connectors_of_the_store() {
    let stage = Stage::new();
    let silent = scripted(|_| std::future::pending());
    let origin = Origin::start(Setup::new(&stage.server()), silent).await;
    let room = StoreRoom::sqlite(&stage).await;
    room.create("mine", open(&origin.url("/"))).await;
    let own = |limit| room.yaml(&format!("upstream: {{ response_head: {limit} }}\n"));
    let gateway = Running::start(&stage, &own("10m")).await;

    gateway.reload(stage.config(&own("50ms"))).unwrap();

    // One that still waits under the old limit would wait on.
    let asking = async {
        let patience = Duration::from_secs(1);
        let asked = || tokio::time::timeout(patience, gateway.get("/mine/x"));
        while asked().await.is_err() {}
        asked().await.unwrap().status
    };
    assert_eq!(within("the new limit", asking).await, 504);
}

#[tokio::test]
async fn a_store_that_tells_nothing_is_asked_in_time() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let room = StoreRoom::sqlite(&stage).await;
    let (gateway, turned) = Running::start_turned(&stage, &room.yaml("")).await;
    room.create("mine", open(&origin.url("/"))).await;
    assert_eq!(gateway.get("/mine/x").await.status, 404, "nobody told");

    turned.advance(Duration::from_millis(500));

    until(&gateway, "/mine/x", 200).await;
    gateway.drain().await;
}

#[tokio::test]
async fn a_store_that_was_put_back_to_an_older_copy_is_served_as_it_is_now() {
    let (stage, server) = (Stage::new(), Postgres::shared());
    let origin = Origin::plain(&stage.server()).await;
    let url = server.database().await;
    let room = StoreRoom::at(&stage, &url, "").await;
    let then = room.create("first", open(&origin.url("/"))).await;
    room.create("late", open(&origin.url("/"))).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    assert_eq!(gateway.get("/late/x").await.status, 200);

    let sql = format!(
        "BEGIN; DELETE FROM data_keys WHERE connector = 'late'; \
         DELETE FROM connectors WHERE id = 'late'; \
         UPDATE store_revision SET revision = {then}; COMMIT"
    );
    let mut database = PgConnection::connect(&url).await.unwrap();
    let put_back = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database);
    put_back.await.unwrap();

    until(&gateway, "/late/x", 404).await;
    until_at(&gateway, then).await;
    assert_eq!(gateway.get("/first/x").await.status, 200);
    gateway.drain().await;
}

#[tokio::test]
async fn what_the_store_keeps_no_longer_is_erased_every_hour() {
    let stage = Stage::new();
    let room = StoreRoom::sqlite(&stage).await;
    room.create("gone", open("https://origin.example/")).await;
    room.set("gone", Phase::Deleted).await;
    let (gateway, turned) = Running::start_turned(&stage, &room.yaml("")).await;
    let id = ConnectorId::parse("gone").unwrap();
    let document = async || room.store.connector(&id).await.unwrap().unwrap().document;
    assert!(document().await.is_object());

    // A deleted connector can be restored for thirty days.
    turned.advance(Duration::from_secs(30 * 24 * 3600));

    let erasing = async { while !document().await.is_null() {} };
    within("what is kept no longer to be erased", erasing).await;
    gateway.drain().await;
}
