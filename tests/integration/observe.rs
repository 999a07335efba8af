//! What the gateway counts, and what a scraper reads of it.

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::body::Outgoing;
use crate::support::client::Client;
use crate::support::gateway::{Running, get};
use crate::support::origin::{Origin, Setup, held, whole};
use crate::support::pki::Leaf;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::within;

/// The metrics that documents and other programs lean on, with their labels.
const PROMISED: &[(&str, &[&str])] = &[
    ("attache_requests_total", &["connector", "method", "code"]),
    (
        "attache_request_duration_seconds_bucket",
        &["connector", "le"],
    ),
    (
        "attache_upstream_duration_seconds_bucket",
        &["connector", "le"],
    ),
    ("attache_requests_in_flight", &[]),
    ("attache_connector_requests_in_flight", &["connector"]),
    ("attache_breaker_open", &["connector"]),
    ("attache_refused_total", &["connector", "reason"]),
    ("attache_token_requests_total", &["connector", "outcome"]),
    ("attache_token_request_duration_seconds_bucket", &["le"]),
    ("attache_token_cache_total", &["outcome"]),
    ("attache_token_expiry_timestamp_seconds", &["connector"]),
    (
        "attache_certificate_expiry_timestamp_seconds",
        &["connector", "use"],
    ),
    ("attache_upstream_connections", &["connector", "state"]),
    ("attache_client_connections", &[]),
    ("attache_config_reloads_total", &["outcome"]),
    ("attache_build_info", &["version"]),
    ("process_resident_memory_bytes", &[]),
    ("process_open_fds", &[]),
];

fn connector(id: &str, origin: &Origin, auth: &str) -> String {
    let url = origin.url("/");
    format!("  - {{ id: {id}, name: {id}, resource_domain: \"{url}\", auth: {auth} }}\n")
}

fn orders(origin: &Origin) -> String {
    format!("connectors:\n{}", connector("orders", origin, "none"))
}

/// OAuth 2.0 with a certificate, written to the stage.
fn certified(stage: &Stage, authority: &Authority) -> String {
    stage.ca.client("crm").write(stage.directory(), "crm");
    let token_url = authority.token_url();
    format!(
        "{{ oauth2: {{ grant: client_credentials, token_url: \"{token_url}\", client_id: a, \
         client_authentication: self_signed_tls_client_auth, client_certificate: {{ \
         certificate: {{ file: crm.pem }}, private_key: {{ file: crm.key }} }} }} }}"
    )
}

