//! A reload changes what was changed, at once, and disturbs nothing else.

use crate::support::authority::Authority;
use crate::support::client::{Answered, Client};
use crate::support::gateway::{Running, process};
use crate::support::load::Load;
use crate::support::origin::{Origin, held};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;

/// One connector, on a line of its own.
fn connector(id: &str, url: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { "auth: none" } else { rest };
    format!("  - {{ id: {id}, name: {id}, resource_domain: \"{url}\", {rest} }}\n")
}

/// Connectors under limits that no test meets.
fn connectors(lines: &[String]) -> String {
    let lines = lines.concat();
    format!("upstream: {{ idle: 10m, age_max: 1h }}\nconnectors:\n{lines}")
}

async fn failed(gateway: &Running) -> f64 {
    let outcome = [("outcome", "failed")];
    gateway
        .sample("attache_config_reloads_total", &outcome)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_cost_no_request_and_no_connection() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let orders = connector("orders", &origin.url("/api"), "");
    let with = |path: usize| {
        let url = origin.url(&format!("/{path}"));
        connectors(&[orders.clone(), connector("other", &url, "")])
    };
    let gateway = Running::start(&stage, &with(0)).await;
    let load = Load::start(gateway.flows(), "/orders/x", (6, 2));
    load.further(500).await;
    let before = origin.tally().accepted;

    for n in 1..=20 {
        let bad = n % 4 == 0;
        let own = match bad {
            true => with(n).replace("auth:", "auht:"),
            false => with(n),
        };
        assert_eq!(gateway.reload(stage.config(&own)).is_err(), bad);
        load.further(600).await;
    }
    let count = load.stopped().await;

    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert!(count.answered >= 12_000, "{count:?}");
    assert_eq!((count.connections, count.farewells), (8, 0), "{count:?}");
    assert_eq!(origin.tally().heads, count.answered);
    assert_eq!(origin.tally().accepted, before);
    let ok = [("outcome", "ok")];
    let ok = gateway.sample("attache_config_reloads_total", &ok).await;
    assert_eq!((ok, failed(&gateway).await), (15.0, 5.0));
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_hung_up_on_under_load_loses_no_request_and_no_connection() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = |path: usize| {
        let other = connector("other", &origin.url(&format!("/{path}")), "");
        let orders = connector("orders", &origin.url("/api"), "");
        "logs: { access: off }\n".to_owned() + &connectors(&[orders, other])
    };
    let child = process(&stage.config_file(&own(0)));
    let is = |line: &str| line.contains("flows are served");
    let line = child.stderr.line("the flows' address", is).await;
    let address = line.rsplit_once("address=").unwrap().1.parse().unwrap();
    let load = Load::start(address, "/orders/x", (6, 2));
    load.further(200).await;

    for n in 1..=6 {
        let text = own(n);
        let text = if n % 3 == 0 {
            text.replace("auth:", "auht:")
        } else {
            text
        };
        stage.config_file(&text);
        child.signal("HUP");
        let told = |line: &str| {
            line.contains("the configuration was reloaded") || line.contains("was not reloaded")
        };
        child.stderr.until(n, told).await;
        load.further(200).await;
    }
    let count = load.stopped().await;

    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert_eq!((count.connections, count.farewells), (8, 0), "{count:?}");
    child.signal("TERM");
    let ended = child.exited().await;
    assert!(
        ended.stderr.contains("was not reloaded"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_changed_connector_acts_at_once_and_requests_in_flight_notice_nothing() {
    let stage = Stage::new();
    let (old, mut pens) = held(&stage, Protocols::Both).await;
    let new = Origin::plain(&stage.server()).await;
    let own = |origin: &Origin| connectors(&[connector("orders", &origin.url("/"), "")]);
    let gateway = Running::start(&stage, &own(&old)).await;
    let mut client = Client::http1(gateway.flows()).await;
    let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
    let pen = pens.recv().await.unwrap();
    assert!(pen.write("old ").await);

    gateway.reload(stage.config(&own(&new))).unwrap();

    assert_eq!(gateway.get("/orders/y").await.text(), "ok");
    assert_eq!(new.only_request().target, "/y");
    assert!(pen.write("still").await);
    drop(pen);
    assert_eq!(Answered::read(response).await.unwrap().text(), "old still");
    assert_eq!(client.get("/orders/z").await.text(), "ok");
    assert_eq!(old.tally().heads, 1);
    gateway.drain().await;
}

#[tokio::test]
async fn a_removed_connector_is_404_and_its_request_in_flight_is_finished() {
    let stage = Stage::new();
    let (origin, mut pens) = held(&stage, Protocols::Both).await;
    let orders = connector("orders", &origin.url("/"), "");
    let gateway = Running::start(&stage, &connectors(&[orders])).await;
    let mut client = Client::http1(gateway.flows()).await;
    let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
    let pen = pens.recv().await.unwrap();

    gateway.reload(stage.config("connectors: []\n")).unwrap();

    let refused = gateway.get("/orders/x").await;
    assert_eq!(refused.status, 404);
    assert_eq!(
        refused.json()["type"],
        "urn:attache:problem:no-such-connector"
    );
    assert!(pen.write("to the end").await);
    drop(pen);
    assert_eq!(Answered::read(response).await.unwrap().text(), "to the end");
    gateway.drain().await;
}

#[tokio::test]
async fn the_idle_connections_of_a_retired_pool_are_closed() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let stage = Stage::new();
        let (old, mut pens) = held(&stage, protocols).await;
        let new = Origin::plain(&stage.server()).await;
        let own = |origin: &Origin| connectors(&[connector("orders", &origin.url("/"), "")]);
        let gateway = Running::start(&stage, &own(&old)).await;
        let mut client = Client::http1(gateway.flows()).await;
        let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
        drop(pens.recv().await);
        assert!(Answered::read(response).await.is_ok());
        assert_eq!(old.tally().closed, 0);

        gateway.reload(stage.config(&own(&new))).unwrap();

        old.until(|tally| tally.closed == 1).await;
        gateway.drain().await;
    }
}

#[tokio::test]
async fn a_connection_that_is_busy_when_its_pool_is_retired_is_closed_after_its_request() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let stage = Stage::new();
        let (old, mut pens) = held(&stage, protocols).await;
        let new = Origin::plain(&stage.server()).await;
        let own = |origin: &Origin| connectors(&[connector("orders", &origin.url("/"), "")]);
        let gateway = Running::start(&stage, &own(&old)).await;
        let mut client = Client::http1(gateway.flows()).await;
        let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
        let pen = pens.recv().await.unwrap();

        gateway.reload(stage.config(&own(&new))).unwrap();
        assert!(pen.write("whole").await);
        drop(pen);

        assert_eq!(Answered::read(response).await.unwrap().text(), "whole");
        old.until(|tally| tally.closed == 1).await;
        let idle = [("state", "idle")];
        assert_eq!(
            gateway.sample("attache_upstream_connections", &idle).await,
            0.0
        );
        gateway.drain().await;
    }
}

