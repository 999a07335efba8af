//! Health as probes and administrators see it, whom the admin listener answers, and a start that
//! fails as a whole.

use std::net::{SocketAddr, TcpListener};

use attache::gateway::{Environment, Gateway, StartError};
use attache::logging::with_sources;

use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::gateway::{Running, get};
use crate::support::origin::Origin;
use crate::support::stage::Stage;
use crate::support::wire::Wire;

/// What a listener answers to a GET whose other lines are `fields`.
async fn asked(address: SocketAddr, target: &str, fields: &str) -> (u16, String) {
    let mut wire = Wire::plain(address).await;
    wire.write(format!("GET {target} HTTP/1.1\r\n{fields}\r\n"))
        .await;
    let answer = wire.answer().await;
    (answer.status(), answer.text())
}

#[tokio::test]
async fn a_gateway_lives_and_is_ready_whatever_its_origins_do() {
    let stage = Stage::new();
    let own = "connectors:\n  - { id: gone, name: Gone, resource_domain: \"https://localhost:1\", auth: none }\n";
    let gateway = Running::start(&stage, own).await;
    assert_eq!(gateway.get("/gone/x").await.status, 502);

    for (target, text) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let told = get(gateway.admin(), target).await;

        assert_eq!((told.status.as_u16(), told.text()), (200, text.to_owned()));
    }
    gateway.drain().await;
}

#[tokio::test]
async fn administrators_see_workers_connectors_and_tokens_and_no_secret() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let (url, token_url) = (origin.url("/"), authority.token_url());
    let own = format!(
        "connectors:\n  - {{ id: plain, name: Plain, resource_domain: \"{url}\", auth: none }}\n  \
         - {{ id: crm, name: CRM, resource_domain: \"{url}\", auth: {{ oauth2: {{ grant: \
         client_credentials, token_url: \"{token_url}\", client_id: a, client_secret: c4nary-s3cret, \
         client_authentication: client_secret_post }} }} }}\n"
    );
    let (gateway, _turned) = Running::start_turned(&stage, &own).await;
    let verbose = async || get(gateway.admin(), "/readyz?verbose").await;
    let before = verbose().await.json();
    assert_eq!(before["tokens"][0]["state"], "absent");

    gateway.get("/crm/x").await;
    let told = verbose().await;

    assert_eq!(told.field("content-type"), Some("application/json"));
    let shown = told.json();
    for (name, value) in [
        ("ready", serde_json::Value::from(true)),
        ("draining", false.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("uptime_seconds", 0.into()),
        ("workers", 2.into()),
        ("workers_alive", 2.into()),
        ("connectors", 2.into()),
        ("last_reload", serde_json::Value::Null),
        ("tokens_omitted", 0.into()),
    ] {
        assert_eq!(shown[name], value, "{name} of {shown:#}");
    }
    // 1,795,000,000 s after 1970, and an hour.
    let token = serde_json::json!({
        "connector": "crm", "state": "fresh", "expires_at": "2026-11-18T12:06:40.000Z",
    });
    assert_eq!(shown["tokens"], serde_json::json!([token]));
    assert!(!told.text().contains("c4nary") && !told.text().contains("token-1"));
    gateway.drain().await;
}

#[tokio::test]
async fn the_admin_listener_answers_to_its_own_names_only() {
    let stage = Stage::new();
    let own = "admin: { listen: 127.0.0.1:0, hosts: [gw.example] }\nconnectors: []\n";
    let gateway = Running::start(&stage, own).await;
    let admin = gateway.admin();

    for fields in [
        "",
        "host: evil.example\r\n",
        "host: evil.example:9901\r\n",
        "host: gw.example.evil.example\r\n",
        "host: localhost@evil.example\r\n",
        "host: 192.0.2.1\r\n",
        "host: localhost\r\nhost: localhost\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: \r\n",
    ] {
        for target in ["/metrics", "/livez", "/readyz", "/readyz?verbose", "/"] {
            let (status, text) = asked(admin, target, fields).await;
            assert_eq!(status, 400, "{fields:?}: {text}");
            assert!(
                !text.contains("attache_") && !text.contains("connectors"),
                "{text}"
            );
        }
    }
    let absolute = "http://evil.example/metrics";
    assert_eq!(asked(admin, absolute, "host: localhost\r\n").await.0, 400);
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]",
        "gw.example",
        "GW.example:9901",
    ] {
        let fields = format!("host: {host}\r\n");
        assert_eq!(asked(admin, "/readyz", &fields).await.0, 200, "{host}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn the_admin_listener_knows_few_paths_and_two_methods() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, "connectors: []\n").await;
    let mut client = Client::http1(gateway.admin()).await;

    for target in [
        "/",
        "/metrics/",
        "/Metrics",
        "/readyz/verbose",
        "/-/",
        "/orders/x",
        "//metrics",
    ] {
        let refused = client.get(target).await;
        assert_eq!(refused.status, 404, "{target}");
        assert_eq!(refused.json()["type"], "urn:attache:problem:not-found");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let refused = client.call(method, "/readyz", &[], "").await;
        assert_eq!(refused.status, 405, "{method}");
        // RFC 9110 §15.5.6: which methods there are, must be told.
        assert_eq!(refused.field("allow"), Some("GET, HEAD"));
    }
    let head = client.call("HEAD", "/metrics", &[], "").await;
    assert_eq!((head.status.as_u16(), head.text()), (200, String::new()));
    gateway.drain().await;
}

#[tokio::test]
async fn the_flows_listener_shows_nothing_of_the_gateway_itself() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, "connectors: []\n").await;

    for target in [
        "/metrics",
        "/livez",
        "/readyz?verbose",
        "/-/metrics",
        "/-/readyz",
    ] {
        let refused = gateway.get(target).await;

        assert!([400, 404].contains(&refused.status.as_u16()), "{target}");
        assert_eq!(
            refused.field("content-type"),
            Some("application/problem+json")
        );
    }
    gateway.drain().await;
}