/// Waits until a sample is `value`.
async fn until(gateway: &Running, name: &str, labels: &[(&str, &str)], value: f64) {
    let turning = async {
        while gateway.sample(name, labels).await != value {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("{name}{labels:?} to be {value}"), turning).await;
}

#[tokio::test]
async fn every_metric_that_is_promised_is_there_with_its_labels() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let crm = connector("crm", &origin, &certified(&stage, &authority));
    let own = format!("connectors:\n{crm}");
    let gateway = Running::start(&stage, &own).await;
    gateway.get("/crm/x").await;
    gateway.get("/unknown/x").await;
    gateway.reload(stage.config(&own)).unwrap();

    let metrics = get(gateway.admin(), "/metrics").await;

    assert_eq!(
        metrics.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = metrics.text();
    for (name, labels) in PROMISED {
        let is = |line: &&str| {
            let series = line.rsplit_once(' ').map_or("", |(series, _)| series);
            let (found, written) = series.split_once('{').unwrap_or((series, ""));
            found == *name
                && labels
                    .iter()
                    .all(|label| written.contains(&format!("{label}=\"")))
        };
        assert!(
            text.lines().any(|line| is(&line)),
            "{name} {labels:?}\n{text}"
        );
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(gateway.sample("attache_build_info", &version).await, 1.0);
    for usage in ["token"] {
        // 2049-01-01, as the stage's certificates say.
        let labels = [("connector", "crm"), ("use", usage)];
        let name = "attache_certificate_expiry_timestamp_seconds";
        assert_eq!(gateway.sample(name, &labels).await, 2_493_072_000.0);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn requests_are_counted_by_connector_method_and_code() {
    let stage = Stage::new();
    let teapot = whole(|request| Answer::status(if request.method == "GET" { 200 } else { 418 }));
    let origin = Origin::start(Setup::new(&stage.server()), teapot).await;
    let gateway = Running::start(&stage, &orders(&origin)).await;
    let mut client = Client::http1(gateway.flows()).await;
    for (method, target) in [
        ("GET", "/orders/x"),
        ("GET", "/orders/x"),
        ("PATCH", "/orders/x"),
        ("BREW", "/orders/x"),
        ("PROPFIND", "/orders/x"),
        ("GET", "/unknown/x"),
        ("GET", "/orders/../x"),
        ("TRACE", "/orders/x"),
    ] {
        client
            .call(method, target, &[], Outgoing::Whole(None))
            .await;
    }

    let count = async |connector, method, code| {
        let labels = [("connector", connector), ("method", method), ("code", code)];
        gateway.sample("attache_requests_total", &labels).await
    };
    assert_eq!(count("orders", "GET", "200").await, 2.0);
    assert_eq!(count("orders", "PATCH", "418").await, 1.0);
    assert_eq!(count("orders", "other", "418").await, 2.0);
    assert_eq!(count("none", "GET", "404").await, 1.0);
    assert_eq!(count("none", "GET", "400").await, 1.0);
    assert_eq!(count("none", "TRACE", "405").await, 1.0);
    let text = get(gateway.admin(), "/metrics").await.text();
    for invented in ["BREW", "PROPFIND", "unknown/x", "connector=\"unknown\""] {
        assert!(!text.contains(invented), "{invented}");
    }
    let all = gateway.sample("attache_requests_total", &[]).await;
    let timed = gateway
        .sample("attache_request_duration_seconds_count", &[])
        .await;
    let upstream = gateway
        .sample("attache_upstream_duration_seconds_count", &[])
        .await;
    assert_eq!((all, timed, upstream), (8.0, 8.0, 5.0));
    let refused = gateway.sample("attache_refused_total", &[]).await;
    assert_eq!(refused, 3.0);
    gateway.drain().await;
}

#[tokio::test]
async fn connectors_beyond_the_bound_share_one_series() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let ids = ["a", "b", "c", "other", "none"];
    let all: String = ids.map(|id| connector(id, &origin, "none")).concat();
    let own = format!("metrics: {{ connectors_max: 1 }}\nconnectors:\n{all}");
    let gateway = Running::start(&stage, &own).await;
    for id in ids {
        assert_eq!(gateway.get(&format!("/{id}/x")).await.status, 200);
    }

    let count = async |connector| {
        let labels = [("connector", connector)];
        gateway.sample("attache_requests_total", &labels).await
    };

    assert_eq!(count("other").await, 4.0);
    assert_eq!(gateway.sample("attache_requests_total", &[]).await, 5.0);
    // What is counted as unknown cannot be bought by a name.
    assert_eq!(count("none").await, 0.0);
    gateway.drain().await;
}

#[tokio::test]
async fn what_is_open_and_in_flight_is_shown_and_goes_back_to_nothing() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let stage = Stage::new();
        let (origin, mut pens) = held(&stage, protocols).await;
        let gateway = Running::start(&stage, &orders(&origin)).await;
        let of = |state| [("connector", "orders"), ("state", state)];
        let upstream = "attache_upstream_connections";
        let mut client = Client::http1(gateway.flows()).await;
        let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
        let pen = pens.recv().await.unwrap();

        assert_eq!(gateway.sample("attache_requests_in_flight", &[]).await, 1.0);
        assert_eq!(gateway.sample("attache_client_connections", &[]).await, 1.0);
        assert_eq!(gateway.sample(upstream, &of("busy")).await, 1.0);
        assert_eq!(gateway.sample(upstream, &of("idle")).await, 0.0);

        drop(pen);
        drop(http_body_util::BodyExt::collect(response.into_body()).await);
        until(&gateway, upstream, &of("idle"), 1.0).await;
        assert_eq!(gateway.sample(upstream, &of("busy")).await, 0.0);
        assert_eq!(gateway.sample("attache_requests_in_flight", &[]).await, 0.0);

        drop((client, origin));
        until(&gateway, "attache_client_connections", &[], 0.0).await;
        gateway.drain().await;
    }
}

#[tokio::test]
async fn one_connection_is_counted_once_however_many_requests_it_carries() {
    let stage = Stage::new();
    let (origin, mut pens) = held(&stage, Protocols::Http2).await;
    let gateway = Running::start(&stage, &orders(&origin)).await;
    let mut clients = Vec::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = Client::http2(gateway.flows()).await;
        let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
        clients.push((client, response));
        held.push(pens.recv().await.unwrap());
    }
    assert_eq!(origin.tally().accepted, 1);

    let busy = [("state", "busy")];
    let upstream = "attache_upstream_connections";
    assert_eq!(gateway.sample("attache_requests_in_flight", &[]).await, 3.0);
    assert_eq!(gateway.sample(upstream, &busy).await, 1.0);
    // Flows that hang up leave it idle, not gone.
    drop(clients);
    until(&gateway, upstream, &busy, 0.0).await;
    assert_eq!(gateway.sample(upstream, &[("state", "idle")]).await, 1.0);
    assert_eq!(origin.tally().closed, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_flow_that_hangs_up_is_counted_and_leaves_nothing_busy() {
    let stage = Stage::new();
    let (origin, mut pens) = held(&stage, Protocols::Http1).await;
    let gateway = Running::start(&stage, &orders(&origin)).await;
    let mut client = Client::http2(gateway.flows()).await;
    let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
    let pen = pens.recv().await.unwrap();

    drop((client, response));

    pen.given_up().await;
    until(&gateway, "attache_requests_in_flight", &[], 0.0).await;
    let upstream = "attache_upstream_connections";
    until(&gateway, upstream, &[("state", "busy")], 0.0).await;
    assert_eq!(gateway.sample(upstream, &[]).await, 0.0);
    assert_eq!(gateway.sample("attache_requests_total", &[]).await, 1.0);
    gateway.drain().await;
}

#[tokio::test]
async fn connections_that_are_over_are_not_counted_as_idle() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let stage = Stage::new();
        let setup = Setup {
            protocols,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, whole(|_| Answer::text("ok"))).await;
        let own = format!("upstream: {{ idle: 10ms }}\n{}", orders(&origin));
        let gateway = Running::start(&stage, &own).await;
        assert_eq!(gateway.get("/orders/x").await.status, 200);

        origin.until(|tally| tally.closed == 1).await;

        until(&gateway, "attache_upstream_connections", &[], 0.0).await;
        gateway.drain().await;
    }
}

