//! Keys of flow runtimes: who is let in by them, and whose connectors exist for whom.

use crate::support::connector::{connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::key::{bearer, keyed, sha256};
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::stage::Stage;
use crate::support::wire::Wire;

const NORTH: &str = "north-0123456789abcdef";
const NORTH_NEW: &str = "north-new-0123456789abcdef";
const SOUTH: &str = "south-0123456789abcdef";

/// What opens a door elsewhere: probes, and fields that a proxy is trusted to have written.
pub(crate) const DOORS: &[&str] = &[
    "User-Agent: kube-probe/1.30",
    "User-Agent: GoogleHC/1.0",
    "User-Agent: ELB-HealthChecker/2.0",
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1",
    "X-Forwarded-User: admin",
    "X-Forwarded-Client-Cert: Subject=\"CN=admin\"",
    "X-Auth-Request-User: admin",
    "Remote-User: admin",
    "X-Original-URL: /livez",
    "X-Forwarded-Uri: /livez",
    "X-Rewrite-URL: /metrics",
    "X-HTTP-Method-Override: OPTIONS",
    "Cookie: session=admin",
    "Proxy-Authorization: Bearer north-0123456789abcdef",
];

/// Two organizations' keys, of one of them an old and a new one.
fn both() -> String {
    keyed(&[
        ("ivr", "north", NORTH),
        ("ivr", "north", NORTH_NEW),
        ("ivr", "south", SOUTH),
    ])
}

/// A gateway with a connector of each organization, and one that is switched off.
struct House {
    stage: Stage,
    origin: Origin,
    gateway: Running,
}

impl House {
    async fn with(inbound: &str) -> Self {
        let stage = Stage::new();
        let origin = Origin::plain(&stage.server()).await;
        let own = inbound.to_owned() + &Self::connectors(&origin);
        let gateway = Running::start(&stage, &own).await;
        Self {
            stage,
            origin,
            gateway,
        }
    }

    fn connectors(origin: &Origin) -> String {
        let of = |id: &str, more: &str| connector_with(id, &origin.url("/"), "none", more);
        connectors(&[
            of("for-north", "organization: north"),
            of("for-south", "organization: south"),
            of("off-south", "organization: south, enabled: false"),
        ])
    }

    async fn get(&self, target: &str, fields: &str) -> Message {
        let mut wire = Wire::plain(self.gateway.flows()).await;
        let host = "Host: localhost\r\nX-Request-Id: one\r\nConnection: close";
        wire.write(format!("GET {target} HTTP/1.1\r\n{host}\r\n{fields}\r\n"))
            .await;
        wire.answer().await
    }

    async fn status(&self, target: &str, key: &str) -> u16 {
        self.get(target, &bearer(key)).await.status()
    }

    fn reload(&self, inbound: &str) {
        let own = inbound.to_owned() + &Self::connectors(&self.origin);
        self.gateway.reload(self.stage.config(&own)).unwrap();
    }
}

#[tokio::test]
async fn who_shows_no_key_or_a_wrong_one_is_refused_with_a_challenge() {
    let house = House::with(&both()).await;
    let long = "x".repeat(4096);
    for shown in [
        String::new(),
        bearer("wrong"),
        bearer(""),
        bearer(&long),
        bearer(&sha256(NORTH)),
        bearer(&NORTH[1..]),
        bearer(&format!("{NORTH}x")),
        bearer(&format!("{NORTH} {SOUTH}")),
        format!("Authorization: Basic {NORTH}\r\n"),
        format!("Authorization: Bearer{NORTH}\r\n"),
        format!("Authorization: {NORTH}\r\n"),
        format!("Proxy-Authorization: Bearer {NORTH}\r\n"),
        format!("X-Authorization: Bearer {NORTH}\r\n"),
        bearer(NORTH) + &bearer(NORTH),
        bearer("wrong") + &bearer(NORTH),
    ] {
        for target in ["/for-north/x", "/nowhere/x"] {
            let answer = house.get(target, &shown).await;

            assert_eq!(answer.status(), 401, "{shown}");
            assert_eq!(answer.reason(), "caller-unknown");
            // RFC 9110 §15.5.2, RFC 6750 §3.
            let challenge = answer.field("www-authenticate");
            assert_eq!(challenge, Some("Bearer realm=\"attache\""));
            assert!(!answer.text().contains(NORTH));
        }
    }
    assert_eq!(house.origin.tally().accepted, 0);
}

#[tokio::test]
async fn no_field_stands_in_for_a_key() {
    // protocol.md, row 37.
    let house = House::with(&both()).await;
    for field in DOORS {
        let told = house.get("/for-north/x", &format!("{field}\r\n")).await;
        assert_eq!(told.status(), 401, "{field}");
    }
    for target in ["/livez", "/readyz", "/metrics", "/-/livez", "/ping"] {
        assert_eq!(house.get(target, "").await.status(), 401, "{target}");
    }
    assert_eq!(house.origin.tally().accepted, 0);
}

#[tokio::test]
async fn another_organizations_connector_is_told_from_none_by_nothing() {
    let house = House::with(&both()).await;
    let told = async |target: &str, field: &str| {
        let fields = bearer(NORTH) + field;
        let answer = house.get(target, &fields).await;
        let kept = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case("date");
        let fields: Vec<_> = answer.fields.iter().filter(kept).cloned().collect();
        (answer.status(), answer.reason(), fields, answer.text())
    };

    let unknown = told("/nowhere/x?y", "").await;

    assert_eq!((unknown.0, unknown.1.as_str()), (404, "no-such-connector"));
    for target in [
        "/for-south/x?y",
        "/off-south/x?y",
        "/for-south",
        "/for-south?y",
    ] {
        assert_eq!(told(target, "").await, unknown, "{target}");
    }
    for id in ["for-south", "off-south", "nowhere"] {
        let field = format!("Connector-Id: {id}\r\n");
        assert_eq!(told("/x", &field).await, unknown, "{id}");
    }
    // A path that no connector carries is refused before it matters whose it is.
    let climbing = told("/for-south/../x", "").await;
    assert_eq!(told("/nowhere/../x", "").await, climbing);
    assert_eq!(house.origin.tally().accepted, 0);
    let labels = [("connector", "for-south")];
    let requests = "attache_connector_requests_in_flight";
    assert_eq!(house.gateway.sample(requests, &labels).await, 0.0);
    let refused = [("connector", "for-south"), ("reason", "no-such-connector")];
    assert_eq!(
        house
            .gateway
            .sample("attache_refused_total", &refused)
            .await,
        0.0
    );
}

#[tokio::test]
async fn a_key_reaches_its_organizations_connectors_and_travels_no_further() {
    let house = House::with(&both()).await;
    for (key, target) in [
        (NORTH, "/for-north/x"),
        (NORTH_NEW, "/for-north/x"),
        (SOUTH, "/for-south/x"),
    ] {
        assert_eq!(house.status(target, key).await, 200, "{key}");
    }
    // RFC 9110 §11.1: schemes are read in either case.
    let lower = format!("authorization: bearer {NORTH}\r\n");
    assert_eq!(house.get("/for-north/x", &lower).await.status(), 200);
    assert_eq!(house.status("/off-south/x", SOUTH).await, 403);

    assert_eq!(house.origin.tally().heads, 4);
    for request in house.origin.requests() {
        assert_eq!(request.field("authorization"), None);
        assert!(!format!("{request:?}").contains("0123456789abcdef"));
    }
    assert!(!house.gateway.shown().contains("0123456789abcdef"));
}

#[tokio::test]
async fn a_reload_changes_who_is_asked_and_whose_they_are() {
    let house = House::with("").await;
    let nobody = async |target: &str| house.get(target, "").await.status();
    assert_eq!(
        (nobody("/for-north/x").await, nobody("/for-south/x").await),
        (200, 200)
    );

    house.reload(&both());
    assert_eq!(nobody("/for-north/x").await, 401);
    assert_eq!(house.status("/for-north/x", NORTH).await, 200);

    house.reload(&keyed(&[("ivr", "south", NORTH)]));
    assert_eq!(house.status("/for-north/x", NORTH).await, 404);
    assert_eq!(house.status("/for-south/x", NORTH).await, 200);
    assert_eq!(house.status("/for-south/x", SOUTH).await, 401);

    house.reload("");
    assert_eq!(
        (nobody("/for-north/x").await, nobody("/for-south/x").await),
        (200, 200)
    );
}
