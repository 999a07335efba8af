//! Which settings a reload changes, which it refuses to change, and what a bad one leaves behind.

use attache::clock::Clock;
use attache::config::{AccessLog, LogFormat, Logs};
use attache::gateway::ReloadError;
use attache::logging::{Logging, with_sources};

use crate::support::authority::Authority;
use crate::support::client::Client;
use crate::support::gateway::{Running, get};
use crate::support::origin::Origin;
use crate::support::stage::Stage;
use crate::support::tape::Tape;
use crate::support::wire::Wire;

fn orders(origin: &Origin) -> String {
    let url = origin.url("/");
    format!(
        "connectors:\n  - {{ id: orders, name: Orders, resource_domain: \"{url}\", auth: none }}\n"
    )
}

/// What an administrator is told of the last reload.
async fn last_reload(gateway: &Running) -> serde_json::Value {
    let told = get(gateway.admin(), "/readyz?verbose").await;
    assert_eq!(told.status, 200, "{}", told.text());
    told.json()["last_reload"].clone()
}

async fn reloads(gateway: &Running, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    let name = "attache_config_reloads_total";
    gateway.sample(name, &labels).await
}

#[tokio::test]
async fn what_a_running_gateway_cannot_change_is_refused_with_a_sentence_and_whole() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &orders(&origin)).await;
    let master_key = "attache-key-1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    stage.write("attache.key", master_key);

    for (key, change) in [
        ("listen", "listen: 127.0.0.2:0"),
        ("listen", "listen: [127.0.0.1:0, 127.0.0.2:0]"),
        ("workers", "workers: 3"),
        ("admin", "admin: { listen: 127.0.0.2:0 }"),
        (
            "admin",
            "admin: { listen: 127.0.0.1:0, hosts: [gw.example] }",
        ),
        (
            "admin",
            "admin: { listen: 127.0.0.1:0, proxy_protocol: true, balancers: [127.0.0.1] }",
        ),
        ("metrics.listen", "metrics: { listen: 127.0.0.1:0 }"),
        (
            "store",
            "store: { url: 'sqlite:attache.db', master_keys: [{ file: attache.key }] }",
        ),
    ] {
        // The connector is gone from it too: if that is refused, all of it is.
        let refused = gateway.reload(stage.config(&format!("{change}\n")));

        let error = refused.unwrap_err();
        assert!(
            matches!(error, ReloadError::NotReloadable { .. }),
            "{error}"
        );
        let sentence = format!("{key} cannot be changed by a reload; restart to change it");
        assert_eq!(with_sources(&error), sentence);
        assert_eq!(last_reload(&gateway).await["error"], sentence);
        assert_eq!(gateway.get("/orders/x").await.text(), "ok");
    }
    assert_eq!(reloads(&gateway, "failed").await, 8.0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_bad_reload_changes_nothing_and_is_counted_logged_and_shown() {
    // protocol.md, point 17.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let good = orders(&origin);
    let gateway = Running::start(&stage, &good).await;
    assert_eq!(last_reload(&gateway).await, serde_json::Value::Null);
    let bundle = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    stage.write("bad.pem", bundle);
    let new = good.replace("orders", "bills");
    let mut count = 0.0;

    for (bad, why) in [
        (new.replace("auth:", "auht:"), "auht"),
        (new.replace("https://", "http://"), "http"),
        (
            new.replace(
                "none",
                "{ basic: { username: a, password: { file: gone } } }",
            ),
            "gone",
        ),
        (format!("{new}{}", &new["connectors:\n".len()..]), "bills"),
        (
            format!("{new}trust: {{ ca_bundles: [{{ file: bad.pem }}] }}\n"),
            "bundle",
        ),
        (
            new.replace("auth:", "ca_bundle: { file: bad.pem }, auth:"),
            "bundle",
        ),
    ] {
        let (told, line) = reloaded_with_log(&gateway, &stage, &bad);

        assert!(told.is_err(), "{bad}");
        count += 1.0;
        let shown = last_reload(&gateway).await;
        assert_eq!(shown["outcome"], "failed");
        let sentence = shown["error"].as_str().unwrap();
        assert!(sentence.contains(why), "{sentence}");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["error"], sentence);
        assert_eq!(reloads(&gateway, "failed").await, count);
        assert_eq!(gateway.get("/orders/x").await.text(), "ok");
        assert_eq!(gateway.get("/bills/x").await.status, 404);
    }

    let (told, _) = reloaded_with_log(&gateway, &stage, &new);
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(last_reload(&gateway).await["outcome"], "ok");
    assert_eq!(
        last_reload(&gateway).await["error"],
        serde_json::Value::Null
    );
    assert_eq!(reloads(&gateway, "ok").await, 1.0);
    assert_eq!(gateway.get("/bills/x").await.text(), "ok");
    gateway.drain().await;
}