#[tokio::test]
async fn flows_that_wait_for_one_token_request_have_joined_it() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let own = format!(
        "connectors:\n{}",
        connector("crm", &origin, &certified(&stage, &authority))
    );
    let gateway = Running::start(&stage, &own).await;
    authority.release(0);
    let mut flows = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let address = gateway.flows();
        flows.spawn(async move { Client::http1(address).await.get("/crm/x").await });
    }
    until(&gateway, "attache_requests_in_flight", &[], 5.0).await;
    authority.until_requests(1).await;

    authority.release_all();
    for answered in flows.join_all().await {
        assert_eq!(answered.status, 200);
    }

    let outcome = async |outcome| {
        let labels = [("outcome", outcome)];
        gateway.sample("attache_token_cache_total", &labels).await
    };
    assert_eq!(outcome("miss").await, 1.0);
    assert_eq!(outcome("joined").await + outcome("hit").await, 4.0);
    assert_eq!(authority.count(), 1);
    gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_for_the_resource_domain_shows_when_it_ends() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let leaf = Leaf::client("late").not_yet_valid();
    stage.ca.issue(&leaf).write(stage.directory(), "late");
    let auth = "{ client_certificate: { certificate: { file: late.pem }, private_key: { file: late.key } } }";
    let own = format!("connectors:\n{}", connector("late", &origin, auth));
    let gateway = Running::start(&stage, &own).await;

    let labels = [("connector", "late"), ("use", "resource")];
    let name = "attache_certificate_expiry_timestamp_seconds";
    assert!(gateway.sample(name, &labels).await > 2_493_072_000.0);

    gateway.reload(stage.config("connectors: []\n")).unwrap();
    assert_eq!(gateway.sample(name, &labels).await, 0.0);
    gateway.drain().await;
}
