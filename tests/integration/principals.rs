//! Principals by their certificates: whose are whose, what they reach, and until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use attache::clock::{Clock, Turned};
use attache::gateway::Environment;
use rcgen::SanType;
use rcgen::string::Ia5String;
use rustls::ClientConfig;

use crate::support::client::Client;
use crate::support::connector::{connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::key::listed;
use crate::support::message::Kind;
use crate::support::origin::{Origin, Setup};
use crate::support::passage::{AGREE, ASK};
use crate::support::pki::{Ca, Leaf};
use crate::support::raw::RawOrigin;
use crate::support::stage::Stage;
use crate::support::tls::{Protocols, client};
use crate::support::wire::Wire;
use crate::support::within;

const IVR: &str = "ivr-0123456789abcdef";
const SOUTH: &str = "south-0123456789abcdef";
/// What those are told whose certificate holds, and whose does not.
const UNLISTED: &str = "This gateway does not list the certificate that was shown.";
const ENDED: &str = "The certificate that was shown does not hold any more.";

/// Two principals of one organization, and a namesake in another; none of them is `stranger`.
const CERTIFICATES: &str = "\
    { name: ivr, organization: north, san: 'dns:ivr.clients.example' }, \
    { name: batch, organization: north, san: 'uri:spiffe://acme/batch/*' }, \
    { name: ivr, organization: south, san: 'dns:*.south.example' }";

fn inbound(certificates: &str, keys: &str) -> String {
    format!("inbound: {{ certificates: [{certificates}], keys: [{keys}] }}\n")
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

fn ivr() -> Leaf {
    Leaf::client("ivr")
}

fn batch() -> Leaf {
    Leaf::client("x").also(uri("spiffe://acme/batch/7"))
}

fn south() -> Leaf {
    Leaf::client("y").also(dns("a.south.example"))
}

/// A gateway over TLS that asks flows for certificates.
struct House {
    stage: Stage,
    clients: Ca,
    origin: Origin,
    gateway: Running,
    time: Turned,
}

impl House {
    async fn with(inbound: &str) -> Self {
        let stage = Stage::new();
        let clients = Ca::new("clients");
        stage.write("clients.pem", &clients.pem());
        stage.server().write(stage.directory(), "listener");
        let origin = Origin::plain(&stage.server()).await;
        let own = inbound.to_owned() + &configured(&origin);
        let time = Turned::starting_at(SystemTime::now());
        let environment = Environment {
            clock: Clock::turned(&time),
            ..Environment::system()
        };
        let gateway = Running::start_in(&stage, &own, environment).await;
        Self {
            stage,
            clients,
            origin,
            gateway,
            time,
        }
    }

    /// A client whose certificate says `leaf`.
    fn config(&self, leaf: &Leaf, protocols: Protocols) -> Arc<ClientConfig> {
        client(&self.stage.ca, Some(&self.clients.issue(leaf)), protocols)
    }

    async fn client(&self, leaf: &Leaf, protocols: Protocols) -> Client {
        Client::tls(self.gateway.flows(), self.config(leaf, protocols)).await
    }

    async fn both(&self, leaf: &Leaf) -> [Client; 2] {
        [
            self.client(leaf, Protocols::Http1).await,
            self.client(leaf, Protocols::Http2).await,
        ]
    }

    fn reload(&self, inbound: &str) {
        let own = inbound.to_owned() + &configured(&self.origin);
        self.gateway.reload(self.stage.config(&own)).unwrap();
    }
}

fn configured(origin: &Origin) -> String {
    let of = |id: &str, more: &str| connector_with(id, &origin.url("/"), "none", more);
    "tls: { certificate: { file: listener.pem }, private_key: { file: listener.key }, client_ca: { file: clients.pem } }\n"
        .to_owned()
        + &connectors(&[
            of("for-north", "organization: north"),
            of("for-ivr", "organization: north, allow: [{ principals: [ivr] }]"),
            of("for-south", "organization: south"),
        ])
}

async fn status(client: &mut Client, target: &str) -> u16 {
    client.get(target).await.status.as_u16()
}

async fn status_with(client: &mut Client, target: &str, key: &str) -> u16 {
    let key = format!("Bearer {key}");
    let fields = [("authorization", key.as_str())];
    client
        .call("GET", target, &fields, "")
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn a_certificate_of_the_ca_that_is_nobody_s_reaches_nothing() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;

    for leaf in [
        Leaf::client("stranger"),
        Leaf::client("a.ivr"),
        Leaf::client("ivr2"),
        Leaf::client("stranger").common_name_only("ivr.clients.example"),
        Leaf::client("x").also(uri("spiffe://acme/batch/")),
        Leaf::client("x").also(uri("spiffe://acme/batch/../ivr")),
        Leaf::client("x").also(uri("spiffe://acme/batches/7")),
        Leaf::client("x").also(dns("south.example")),
        Leaf::client("x").also(dns("a.b.south.example")),
        Leaf::client("x").also(dns("*.south.example")),
        // protocol.md row 44: a name that ends at a NUL for some; and one good name does not mend it.
        ivr().also(dns("ivr.clients.example\0.attacker.example")),
        south().also(uri("spiffe://acme/batch/7\0")),
    ] {
        for mut client in house.both(&leaf).await {
            for target in ["/for-north/x", "/for-south/x", "/nowhere/x", "/-/"] {
                let answer = client.get(target).await;

                assert_eq!(answer.status, 401, "{leaf:?}");
                assert_eq!(answer.reason(), "caller-unknown");
                assert_eq!(answer.json()["detail"], UNLISTED);
                assert_eq!(answer.field("www-authenticate"), Some("Client-Certificate"));
            }
        }
    }
    assert_eq!(house.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_certificate_reaches_its_organization_s_connectors_and_what_they_allow_it() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;

    for (leaf, north, for_ivr, south) in [
        (ivr(), 200, 200, 404),
        (batch(), 200, 403, 404),
        (south(), 404, 404, 200),
    ] {
        for mut client in house.both(&leaf).await {
            assert_eq!(status(&mut client, "/for-north/x").await, north, "{leaf:?}");
            assert_eq!(status(&mut client, "/for-ivr/x").await, for_ivr, "{leaf:?}");
            assert_eq!(status(&mut client, "/for-south/x").await, south, "{leaf:?}");
        }
    }
}

#[tokio::test]
async fn where_none_is_listed_every_certificate_of_the_ca_is_nobody_by_name() {
    let house = House::with("").await;

    for mut client in house.both(&Leaf::client("stranger")).await {
        assert_eq!(status(&mut client, "/for-north/x").await, 200);
        assert_eq!(status(&mut client, "/for-south/x").await, 200);
        assert_eq!(status(&mut client, "/for-ivr/x").await, 403);
    }
}

#[tokio::test]
async fn where_keys_are_listed_too_both_are_needed_and_of_one_principal() {
    let keys = listed(&[("ivr", "north", IVR), ("ivr", "south", SOUTH)]);
    let house = House::with(&inbound(CERTIFICATES, &keys)).await;

    let mut mine = house.client(&ivr(), Protocols::Http2).await;
    assert_eq!(status_with(&mut mine, "/for-ivr/x", IVR).await, 200);
    assert_eq!(status(&mut mine, "/for-ivr/x").await, 401);
    assert_eq!(status_with(&mut mine, "/for-ivr/x", "wrong").await, 401);
    // A namesake of another organization, in either place.
    for target in ["/for-ivr/x", "/for-south/x"] {
        assert_eq!(status_with(&mut mine, target, SOUTH).await, 401);
    }
    let mut batch = house.client(&batch(), Protocols::Http1).await;
    assert_eq!(status_with(&mut batch, "/for-north/x", IVR).await, 401);
    let mut stranger = house.client(&Leaf::client("s"), Protocols::Http1).await;
    assert_eq!(status_with(&mut stranger, "/for-north/x", IVR).await, 401);
    let nobody = client(&house.stage.ca, None, Protocols::Http1);
    let mut nobody = Client::tls(house.gateway.flows(), nobody).await;
    assert_eq!(status_with(&mut nobody, "/for-north/x", IVR).await, 401);

    assert_eq!(house.origin.tally().heads, 1);
    // Certificates without names say nothing against a key.
    house.reload(&inbound("", &keys));
    assert_eq!(status_with(&mut stranger, "/for-north/x", IVR).await, 200);
    assert_eq!(status_with(&mut stranger, "/for-south/x", IVR).await, 404);
    assert_eq!(status_with(&mut nobody, "/for-north/x", IVR).await, 401);
}

#[tokio::test]
async fn a_name_that_is_taken_away_or_given_to_another_counts_on_open_connections() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;
    for mut client in house.both(&ivr()).await {
        for (certificates, north, for_ivr, south) in [
            (CERTIFICATES, 200, 200, 404),
            (
                "{ name: ivr, organization: north, san: 'dns:ivr2.clients.example' }",
                401,
                401,
                401,
            ),
            (
                "{ name: irv, organization: north, san: 'dns:ivr.clients.example' }",
                200,
                403,
                404,
            ),
            (
                "{ name: ivr, organization: south, san: 'dns:ivr.clients.example' }",
                404,
                404,
                200,
            ),
            ("", 200, 403, 200),
            (CERTIFICATES, 200, 200, 404),
        ] {
            house.reload(&inbound(certificates, ""));
            for _ in 0..2 {
                assert_eq!(status(&mut client, "/for-north/x").await, north);
                assert_eq!(status(&mut client, "/for-ivr/x").await, for_ivr);
                assert_eq!(status(&mut client, "/for-south/x").await, south);
            }
        }
    }
}

/// Which CA signs flows' certificates is not asked at the handshake alone.
#[tokio::test]
async fn a_ca_that_is_replaced_shuts_its_certificates_out_of_open_connections() {
    for inbound in [inbound(CERTIFICATES, ""), String::new()] {
        let house = House::with(&inbound).await;
        let [mut one, mut two] = house.both(&ivr()).await;
        for client in [&mut one, &mut two] {
            assert_eq!(status(client, "/for-north/x").await, 200);
        }

        // The same name, as a thief of names would have it.
        let next = Ca::new("clients");
        house.stage.write("clients.pem", &next.pem());
        house.reload(&inbound);

        for client in [&mut one, &mut two] {
            let answer = client.get("/for-north/x").await;
            assert_eq!(answer.reason(), "caller-unknown");
            assert_eq!(answer.json()["detail"], ENDED);
        }
        let config = client(&house.stage.ca, Some(&next.issue(&ivr())), Protocols::Http2);
        let mut new = Client::tls(house.gateway.flows(), config).await;
        assert_eq!(status(&mut new, "/for-north/x").await, 200);

        // Both CAs are in force while one takes the other's place.
        let both = house.clients.pem() + &next.pem();
        house.stage.write("clients.pem", &both);
        house.reload(&inbound);
        for client in [&mut one, &mut two, &mut new] {
            assert_eq!(status(client, "/for-north/x").await, 200);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ends_shuts_its_open_connections_out() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;
    let leaf = ivr().until(SystemTime::now() + Duration::from_secs(1800));
    let timeouts = "timeouts: { idle: 1h, drain_delay: 0s }\n";
    house.reload(&(inbound(CERTIFICATES, "") + timeouts));
    let [mut one, mut two] = house.both(&leaf).await;
    for client in [&mut one, &mut two] {
        assert_eq!(status(client, "/for-ivr/x").await, 200);
    }

    // The clock that is turned began before the certificate was made.
    house.time.advance(Duration::from_secs(1600));
    for client in [&mut one, &mut two] {
        assert_eq!(status(client, "/for-ivr/x").await, 200);
    }
    house.time.advance(Duration::from_secs(300));

    for client in [&mut one, &mut two] {
        let answer = client.get("/for-ivr/x").await;
        assert_eq!(answer.reason(), "caller-unknown");
        assert_eq!(answer.json()["detail"], ENDED);
    }
}

/// A tunnel has no next request at which its caller would be asked for: it is looked at in time,
/// however much goes through it.
#[tokio::test]
async fn a_certificate_that_ends_cuts_the_tunnel_it_was_let_in_by() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;
    let raw = RawOrigin::start(Setup::new(&house.stage.server())).await;
    let more = "organization: north, upgrades: [websocket]";
    let orders = connector_with("orders", &raw.url("/"), "none", more);
    let timeouts = "timeouts: { idle: 1h, drain_delay: 0s }\n";
    let rest = configured(&house.origin) + &orders;
    let own = inbound(CERTIFICATES, "") + timeouts + &rest;
    house.gateway.reload(house.stage.config(&own)).unwrap();
    let leaf = ivr().until(SystemTime::now() + Duration::from_secs(1800));
    let mut near = Wire::tls(house.gateway.flows(), house.config(&leaf, Protocols::Http1)).await;
    near.write(ASK).await;
    let mut far = raw.accept().await;
    far.message(Kind::Request).await.unwrap();
    far.write(AGREE).await;
    assert_eq!(near.answer().await.status(), 101);

    // Asked about twice meanwhile; the clock that is turned began before the certificate was made.
    for _ in 0..2 {
        house.time.advance(Duration::from_secs(800));
        near.write("ping").await;
        assert_eq!(far.bytes(4).await, b"ping");
        far.write("pong").await;
        assert_eq!(near.bytes(4).await, b"pong");
    }
    let flood = tokio::spawn(async move { while near.try_write([b'x'; 8192]).await.is_ok() {} });
    far.bytes(1024 * 1024).await;
    house.time.advance(Duration::from_secs(300));

    assert!(
        !far.ends_properly().await,
        "what was sent must not look whole"
    );
    within("the flow's end", flood).await.unwrap();
}

/// RFC 8446 §2.2: a session that is resumed shows no certificate anew.
#[tokio::test]
async fn a_session_that_is_resumed_is_held_to_what_is_asked_now() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;
    let config = house.config(&ivr(), Protocols::Http1);
    for _ in 0..2 {
        let mut client = Client::tls(house.gateway.flows(), Arc::clone(&config)).await;
        assert_eq!(status(&mut client, "/for-ivr/x").await, 200);
    }
    let stranger = house.config(&Leaf::client("stranger"), Protocols::Http1);
    for _ in 0..2 {
        let mut client = Client::tls(house.gateway.flows(), Arc::clone(&stranger)).await;
        assert_eq!(status(&mut client, "/for-ivr/x").await, 401);
    }

    house.reload(&inbound(
        "{ name: batch, organization: north, san: 'uri:spiffe://acme/batch/*' }",
        "",
    ));

    let mut client = Client::tls(house.gateway.flows(), config).await;
    assert_eq!(status(&mut client, "/for-ivr/x").await, 401);
}

#[tokio::test]
async fn a_certificate_is_shown_in_the_handshake_and_in_no_field() {
    let house = House::with(&inbound(CERTIFICATES, "")).await;
    let pem = house
        .clients
        .issue(&ivr())
        .certificate_pem
        .replace('\n', "");
    let config = house.config(&Leaf::client("stranger"), Protocols::Http1);
    let mut wire = Wire::tls(house.gateway.flows(), config).await;

    for field in [
        "Client-Cert",
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "X-Forwarded-Client-Cert",
    ] {
        wire.write(format!(
            "GET /for-ivr/x HTTP/1.1\r\nHost: localhost\r\n{field}: {pem}\r\n\r\n"
        ))
        .await;
        assert_eq!(wire.answer().await.reason(), "caller-unknown", "{field}");
    }
    assert_eq!(house.origin.tally().accepted, 0);
}
