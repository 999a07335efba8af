//! Which connector and which path a request addresses, and which targets are refused.

use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::frames::{self, END_STREAM, Frames, HEADERS, PREFACE, RST_STREAM, SETTINGS};
use crate::support::gateway::Running;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::wire::Wire;

/// Sends `head` as it stands and reads the answer.
async fn raw(scene: &Scene, head: &str) -> Message {
    let mut wire = Wire::plain(scene.gateway.flows()).await;
    wire.write(head).await;
    wire.answer().await
}

/// A GET for `target` with the lines `fields`.
async fn get(scene: &Scene, target: &str, fields: &str) -> Message {
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    raw(scene, &head).await
}

/// Nobody was connected to.
fn untouched(scene: &Scene) -> bool {
    scene.origin.tally().accepted == 0
}

#[tokio::test]
async fn what_stands_behind_the_id_is_appended_to_the_base_path_byte_for_byte() {
    // RFC 9110 §7.7; protocol.md, line 10; design §8, path join.
    const CASES: &[(&str, &str, &str)] = &[
        ("/api/", "/orders/x?y", "/api/x?y"),
        ("/api/", "/orders?x", "/api/?x"),
        ("/api/", "/orders//x", "/api//x"),
        ("/api/", "/orders/", "/api/"),
        ("/api/", "/orders", "/api/"),
        ("/api", "/orders", "/api"),
        ("/api", "/orders?x", "/api?x"),
        ("", "/orders", "/"),
        ("", "/orders/x/", "/x/"),
        ("/a%2Fb/", "/orders/x", "/a%2Fb/x"),
        (
            "/api",
            "/orders/a%2Fb?q=%27%25x%25%27",
            "/api/a%2Fb?q=%27%25x%25%27",
        ),
        ("/api", "/orders/x?", "/api/x?"),
        ("/api", "/orders/x??&&=", "/api/x??&&="),
        (
            "/api",
            "/orders/a;b=c/@:!$&'()*+,=~",
            "/api/a;b=c/@:!$&'()*+,=~",
        ),
        ("/api", "/orders/%", "/api/%"),
        (
            "/api",
            "/orders/%zz%C3%A9%e2%82%ac",
            "/api/%zz%C3%A9%e2%82%ac",
        ),
        ("/api", "/orders/...", "/api/..."),
        (
            "/api",
            "/orders/x?a=/../b&c=%2e%2e%2f&d=\\",
            "/api/x?a=/../b&c=%2e%2e%2f&d=\\",
        ),
        ("/api", "/orders/x?u=http://a/b?c", "/api/x?u=http://a/b?c"),
        ("/api", "/orders/orders/x", "/api/orders/x"),
    ];
    for base in ["/api/", "/api", "", "/a%2Fb/"] {
        let scene = Scene::start(Plan {
            base,
            ..Plan::new()
        })
        .await;
        let cases: Vec<_> = CASES.iter().filter(|case| case.0 == base).collect();

        for (_, target, _) in &cases {
            assert_eq!(get(&scene, target, "").await.status(), 200, "{target}");
        }

        let arrived = scene.origin.wire();
        let arrived: Vec<_> = arrived.iter().map(Message::target).collect();
        let expected: Vec<_> = cases.iter().map(|case| case.2).collect();
        assert_eq!(arrived, expected, "behind {base:?}");
    }
}

#[tokio::test]
async fn with_connector_id_the_whole_target_is_the_request_path() {
    let scene = Scene::plain().await;
    let targets = ["/x?y", "/", "/?q", "/other/x", "/-/x", "//x", "/orders/x"];

    for target in targets {
        let answer = get(&scene, target, "Connector-Id: orders\r\n").await;
        assert_eq!(answer.status(), 200, "{target}");
    }

    let arrived = scene.origin.wire();
    for (message, target) in arrived.iter().zip(targets) {
        assert_eq!(message.target(), format!("/api{target}"));
        assert_eq!(message.field("connector-id"), None, "it is ours alone");
    }
    assert_eq!(arrived.len(), targets.len());
}

