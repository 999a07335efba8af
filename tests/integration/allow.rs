//! Who may call a connector, and what for: its `allow`.

use attache::clock::Clock;
use attache::config::{AccessLog, LogFormat, Logs};
use attache::gateway::Environment;
use attache::logging::Logging;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::connector::{connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::key::{bearer, keyed, sha256};
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::passage::{AGREE, ASK, Between};
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tape::Tape;
use crate::support::wire::Wire;

const IVR: &str = "ivr-0123456789abcdef";
const BATCH: &str = "batch-0123456789abcdef";
const SOUTH: &str = "south-0123456789abcdef";

/// Two principals of one organization, and a namesake in another.
fn principals() -> String {
    keyed(&[
        ("ivr", "north", IVR),
        ("batch", "north", BATCH),
        ("ivr", "south", SOUTH),
    ])
}

/// Connectors of `north`, by what they allow.
const CONNECTORS: &[(&str, &str)] = &[
    ("any", "null"),
    ("nobody", "[]"),
    ("for-ivr", "[{ principals: [ivr] }]"),
    (
        "for-both",
        "[{ principals: [batch] }, { principals: [ivr] }]",
    ),
    ("to-read", "[{ methods: [GET] }]"),
    ("orders", "[{ paths: [/orders, /open/] }]"),
    ("near", "[{ networks: [127.0.0.1, '::1'] }]"),
    ("far", "[{ networks: [10.0.0.0/8, '::/0'] }]"),
    (
        "strict",
        "[{ principals: [ivr], methods: [POST], paths: [/a], networks: [127.0.0.0/8] }, { principals: [batch], methods: [GET], paths: [/b] }]",
    ),
];

struct House {
    stage: Stage,
    origin: Origin,
    gateway: Running,
}

impl House {
    async fn new() -> Self {
        let stage = Stage::new();
        let origin = Origin::plain(&stage.server()).await;
        let own = principals() + &written(&origin, CONNECTORS);
        let gateway = Running::start(&stage, &own).await;
        Self {
            stage,
            origin,
            gateway,
        }
    }

    fn reload(&self, all: &[(&str, &str)]) {
        let own = principals() + &written(&self.origin, all);
        self.gateway.reload(self.stage.config(&own)).unwrap();
    }

    /// What is answered to a request, byte for byte as `start` and `fields` say.
    async fn raw(&self, start: &str, fields: &str) -> Message {
        let mut wire = Wire::plain(self.gateway.flows()).await;
        wire.write(format!(
            "{start} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        ))
        .await;
        wire.answer().await
    }
}

fn written(origin: &Origin, all: &[(&str, &str)]) -> String {
    let all = all.iter().map(|(id, allow)| {
        let more = format!("organization: north, allow: {allow}");
        connector_with(id, &origin.url("/api"), "none", &more)
    });
    connectors(&all.collect::<Vec<_>>())
}

fn header(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test]
async fn what_no_rule_lists_whole_is_denied_over_both_protocols() {
    let house = House::new().await;
    let mut passed = 0;
    for version in [1, 2] {
        let mut client = match version {
            1 => Client::http1(house.gateway.flows()).await,
            _ => Client::http2(house.gateway.flows()).await,
        };
        for (key, method, target, status) in [
            (IVR, "GET", "/nobody/x", 403),
            (BATCH, "GET", "/for-ivr/x", 403),
            (IVR, "POST", "/to-read/x", 403),
            (IVR, "HEAD", "/to-read/x", 403),
            (IVR, "OPTIONS", "/to-read/x", 403),
            (IVR, "GETS", "/to-read/x", 403),
            (IVR, "GET", "/orders/", 403),
            (IVR, "GET", "/orders", 403),
            (IVR, "GET", "/orders/prices", 403),
            (IVR, "GET", "/orders/orders2", 403),
            (IVR, "GET", "/orders/open", 403),
            (IVR, "GET", "/orders/x?/orders", 403),
            (IVR, "GET", "/far/x", 403),
            (IVR, "POST", "/strict/b", 403),
            (IVR, "GET", "/strict/b", 403),
            (IVR, "GET", "/strict/a", 403),
            (BATCH, "POST", "/strict/a", 403),
            (BATCH, "GET", "/strict/a", 403),
            // Another organization's does not exist, whatever it allows.
            (SOUTH, "GET", "/for-ivr/x", 404),
            (SOUTH, "GET", "/nobody/x", 404),
            (SOUTH, "GET", "/any/x", 404),
            ("wrong", "GET", "/nobody/x", 401),
            (BATCH, "DELETE", "/any/x", 200),
            (IVR, "PUT", "/for-ivr/x", 200),
            (BATCH, "GET", "/for-both/x", 200),
            (IVR, "GET", "/for-both/x", 200),
            (IVR, "GET", "/to-read/x", 200),
            (IVR, "GET", "/orders/orders?x=/..", 200),
            (IVR, "GET", "/orders/orders/7", 200),
            (IVR, "GET", "/orders/open/", 200),
            (IVR, "GET", "/near/x", 200),
            (IVR, "POST", "/strict/a/1", 200),
            (BATCH, "GET", "/strict/b", 200),
        ] {
            let key = header(key);
            let fields = [("authorization", key.as_str())];
            let answer = client.call(method, target, &fields, "").await;

            assert_eq!(answer.status, status, "{method} {target} {key}");
            if status == 403 && method != "HEAD" {
                assert_eq!(answer.reason(), "caller-denied", "{target}");
                let told = answer.field("proxy-status").unwrap();
                assert!(told.contains("http_request_denied"), "{told}");
                assert!(answer.json()["may_have_reached_origin"] == false);
            }
            passed += usize::from(status == 200);
            assert_eq!(house.origin.tally().heads, passed, "{method} {target}");
        }
    }
    let labels = [("connector", "strict"), ("reason", "caller-denied")];
    let refused = house.gateway.sample("attache_refused_total", &labels);
    assert_eq!(refused.await, 10.0);
}

/// A path is compared as it came; what could be read as a listed one, or as one beside it, is not it.
#[tokio::test]
async fn no_spelling_of_a_path_gets_past_a_rule() {
    let house = House::new().await;

    for path in [
        "//orders",
        "//orders/orders",
        "/x//orders",
        "/%6frders",
        "/Orders",
        "/orders;v=1",
        "/orders;/7",
        "/orders%2f7",
        "/orders%2F..%2Fprices",
        "/orders/..",
        "/orders/../prices",
        "/orders/%2e%2e/prices",
        "/orders/..;/prices",
        "/orders/%252e%252e/prices",
        "/orders\\..\\prices",
        "/orders%00",
        "/open",
        "/open%2f",
        "/open;a/b",
        "/prices?/orders",
        "/prices#/orders",
        "/?path=/orders",
        "?/orders",
        "",
    ] {
        let answer = house.raw(&format!("GET /orders{path}"), &bearer(IVR)).await;

        assert!([400, 403].contains(&answer.status()), "{path}");
        // By its field, the whole target is the path.
        let field = bearer(IVR) + "Connector-Id: orders\r\n";
        let path = if path.starts_with('/') { path } else { "/" };
        let answer = house.raw(&format!("GET {path}"), &field).await;
        assert!([400, 403].contains(&answer.status()), "{path}");
    }
    assert_eq!(house.origin.tally().accepted, 0);
    let field = bearer(IVR) + "Connector-Id: orders\r\n";
    assert_eq!(house.raw("GET /orders/7", &field).await.status(), 200);
    assert_eq!(house.raw("GET /open/7", &field).await.status(), 200);
    let absolute = "GET http://localhost/orders/orders/7";
    assert_eq!(house.raw(absolute, &bearer(IVR)).await.status(), 200);
}

/// What others let somebody else say, or another address, method or path.
const FORGED: &[(&str, &str)] = &[
    ("GET /for-ivr/x?key=ivr-0123456789abcdef", ""),
    ("GET /for-ivr/x", "Connection: authorization"),
    ("GET /for-ivr/x", "X-Attache-Principal: ivr"),
    ("GET /for-ivr/x", "X-Remote-User: ivr"),
    (
        "GET /for-ivr/x",
        "X-Authorization: Bearer ivr-0123456789abcdef",
    ),
    ("GET /for-ivr/x", "Cookie: key=ivr-0123456789abcdef"),
    ("GET /for-ivr/x", "Trailer: Authorization"),
    ("GET /far/x", "X-Forwarded-For: 10.0.0.1"),
    ("GET /far/x", "Forwarded: for=10.0.0.1"),
    ("GET /far/x", "X-Real-IP: 10.0.0.1"),
    ("POST /to-read/x", "X-HTTP-Method-Override: GET"),
    ("POST /to-read/x", "X-HTTP-Method: GET"),
    ("GET /orders/x", "X-Original-URL: /orders/orders"),
    ("GET /orders/x", "X-Rewrite-URL: /orders"),
    ("GET /orders/x", "X-Forwarded-Prefix: /orders"),
];

#[tokio::test]
async fn no_field_of_a_request_makes_its_caller_somebody_else() {
    // protocol.md, rows 34 and 37.
    let house = House::new().await;
    let (ivr, batch) = (bearer(IVR), bearer(BATCH));

    for (start, field) in FORGED {
        let line = if field.is_empty() { "" } else { "\r\n" };
        let answer = house.raw(start, &format!("{batch}{field}{line}")).await;
        assert_eq!(answer.reason(), "caller-denied", "{start} {field}");
    }
    for fields in [
        format!("{batch}{ivr}"),
        format!("{ivr}{batch}"),
        format!("Connection: authorization\r\n{batch}{ivr}"),
        format!("Proxy-{ivr}"),
        format!("X-{ivr}"),
    ] {
        let start = "GET /for-ivr/x?access_token=ivr-0123456789abcdef";
        let answer = house.raw(start, &fields).await;
        assert_eq!(answer.reason(), "caller-unknown", "{fields}");
    }
    assert_eq!(house.origin.tally().accepted, 0);
}

#[tokio::test]
async fn who_shows_nothing_has_no_name_to_be_listed_by() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &written(&origin, CONNECTORS)).await;
    let mut client = Client::http1(gateway.flows()).await;

    for (target, status) in [
        ("/for-ivr/x", 403),
        ("/for-both/x", 403),
        ("/strict/a", 403),
        ("/nobody/x", 403),
        ("/any/x", 200),
        ("/near/x", 200),
        ("/to-read/x", 200),
    ] {
        assert_eq!(client.get(target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_changed_rule_holds_for_open_connections_from_their_next_request_on() {
    let house = House::new().await;
    let (mut one, mut two) = (
        Client::http1(house.gateway.flows()).await,
        Client::http2(house.gateway.flows()).await,
    );
    let key = header(IVR);
    let fields = [("authorization", key.as_str())];

    for (allow, status) in [
        ("[{ principals: [ivr] }]", 200),
        ("[{ principals: [batch] }]", 403),
        ("null", 200),
        ("[]", 403),
        ("[{ networks: [127.0.0.0/8] }]", 200),
        ("[{ networks: [127.0.0.0/8], methods: [POST] }]", 403),
    ] {
        house.reload(&[("any", allow)]);
        for client in [&mut one, &mut two] {
            let answer = client.call("GET", "/any/x", &fields, "").await;
            assert_eq!(answer.status, status, "{allow}");
        }
    }
    // The connection to the origin is not what changed.
    assert!(house.origin.tally().accepted <= 2);
}

#[tokio::test]
async fn a_removed_key_is_nobody_s_on_open_connections_and_a_new_one_of_its_name_is_as_good() {
    let house = House::new().await;
    let mut client = Client::http2(house.gateway.flows()).await;
    let (old, new) = (header(IVR), header("ivr-new-0123456789abcdef"));
    let mut status = async |key: &str| {
        let fields = [("authorization", key)];
        client
            .call("GET", "/for-ivr/x", &fields, "")
            .await
            .status
            .as_u16()
    };
    let reload = |keys: &[(&str, &str, &str)]| {
        let own = keyed(keys) + &written(&house.origin, CONNECTORS);
        house.gateway.reload(house.stage.config(&own)).unwrap();
    };
    assert_eq!((status(&old).await, status(&new).await), (200, 401));

    let both = [("ivr", "north", IVR), ("ivr", "north", &new[7..])];
    reload(&both);
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    reload(&both[1..]);
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    reload(&[("irv", "north", &new[7..])]);
    assert_eq!((status(&old).await, status(&new).await), (401, 403));
}

#[tokio::test]
async fn a_tunnel_is_opened_for_who_may_and_ends_when_that_is_over() {
    let keys = principals();
    let asked = |key: &str| ASK.replace("\r\n\r\n", &format!("\r\n{}\r\n", bearer(key)));
    let lines = |allow: &str| {
        let allow = format!("allow: {allow}");
        let lines = ["organization: north", "upgrades: [websocket]", &allow];
        lines.map(str::to_owned)
    };
    let granted = lines("[{ principals: [ivr], methods: [GET], paths: [/chat] }]");
    let between = Between::start(&granted.each_ref().map(String::as_str), &keys).await;
    let reload = |allow: &str, keys: &str| {
        let lines = lines(allow);
        let lines = lines.each_ref().map(String::as_str);
        let own = orders(&between.raw.url("/api"), &lines) + keys;
        between.gateway.reload(between.stage.config(&own)).unwrap();
    };

    let mut stranger = Wire::plain(between.gateway.flows()).await;
    stranger.write(asked(BATCH)).await;
    assert_eq!(stranger.answer().await.reason(), "caller-denied");

    let without_ivr = keyed(&[("batch", "north", BATCH), ("ivr", "south", IVR)]);
    let renamed = keyed(&[("batch", "north", IVR)]);
    for (allow, next) in [
        ("[{ principals: [batch] }]", &keys),
        ("[{ methods: [POST] }]", &keys),
        ("[{ paths: [/chats] }]", &keys),
        ("[]", &keys),
        ("null", &without_ivr),
        ("null", &renamed),
    ] {
        reload("null", &keys);
        let mut near = Wire::plain(between.gateway.flows()).await;
        near.write(asked(IVR)).await;
        let mut far = between.raw.accept().await;
        far.message(crate::support::message::Kind::Request)
            .await
            .unwrap();
        far.write(AGREE).await;
        assert_eq!(near.answer().await.status(), 101);
        near.write("ping").await;
        assert_eq!(far.bytes(4).await, b"ping");

        reload("[{ principals: [ivr], paths: [/chat/, /chat] }]", &keys);
        near.write("pong").await;
        assert_eq!(far.bytes(4).await, b"pong");
        reload(allow, next);

        assert!(near.is_closed().await, "{allow}");
        assert!(far.is_closed().await, "{allow}");
    }
}

#[tokio::test]
async fn the_access_log_says_who_called_by_which_key_and_never_the_key() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let forged = "x\\u001b[2J\\\" level=ERROR ü";
    let names = format!(
        "inbound: {{ keys: [{{ name: ivr, organization: north, sha256: {} }}, \
         {{ name: \"{}\", organization: north, sha256: {} }}] }}\n",
        sha256(IVR),
        "quo\\\"te level=ERROR ü",
        sha256(BATCH)
    );
    assert!(stage.config(&names.replace("ivr", forged)).is_err());
    let tape = Tape::default();
    let logs = Logs {
        format: LogFormat::Json,
        level: tracing::Level::INFO,
        access: AccessLog::All,
    };
    let (logging, _) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
    let environment = Environment {
        access_log: logging.access_log(),
        ..Environment::system()
    };
    let own = names + "logs: { access: all }\n" + &written(&origin, CONNECTORS);
    let gateway = Running::start_in(&stage, &own, environment).await;
    let mut client = Client::http1(gateway.flows()).await;
    for (key, target) in [
        (IVR, "/any/1"),
        (BATCH, "/any/2"),
        (BATCH, "/for-ivr/3"),
        ("wrong-0123456789abcdef", "/any/4"),
        (IVR, "/nowhere/5"),
    ] {
        let key = header(key);
        client
            .call("GET", target, &[("authorization", key.as_str())], "")
            .await;
    }
    gateway.drain().await;
    drop(logging);

    let lines = tape.lines();
    let told = lines.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        (text("path"), text("principal"), text("key"))
    });
    let quoted = "quo\"te level=ERROR ü".to_owned();
    let (ivr, batch) = (sha256(IVR)[..8].to_owned(), sha256(BATCH)[..8].to_owned());
    let row = |path: &str, name: &str, key: &str| (path.into(), name.into(), key.into());
    let expected: Vec<(String, String, String)> = vec![
        row("/any/1", "ivr", &ivr),
        row("/any/2", &quoted, &batch),
        row("/for-ivr/3", &quoted, &batch),
        row("/any/4", "-", "-"),
        row("/nowhere/5", "ivr", &ivr),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let all = lines.concat();
    assert!(!all.contains("0123456789abcdef") && !all.contains(&sha256(IVR)));
}
