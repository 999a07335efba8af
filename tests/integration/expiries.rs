//! Certificates and revocation lists that end: as metrics, in the log and in `attache check`.

use std::time::{Duration, SystemTime};

use crate::support::child::Child;
use crate::support::connector::{connector_with, connectors, oauth2, pair};
use crate::support::gateway::{Running, process};
use crate::support::pki::{Ca, Leaf};
use crate::support::stage::Stage;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 2049-01-01, as all certificates and lists of these tests end but those that end soon.
const LATE: f64 = 2_493_072_000.0;

/// Every place where something can end: both listeners, what they ask for, what is trusted, and a
/// connector with a certificate for its token endpoint and one with its resource domain's.
fn everything(stage: &Stage) -> String {
    let clients = Ca::new("clients");
    stage.write("clients.pem", &clients.pem());
    stage.write("clients.crl", &clients.revokes(&[]));
    stage.server().write(stage.directory(), "listener");
    stage.write("lists.pem", &stage.ca.revokes(&[]));
    let tls = "{ certificate: { file: listener.pem }, private_key: { file: listener.key }, \
               client_ca: { file: clients.pem }, client_crl: { file: clients.crl } }";
    let shown = pair(stage, "shown", &stage.ca.client("shown"));
    let rest = format!(
        "client_id: c, client_authentication: tls_client_auth, client_certificate: {shown}"
    );
    let more = "crl: { file: lists.pem }, ca_bundle: { file: clients.pem }";
    let url = "https://127.0.0.1:1/";
    let all = [
        connector_with(
            "crm",
            url,
            &oauth2("https://127.0.0.1:1/token", &rest),
            more,
        ),
        connector_with(
            "mtls",
            url,
            &format!("{{ client_certificate: {shown} }}"),
            "",
        ),
    ];
    let admin = "admin: { listen: 127.0.0.1:0 }";
    format!("tls: {tls}\n{admin}\n{}", connectors(&all))
}

#[tokio::test]
async fn whatever_ends_has_its_end_among_the_metrics() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, &everything(&stage)).await;

    let name = "attache_certificate_expiry_timestamp_seconds";
    for (connector, usage) in [
        ("none", "listener"),
        ("none", "client_crl"),
        ("crm", "token"),
        ("crm", "crl"),
        ("mtls", "resource"),
    ] {
        let labels = [("connector", connector), ("use", usage)];
        assert_eq!(gateway.sample(name, &labels).await, LATE, "{usage}");
    }
    // Those of CAs, which rcgen lets live longer.
    for (connector, usage) in [
        ("none", "client_ca"),
        ("none", "trust"),
        ("crm", "ca_bundle"),
    ] {
        let labels = [("connector", connector), ("use", usage)];
        assert!(gateway.sample(name, &labels).await > LATE, "{usage}");
    }

    gateway.reload(stage.config("connectors: []\n")).unwrap();

    let labels = [("connector", "crm")];
    assert_eq!(gateway.sample(name, &labels).await, 0.0);
    gateway.drain().await;
}

/// A certificate that ends in ten days, and one that ended yesterday.
fn ending(stage: &Stage) -> String {
    let now = SystemTime::now();
    let leaf = |name: &str, end| stage.ca.issue(&Leaf::client(name).until(end));
    let soon = pair(stage, "soon", &leaf("soon", now + 10 * DAY));
    let over = pair(stage, "over", &leaf("over", now - DAY));
    let url = "https://127.0.0.1:1/";
    let one = |id: &str, pair: &str| {
        connector_with(id, url, &format!("{{ client_certificate: {pair} }}"), "")
    };
    connectors(&[one("soon", &soon), one("over", &over)])
}

#[tokio::test]
async fn what_ends_soon_is_a_warning_in_the_log_and_what_has_ended_an_error() {
    let stage = Stage::new();
    let own = format!("logs: {{ format: json }}\n{}", ending(&stage));
    let child = process(&stage.config_file(&own));

    for (connector, level) in [("soon", "WARN"), ("over", "ERROR")] {
        let named = format!("\"connector\":\"{connector}\"");
        let line = child
            .stderr
            .line(connector, |line| line.contains(&named))
            .await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["use"], "resource", "{line}");
        assert!(line["ends_at"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

#[tokio::test]
async fn check_warns_of_what_ends_soon_and_of_what_has_ended() {
    let stage = Stage::new();
    let file = stage.config_file(&ending(&stage));

    let child = Child::attache(&["check", "--config", file.to_str().unwrap()]);
    let ended = child.exited().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for said in [
        "warning: connector soon (resource): the certificate ends at 20",
        "warning: connector over (resource): the certificate ended at 20",
    ] {
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    assert!(ended.stdout.contains("warnings: 2"), "{ended:?}");
}