/// Reloads, and returns the only line that this writes to the log.
fn reloaded_with_log(
    gateway: &Running,
    stage: &Stage,
    own: &str,
) -> (Result<(), ReloadError>, serde_json::Value) {
    let logs = Logs {
        format: LogFormat::Json,
        level: tracing::Level::INFO,
        access: AccessLog::Off,
    };
    let tape = Tape::default();
    let (logging, dispatch) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
    let told = tracing::dispatcher::with_default(&dispatch, || gateway.reload(stage.config(own)));
    drop(logging);
    let lines = tape.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    (told, serde_json::from_str(&lines[0]).unwrap())
}

#[tokio::test]
async fn names_for_host_and_the_largest_body_change_on_connections_that_are_open() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = orders(&origin);
    let gateway = Running::start(&stage, &own).await;
    let mut wire = Wire::plain(gateway.flows()).await;
    let named = "GET /orders/x HTTP/1.1\r\nhost: gw.example\r\n\r\n";
    wire.write(named).await;
    assert_eq!(wire.answer().await.status(), 400);

    let next = format!("hosts: [gw.example]\nlimits: {{ request_body_bytes_max: 4 }}\n{own}");
    gateway.reload(stage.config(&next)).unwrap();

    wire.write(named).await;
    assert_eq!(wire.answer().await.status(), 200);
    wire.write("POST /orders/x HTTP/1.1\r\nhost: gw.example\r\ncontent-length: 5\r\n\r\nabcde")
        .await;
    assert_eq!(wire.answer().await.status(), 413);
    gateway.drain().await;
}

#[tokio::test]
async fn a_range_that_is_no_longer_allowed_is_out_of_reach_even_over_a_connection_that_is_open() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = orders(&origin);
    let gateway = Running::start(&stage, &own).await;
    assert_eq!(gateway.get("/orders/x").await.status, 200);

    let next = format!("trust: {{ ca_bundles: [{{ file: ca.pem }}] }}\n{own}");
    gateway.reload(stage.config(&next)).unwrap();

    let refused = gateway.get("/orders/x").await;
    assert_eq!(
        refused.json()["type"],
        "urn:attache:problem:address-refused"
    );
    origin.until(|tally| tally.closed == 1).await;
    assert_eq!(origin.tally().heads, 1);
    gateway.drain().await;
}

#[tokio::test]
async fn a_ca_that_is_no_longer_trusted_ends_what_it_vouched_for() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = orders(&origin);
    let gateway = Running::start(&stage, &own).await;
    assert_eq!(gateway.get("/orders/x").await.status, 200);

    let next = format!("trust: {{ allow_addresses: [127.0.0.0/8] }}\n{own}");
    gateway.reload(stage.config(&next)).unwrap();

    let refused = gateway.get("/orders/x").await;
    assert_eq!(refused.json()["type"], "urn:attache:problem:origin-tls");
    gateway.drain().await;
}

#[tokio::test]
async fn time_limits_hold_for_connections_made_after_the_reload() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = orders(&origin);
    let gateway = Running::start(&stage, &own).await;
    let mut before = Client::http1(gateway.flows()).await;
    before.get("/orders/x").await;

    let next = format!("timeouts: {{ idle: 10ms }}\n{own}");
    gateway.reload(stage.config(&next)).unwrap();
    let mut after = Wire::plain(gateway.flows()).await;
    after
        .write("GET /orders/x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    after.answer().await;

    assert!(after.is_closed().await);
    assert_eq!(before.get("/orders/x").await.status, 200);
    gateway.drain().await;
}

#[tokio::test]
async fn more_connectors_may_count_for_themselves() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let one = orders(&origin);
    let two = &one["connectors:\n".len()..].replace("rders", "thers");
    let gateway = Running::start(&stage, &format!("metrics: {{ connectors_max: 1 }}\n{one}")).await;

    let next = format!("metrics: {{ connectors_max: 2 }}\n{one}{two}");
    gateway.reload(stage.config(&next)).unwrap();
    gateway.get("/others/x").await;

    let labels = [("connector", "others"), ("code", "200")];
    assert_eq!(gateway.sample("attache_requests_total", &labels).await, 1.0);
    let next = format!("metrics: {{ connectors_max: 0 }}\n{one}{two}");
    gateway.reload(stage.config(&next)).unwrap();
    gateway.get("/others/x").await;
    assert_eq!(gateway.sample("attache_requests_total", &labels).await, 2.0);
    gateway.drain().await;
}

#[tokio::test]
async fn the_bound_on_tokens_changes_and_requests_go_on() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let (url, token_url) = (origin.url("/"), authority.token_url());
    let own = format!(
        "connectors:\n  - {{ id: crm, name: CRM, resource_domain: \"{url}\", auth: {{ oauth2: {{ \
         grant: client_credentials, token_url: \"{token_url}\", client_id: a, client_secret: b, \
         client_authentication: client_secret_basic }} }} }}\n"
    );
    let gateway = Running::start(&stage, &own).await;
    gateway.get("/crm/x").await;

    let next = format!("tokens: {{ entries_max: 1 }}\n{own}");
    gateway.reload(stage.config(&next)).unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.get("/crm/x").await.status, 200);
    }

    // Whatever is changed under `tokens` makes connectors obtain anew, once.
    assert_eq!(authority.count(), 2);
    gateway.drain().await;
}