#[tokio::test]
async fn over_http2_both_forms_address_alike() {
    // RFC 9110 §7.7; protocol.md, line 10.
    let scene = Scene::plain().await;
    let mut client = Client::http2(scene.gateway.flows()).await;

    client.get("/orders/a%2Fb?q=%27").await;
    let field = [("connector-id", "orders")];
    client.call("GET", "/a%2Fb?q=%27", &field, "").await;

    let arrived = scene.origin.wire();
    let arrived: Vec<_> = arrived.iter().map(Message::target).collect();
    assert_eq!(arrived, ["/api/a%2Fb?q=%27", "/api/a%2Fb?q=%27"]);
}

#[tokio::test]
async fn dot_segments_backslashes_and_control_bytes_are_refused_under_any_decoding() {
    // protocol.md, row 40.
    let scene = Scene::plain().await;
    let paths = [
        "/..",
        "/../x",
        "/a/../b",
        "/.",
        "/a/./b",
        "/%2e%2e/x",
        "/%2E%2e/x",
        "/.%2e/x",
        "/..%2fx",
        "/a%2f..%2fb",
        "/%252e%252e/x",
        "/%25252e%25252e/x",
        "/..;/x",
        "/..;a=b/x",
        "/a\\b",
        "/a%5cb",
        "/a%255cb",
        "/a%00",
        "/a%0d%0aX:y",
        "/a%7f",
    ];
    let mut http2 = Client::http2(scene.gateway.flows()).await;

    for path in paths {
        let by_path = get(&scene, &format!("/orders{path}"), "").await;
        let by_field = get(&scene, path, "Connector-Id: orders\r\n").await;
        let over_http2 = http2.get(&format!("/orders{path}")).await;

        assert_eq!(
            (by_path.status(), by_path.reason().as_str()),
            (400, "bad-path"),
            "{path}"
        );
        assert_eq!(
            (by_field.status(), by_field.reason().as_str()),
            (400, "bad-path"),
            "{path}"
        );
        assert_eq!(over_http2.reason(), "bad-path", "{path}");
    }
    assert!(untouched(&scene));
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    // RFC 9112 §3, §3.2; protocol.md, line 20.
    let scene = Scene::plain().await;

    for line in [
        "OPTIONS * HTTP/1.1",
        "GET // HTTP/1.1",
        "GET / HTTP/1.1",
        "GET //orders/x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET orders/x HTTP/1.1",
        "GET /orders/a b HTTP/1.1",
        "GET /orders/\x01 HTTP/1.1",
        "GET /orders/x\tHTTP/1.1",
    ] {
        let answer = raw(&scene, &format!("{line}\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status(), 400, "{line}");
        assert!(
            ["bad-path", "bad-request"].contains(&answer.reason().as_str()),
            "{line}"
        );
    }
    assert!(untouched(&scene));
}

#[tokio::test]
async fn an_id_is_compared_byte_for_byte_and_what_is_unknown_is_not_found() {
    let scene = Scene::plain().await;

    for target in [
        "/nobody/x",
        "/Orders/x",
        "/%6frders/x",
        "/orders%2fx",
        "/orders;v=1/x",
        "/-/livez",
        "/-/orders/x",
        "/orders./x",
    ] {
        let answer = get(&scene, target, "").await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (404, "no-such-connector"),
            "{target}"
        );
    }
    let answer = get(&scene, "/orders/x", "Connector-Id: nobody\r\n").await;
    assert_eq!(answer.reason(), "no-such-connector", "the header decides");
    assert!(untouched(&scene));
}

#[tokio::test]
async fn connector_id_given_twice_or_empty_or_malformed_is_refused() {
    let scene = Scene::plain().await;

    for fields in [
        "Connector-Id: orders\r\nConnector-Id: orders\r\n",
        "Connector-Id: orders\r\nconnector-id: other\r\n",
        "Connector-Id:\r\n",
        "Connector-Id: \r\n",
        "Connector-Id: orders, other\r\n",
        "Connector-Id: Orders\r\n",
        "Connector-Id: ../orders\r\n",
        "Connector-Id: \u{f6}\r\n",
    ] {
        let answer = get(&scene, "/orders/x", fields).await;
        assert_eq!(
            (answer.status(), answer.reason().as_str()),
            (400, "bad-request"),
            "{fields:?}"
        );
    }
    assert!(untouched(&scene));
}

#[tokio::test]
async fn a_path_that_looks_like_an_authority_stays_on_the_configured_host() {
    // protocol.md, row 38 and point 10.
    let scene = Scene::start(Plan {
        base: "",
        ..Plan::new()
    })
    .await;

    get(&scene, "/orders//evil.example/x", "").await;
    get(&scene, "//evil.example/x", "Connector-Id: orders\r\n").await;
    get(&scene, "/orders/http://evil.example/x", "").await;

    let host = format!("localhost:{}", scene.origin.address().port());
    let arrived = scene.origin.wire();
    let targets: Vec<_> = arrived.iter().map(Message::target).collect();
    assert_eq!(
        targets,
        [
            "//evil.example/x",
            "//evil.example/x",
            "/http://evil.example/x"
        ]
    );
    assert!(
        arrived
            .iter()
            .all(|message| message.field("host") == Some(&host))
    );
}

/// What other servers take a path, a method or a caller's word out of.
const CLAIMS: &[(&str, &str)] = &[
    ("x-forwarded-uri", "/nobody/y"),
    ("x-forwarded-prefix", "/y"),
    ("x-forwarded-path", "/nobody/y"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-method", "DELETE"),
    ("x-original-url", "/nobody/y"),
    ("x-original-uri", "/nobody/y"),
    ("x-original-method", "DELETE"),
    ("x-original-host", "evil.example"),
    ("x-rewrite-url", "/nobody/y"),
    ("x-http-method-override", "DELETE"),
    ("x-http-method", "DELETE"),
    ("x-method-override", "DELETE"),
    ("x-host", "evil.example"),
    ("connector_id", "nobody"),
];

#[tokio::test]
async fn no_field_but_connector_id_changes_connector_path_or_method() {
    // protocol.md, row 34.
    let scene = Scene::plain().await;
    let host = format!("localhost:{}", scene.origin.address().port());

    for mut client in [
        Client::http1(scene.gateway.flows()).await,
        Client::http2(scene.gateway.flows()).await,
    ] {
        client.call("GET", "/orders/x", CLAIMS, "").await;
        // Nor do they open what is closed.
        let nowhere = client.call("GET", "/nobody/x", CLAIMS, "").await;
        assert_eq!(nowhere.reason(), "no-such-connector");
        let above = client.call("GET", "/orders/../x", CLAIMS, "").await;
        assert_eq!(above.reason(), "bad-path");
    }

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), 2);
    for message in arrived {
        assert_eq!(message.start, "GET /api/x HTTP/1.1");
        assert_eq!(message.field("host"), Some(host.as_str()));
        let names = message.fields.iter().map(|(name, _)| name.to_lowercase());
        let travels = |name: &String| name.starts_with("x-forwarded") || name == "connector_id";
        assert_eq!(names.filter(travels).collect::<Vec<_>>(), [""; 0]);
    }
}

