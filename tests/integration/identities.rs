//! Certificates and keys that are replaced while the gateway runs, and sessions that are not to
//! outlive whom they were made with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use attache::clock::{Clock, Turned};
use attache::gateway::{Environment, ReloadError};
use rustls::{ClientConfig, HandshakeKind};
use rustls_pki_types::CertificateDer;

use crate::support::client::Client;
use crate::support::connector::{connector, connectors, pair};
use crate::support::gateway::{Running, process};
use crate::support::origin::{Origin, Setup};
use crate::support::pki::{Ca, Leaf};
use crate::support::stage::Stage;
use crate::support::tls::{Ask, Protocols, Version, client, client_of, handshake, leaf};
use crate::support::{until, within};

/// TLS as both listeners have it.
const TLS: &str = "{ certificate: { file: listener.pem }, private_key: { file: listener.key } }";
const ASKING: &str = "{ certificate: { file: listener.pem }, private_key: { file: listener.key }, \
                      client_ca: { file: clients.pem } }";

fn listeners(tls: &str, admin_tls: &str) -> String {
    format!(
        "tls: {tls}\nadmin: {{ listen: 127.0.0.1:0, tls: {admin_tls} }}\n\
         connectors:\n  - {{ id: c, name: c, resource_domain: \"https://127.0.0.1:1/\", auth: none }}\n"
    )
}

#[tokio::test]
async fn the_admin_listener_shows_a_replaced_certificate_and_ends_connections_of_the_old_one() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let own = listeners(TLS, TLS);
    let gateway = Running::start(&stage, &own).await;
    let (admin, flows) = (gateway.admin(), gateway.flows());
    let config = client(&stage.ca, None, Protocols::Http1);
    let mut open = Client::tls(admin, Arc::clone(&config)).await;
    assert_eq!(open.get("/livez").await.status, 200);
    let before = leaf(admin, &config).await;
    stage.server().write(stage.directory(), "listener");

    gateway.reload(stage.config(&own)).unwrap();

    let after = leaf(admin, &config).await;
    assert_ne!(before, after);
    assert_eq!(leaf(flows, &config).await, after);
    within("the old connection to end", open.closed()).await;
    assert_eq!(gateway.admin(), admin, "it listens where it did");
    gateway.drain().await;
}

#[tokio::test]
async fn what_else_the_admin_listener_is_stays_as_it_was() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    stage.write("clients.pem", &stage.ca.pem());
    let gateway = Running::start(&stage, &listeners(TLS, TLS)).await;
    let config = client(&stage.ca, None, Protocols::Http1);
    let before = leaf(gateway.admin(), &config).await;
    stage.server().write(stage.directory(), "listener");
    let elsewhere = listeners(TLS, TLS).replace("listen: 127.0.0.1:0", "listen: 127.0.0.2:0");

    for next in [
        listeners(TLS, "null"),
        // Whether certificates are asked for is no matter of what they are.
        listeners(TLS, ASKING),
        elsewhere,
    ] {
        let refused = gateway.reload(stage.config(&next)).unwrap_err();

        assert!(
            matches!(refused, ReloadError::NotReloadable { key: "admin" }),
            "{refused}"
        );
        assert_eq!(leaf(gateway.admin(), &config).await, before);
        assert_eq!(leaf(gateway.flows(), &config).await, before);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_both_listeners_as_they_were() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let own = listeners(TLS, TLS);
    let gateway = Running::start(&stage, &own).await;
    let config = client(&stage.ca, None, Protocols::Http1);
    let before = leaf(gateway.admin(), &config).await;
    stage.write("listener.key", &stage.server().key_pem);

    gateway.reload(stage.config(&own)).unwrap_err();

    assert_eq!(leaf(gateway.admin(), &config).await, before);
    assert_eq!(leaf(gateway.flows(), &config).await, before);
    gateway.drain().await;
}

/// One more handshake under `config`, whose sessions it may have kept from earlier ones.
async fn again(address: SocketAddr, config: &Arc<ClientConfig>) -> HandshakeKind {
    handshake(address, config).await
}