#[tokio::test]
async fn the_metrics_listener_is_for_any_host_and_tells_nothing_of_the_configuration() {
    let stage = Stage::new();
    let own = "metrics: { listen: 127.0.0.1:0 }\nconnectors: []\n";
    let gateway = Running::start(&stage, own).await;
    let metrics = gateway.metrics().unwrap();
    let bad = stage.config("connektors: []\n");
    assert!(gateway.reload(bad).is_err());

    for fields in [
        "host: pod-7.monitoring\r\n",
        "host: 10.0.0.7:9902\r\n",
        "host: evil.example\r\n",
    ] {
        for target in ["/metrics", "/livez", "/readyz"] {
            assert_eq!(asked(metrics, target, fields).await.0, 200, "{target}");
        }
        let (status, text) = asked(metrics, "/readyz?verbose", fields).await;
        assert_eq!((status, text.as_str()), (200, "ready\n"));
        assert_eq!(asked(metrics, "/", fields).await.0, 404);
    }
    let (_, text) = asked(metrics, "/metrics", "host: x\r\n").await;
    assert!(text.contains("attache_build_info"), "{text}");
    gateway.drain().await;
}

#[tokio::test]
async fn without_a_metrics_listener_there_is_none() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, "connectors: []\n").await;

    assert_eq!(gateway.metrics(), None);
    gateway.drain().await;
}

#[test]
fn an_address_in_use_is_named_with_its_key_and_nothing_is_started() {
    let stage = Stage::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = taken.local_addr().unwrap();

    for (key, own) in [
        ("listen", format!("listen: {used}\n")),
        ("listen", format!("listen: [127.0.0.1:0, {used}]\n")),
        ("admin.listen", format!("admin: {{ listen: {used} }}\n")),
        ("metrics.listen", format!("metrics: {{ listen: {used} }}\n")),
    ] {
        let config = stage.config(&format!("{own}connectors: []\n")).unwrap();

        let error = Gateway::start(config, Environment::system()).unwrap_err();

        assert!(matches!(error, StartError::Bind { .. }), "{error}");
        let sentence = with_sources(&error);
        let begins = format!("cannot listen on {used} ({key}): ");
        assert!(sentence.starts_with(&begins), "{sentence}");
    }
}

#[test]
fn a_gateway_that_cannot_bind_everything_keeps_nothing_bound() {
    let stage = Stage::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = taken.local_addr().unwrap();
    // An address that no other test binds, and a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.3:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let own = format!("listen: {free}\nadmin: {{ listen: {used} }}\nconnectors: []\n");

    let started = Gateway::start(stage.config(&own).unwrap(), Environment::system());

    assert!(matches!(started, Err(StartError::Bind { .. })));
    assert!(TcpListener::bind(free).is_ok());
}

#[tokio::test]
async fn several_addresses_are_served_alike() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let url = origin.url("/");
    let own = format!(
        "listen: [127.0.0.1:0, \"[::1]:0\", 127.0.0.2:0]\nconnectors:\n  - {{ id: orders, name: O, \
         resource_domain: \"{url}\", auth: none }}\n"
    );
    let gateway = Running::start(&stage, &own).await;

    let addresses = gateway.all_flows().to_vec();

    assert_eq!(addresses.len(), 3);
    for address in addresses {
        assert_eq!(get(address, "/orders/x").await.text(), "ok", "{address}");
    }
    gateway.drain().await;
}