#[tokio::test]
async fn the_query_decides_nothing() {
    // protocol.md, row 36.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let off = format!(
        "  - {{ id: off, name: Off, enabled: false, resource_domain: \"{}\", auth: none }}\n",
        origin.url("/o")
    );
    let yaml = orders(&origin.url("/api"), &[]) + &off;
    let gateway = Running::start(&stage, &yaml).await;
    let mut client = Client::http1(gateway.flows()).await;

    for query in [
        "",
        "?",
        "?/orders/x",
        "?connector-id=orders&enabled=true",
        "?/../../orders/x",
        "?_method=DELETE&path=/orders",
        "?%2forders%2fx#",
    ] {
        for (path, expected) in [
            ("/orders/x", (200, "")),
            ("/nobody/x", (404, "no-such-connector")),
            ("/", (400, "bad-path")),
            ("/orders/%2e%2e/x", (400, "bad-path")),
            ("/off/x", (403, "connector-inactive")),
        ] {
            let answered = client.get(&format!("{path}{query}")).await;
            let given = (answered.status.as_u16(), &*answered.reason());
            assert_eq!(given, expected, "{path}{query}");
        }
    }

    let arrived = origin.requests();
    assert_eq!(arrived.len(), 7);
    for request in arrived {
        assert_eq!(request.method, "GET");
        assert!(request.target.starts_with("/api/x"), "{}", request.target);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn connectors_lead_to_their_own_origins_only() {
    let stage = Stage::new();
    let orders_origin = Origin::plain(&stage.server()).await;
    let crm_origin = Origin::plain(&stage.server()).await;
    let yaml = orders(&orders_origin.url("/o"), &[])
        + &format!(
            "  - {{ id: crm, name: CRM, resource_domain: \"{}\", auth: none }}\n",
            crm_origin.url("/c")
        );
    let gateway = Running::start(&stage, &yaml).await;
    let mut client = Client::http1(gateway.flows()).await;

    client.get("/crm/orders/x").await;
    client.get("/orders/crm/x").await;

    assert_eq!(crm_origin.only_request().target, "/c/orders/x");
    assert_eq!(crm_origin.only_request().field("authorization"), None);
    assert_eq!(orders_origin.only_request().target, "/o/crm/x");
    gateway.drain().await;
}

#[tokio::test]
async fn a_fragment_is_refused_and_never_travels() {
    // RFC 9112 §3.2; protocol.md, rows 28 and 35: hyper would cut it off.
    let scene = Scene::plain().await;

    for target in ["/orders/x#y", "/orders/x#/../y", "/orders#/x"] {
        assert_eq!(get(&scene, target, "").await.status(), 400, "{target:?}");
    }

    assert_eq!(scene.origin.tally().heads, 0);
}

#[tokio::test]
async fn over_http2_nothing_behind_a_fragments_sign_travels_or_decides() {
    // RFC 9113 §8.3.1, RFC 9112 §3.2; protocol.md, rows 28 and 35: http cuts it off with what is
    // behind it, before anything is decided by `:path`.
    let scene = Scene::start(Plan {
        connector: &["allow: [{ paths: [/x] }]"],
        ..Plan::new()
    })
    .await;
    let socket = TcpStream::connect(scene.gateway.flows()).await.unwrap();
    let mut frames = Frames::over(socket);
    let opening = [PREFACE, &frames::frame(SETTINGS, 0, 0, &[])].concat();
    frames.write(opening).await.unwrap();

    let cases = [
        ("/orders/x#y", Some("/api/x")),
        ("/orders/x#/../y?q", Some("/api/x")),
        ("/orders/x?a=b#?c", Some("/api/x?a=b")),
        ("/orders/x#", Some("/api/x")),
        // What is allowed stands behind it.
        ("/orders/y#/x", None),
        ("/orders#/x", None),
        ("/orders/#x", None),
        // So does the connector.
        ("/#/orders/x", None),
        ("/nowhere#/orders/x", None),
        ("#/orders/x", None),
    ];
    for (stream, (path, expected)) in (1..).step_by(2).zip(cases) {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
        ];
        let asked = frames::head(END_STREAM, stream, &fields);
        frames.write(asked).await.unwrap();
        let told = frames.telling().await.unwrap();
        // RFC 7541, appendix A: `:status: 200` is one byte.
        let is_200 = told.kind == HEADERS && told.payload.first() == Some(&0x88);
        assert_eq!(
            (told.stream, is_200),
            (stream, expected.is_some()),
            "{path}"
        );
        let mut last = told;
        while last.kind != RST_STREAM && last.flags & END_STREAM == 0 {
            last = frames.telling().await.unwrap();
        }
    }

    let arrived = scene.origin.wire();
    let arrived: Vec<_> = arrived.iter().map(Message::target).collect();
    let expected = cases.iter().filter_map(|(_, expected)| *expected);
    assert_eq!(arrived, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn bytes_beyond_ascii_travel_as_they_are_and_what_no_target_may_hold_is_refused() {
    let scene = Scene::plain().await;

    get(&scene, "/orders/\u{e4}[x]?\u{20ac}", "").await;
    for target in ["/orders/<", "/orders/x?\u{1}", "/orders/x?\u{7f}"] {
        assert_eq!(get(&scene, target, "").await.status(), 400, "{target:?}");
    }

    let arrived = scene.origin.wire();
    let arrived: Vec<_> = arrived.iter().map(Message::target).collect();
    let bytes = "/api/\u{e4}[x]?\u{20ac}".bytes().map(char::from);
    assert_eq!(arrived, [bytes.collect::<String>()]);
}