#[tokio::test]
async fn a_session_of_one_listener_does_not_resume_on_the_other() {
    // protocol.md row 46 (CVE-2025-23419).
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let clients = Ca::new("clients");
    stage.write("clients.pem", &clients.pem());
    let gateway = Running::start(&stage, &listeners(ASKING, ASKING)).await;
    let (flows, admin) = (gateway.flows(), gateway.admin());
    for version in [Version::Tls12, Version::Tls13] {
        for (one, other) in [(flows, admin), (admin, flows)] {
            let flow = clients.client("flow");
            let config = client_of(&stage.ca, (Some(&flow), Protocols::Http1), version);
            assert_eq!(again(one, &config).await, HandshakeKind::Full);
            // Else this test would show nothing.
            assert_eq!(again(one, &config).await, HandshakeKind::Resumed);

            assert_eq!(again(other, &config).await, HandshakeKind::Full);
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_session_does_not_outlive_the_ca_it_was_let_in_by() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let clients = Ca::new("clients");
    stage.write("clients.pem", &clients.pem());
    let own = listeners(ASKING, ASKING);
    let gateway = Running::start(&stage, &own).await;
    let addresses = [gateway.flows(), gateway.admin()];
    let flow = clients.client("flow");
    let mut configs = Vec::new();
    for version in [Version::Tls12, Version::Tls13] {
        for address in addresses {
            let config = client_of(&stage.ca, (Some(&flow), Protocols::Http1), version);
            again(address, &config).await;
            assert_eq!(again(address, &config).await, HandshakeKind::Resumed);
            configs.push((address, config));
        }
    }

    stage.write("clients.pem", &Ca::new("clients").pem());
    gateway.reload(stage.config(&own)).unwrap();

    for (address, config) in configs {
        let refused = crate::support::tls::try_handshake(address, &config).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_session_does_not_outlive_the_certificate_it_began_with() {
    // RFC 8446 §2.2: whoever resumes a session shows no certificate anew.
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let clients = Ca::new("clients");
    stage.write("clients.pem", &clients.pem());
    let now = SystemTime::now();
    let turned = Turned::starting_at(now);
    let environment = Environment {
        clock: Clock::turned(&turned),
        ..Environment::system()
    };
    let gateway = Running::start_in(&stage, &listeners(TLS, ASKING), environment).await;
    let admin = gateway.admin();
    let leaf = Leaf::client("administrator").until(now + Duration::from_secs(1800));
    let shown = clients.issue(&leaf);
    let status = async |config: &Arc<ClientConfig>| {
        let mut client = Client::tls(admin, Arc::clone(config)).await;
        client.get("/livez").await.status
    };
    let mut configs = Vec::new();
    for version in [Version::Tls12, Version::Tls13] {
        let config = client_of(&stage.ca, (Some(&shown), Protocols::Http1), version);
        assert_eq!(again(admin, &config).await, HandshakeKind::Full);
        assert_eq!(again(admin, &config).await, HandshakeKind::Resumed);
        assert_eq!(status(&config).await, 200);
        assert_eq!(again(admin, &config).await, HandshakeKind::Resumed);
        configs.push(config);
    }

    turned.advance(Duration::from_secs(1801));

    for config in configs {
        assert_eq!(status(&config).await, 401);
    }
    gateway.drain().await;
}

/// Replaces the file `name` as Kubernetes and editors do.
fn replace(stage: &Stage, name: &str, text: &str) {
    let new = stage.write(&format!("{name}.new"), text);
    std::fs::rename(new, stage.directory().join(name)).unwrap();
}

#[tokio::test]
async fn files_of_certificates_that_change_are_noticed_without_a_signal() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "listener");
    let own_ca = Ca::new("own");
    stage.write("own.pem", &own_ca.pem());
    stage.write("own.crl", &own_ca.revokes(&[]));
    let shown = Leaf::client("gateway");
    let client_pair = pair(&stage, "client", &stage.ca.issue(&shown));
    let identity = own_ca.issue(&Leaf::server(&["localhost"]).numbered(7));
    let setup = Setup {
        ask: Ask::Any,
        ..Setup::new(&identity)
    };
    let answer = crate::support::origin::whole(|_| crate::support::answer::Answer::text("ok"));
    let origin = Origin::start(setup, answer).await;
    let auth = format!("{{ client_certificate: {client_pair} }}");
    let more = "ca_bundle: { file: own.pem }, crl: { file: own.crl }";
    let one = crate::support::connector::connector_with("c", &origin.url("/"), &auth, more);
    let own = format!(
        "admin: {{ listen: 127.0.0.1:0, tls: {TLS} }}\n{}",
        connectors(&[one, connector("d", &origin.url("/"), "none")])
    );
    let child = process(&stage.config_file(&own));
    let address = async |whom: &str| -> SocketAddr {
        let line = child.stderr.line(whom, |line| line.contains(whom)).await;
        line.rsplit_once("address=").unwrap().1.parse().unwrap()
    };
    let flows = address("flows are served").await;
    let admin = address("served to administrators").await;
    let config = client(&stage.ca, None, Protocols::Http1);
    let get = async || crate::support::gateway::get(flows, "/c/x").await.status;
    assert_eq!(get().await, 200);

    // The admin listener's certificate.
    let before = leaf(admin, &config).await;
    let next = stage.server();
    replace(&stage, "listener.key", &next.key_pem);
    replace(&stage, "listener.pem", &next.certificate_pem);
    let turned = async || leaf(admin, &config).await != before;
    until("the admin listener's new certificate", turned).await;

    // A connector's certificate: the key first, so that half a change is refused and the whole taken.
    let next = stage.ca.issue(&shown);
    let thumbprint: CertificateDer<'static> = next.certificate();
    replace(&stage, "client.key", &next.key_pem);
    replace(&stage, "client.pem", &next.certificate_pem);
    let shown_now = async || {
        get().await;
        let requests = origin.requests();
        requests.last().unwrap().client_certificate == Some(thumbprint.clone())
    };
    until("the connector's new certificate", shown_now).await;

    // Its revocation list, and then whom it trusts.
    replace(&stage, "own.crl", &own_ca.revokes(&[7]));
    until("the new revocation list", async || get().await == 502).await;
    replace(&stage, "own.crl", &own_ca.revokes(&[]));
    until("the list after it", async || get().await == 200).await;
    replace(&stage, "own.pem", &stage.ca.pem());
    until("the new CA bundle", async || get().await == 502).await;
}