#[tokio::test]
async fn connectors_that_did_not_change_keep_their_connections() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let other = Origin::plain(&stage.server()).await;
    let orders = connector("orders", &origin.url("/"), "");
    let with = |path: &str| connectors(&[orders.clone(), connector("other", &other.url(path), "")]);
    let gateway = Running::start(&stage, &with("/")).await;
    gateway.get("/orders/1").await;

    for own in [
        with("/elsewhere"),
        connectors(std::slice::from_ref(&orders)),
        with("/") + "tokens: { wait: 1s }\nhosts: [gw.example]\nlogs: { access: off }\n",
    ] {
        gateway.reload(stage.config(&own)).unwrap();
        assert_eq!(gateway.get("/orders/2").await.text(), "ok");
    }

    assert_eq!(origin.tally().accepted, 1);
    assert_eq!(origin.tally().closed, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_changed_password_is_sent_with_the_next_request() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = |password: &str| {
        let auth = format!("auth: {{ basic: {{ username: svc, password: {password} }} }}");
        connectors(&[connector("orders", &origin.url("/"), &auth)])
    };
    let gateway = Running::start(&stage, &own("before")).await;
    gateway.get("/orders/1").await;

    gateway.reload(stage.config(&own("after"))).unwrap();
    gateway.get("/orders/2").await;

    let sent: Vec<_> = origin.requests();
    let sent: Vec<_> = sent
        .iter()
        .map(|sent| sent.field("authorization"))
        .collect();
    assert_eq!(
        sent,
        [Some("Basic c3ZjOmJlZm9yZQ=="), Some("Basic c3ZjOmFmdGVy")]
    );
    gateway.drain().await;
}

#[tokio::test]
async fn a_token_outlives_a_reload_that_does_not_concern_it_and_no_other() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let own = |secret: &str, path: &str| {
        let token_url = authority.token_url();
        let auth = format!(
            "auth: {{ oauth2: {{ grant: client_credentials, token_url: \"{token_url}\", \
             client_id: a, client_secret: {secret}, \
             client_authentication: client_secret_basic }} }}"
        );
        connectors(&[
            connector("crm", &origin.url("/"), &auth),
            connector("other", &origin.url(path), ""),
        ])
    };
    let gateway = Running::start(&stage, &own("one", "/")).await;
    gateway.get("/crm/1").await;

    let elsewhere = own("one", "/elsewhere");
    gateway.reload(stage.config(&elsewhere)).unwrap();
    gateway.get("/crm/2").await;
    assert_eq!(authority.count(), 1);

    gateway.reload(stage.config(&own("two", "/"))).unwrap();
    gateway.get("/crm/3").await;
    assert_eq!(authority.count(), 2);
    let requests = origin.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|sent| sent.field("authorization"))
        .collect();
    let (one, two) = (Some("Bearer token-1"), Some("Bearer token-2"));
    assert_eq!(sent, [one, one, two]);
    gateway.drain().await;
}
