//! The head that the origin receives: exactly what may travel, and what the gateway sets.

use crate::support::client::Client;
use crate::support::message::Message;
use crate::support::scene::{CREDENTIAL, Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

/// Sends a GET for `/orders/x` with the lines `fields` and says what arrived.
async fn arrived(scene: &Scene, fields: &str) -> Message {
    let mut wire = Wire::plain(scene.gateway.flows()).await;
    wire.write(format!(
        "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    ))
    .await;
    assert_eq!(wire.answer().await.status(), 200, "{fields:?}");
    scene.origin.wire().pop().unwrap()
}

fn names(message: &Message) -> Vec<String> {
    let names = message.fields.iter().map(|(name, _)| name.to_lowercase());
    names.collect()
}

/// The pseudonym by which the gateway signs `Via`.
fn pseudonym(message: &Message) -> String {
    let last = message.all("via").pop().unwrap().to_owned();
    last.split_once(' ').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_plain_request_arrives_as_these_bytes_and_no_others() {
    // protocol.md, points 9 and 10.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        "GET /orders/x?y=%27 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: flow\r\n\
         Accept: */*\r\nX-Request-Id: r-1\r\n\r\n",
    )
    .await;
    wire.answer().await;

    let host = format!("localhost:{}", scene.origin.address().port());
    let via = pseudonym(&scene.origin.wire()[0]);
    let bytes = String::from_utf8(scene.origin.bytes()[0].clone()).unwrap();
    let mut lines: Vec<_> = bytes.split("\r\n").collect();
    lines[1..].sort_unstable();
    let mut expected = vec![
        "GET /api/x?y=%27 HTTP/1.1".to_owned(),
        String::new(),
        String::new(),
        "accept: */*".to_owned(),
        format!("authorization: {CREDENTIAL}"),
        format!("host: {host}"),
        "user-agent: flow".to_owned(),
        format!("via: 1.1 {via}"),
        "x-request-id: r-1".to_owned(),
    ];
    expected[1..].sort_unstable();
    assert_eq!(lines, expected);
    assert!(bytes.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn what_a_flow_says_of_itself_or_of_credentials_never_travels() {
    // protocol.md, line 52, row 51.
    // RFC 9700 §4.13; protocol.md, row 58.
    const OWN: &[(&str, &str)] = &[
        ("authorization", "Bearer flow"),
        ("proxy-authorization", "Basic flow"),
        ("forwarded", "for=1.2.3.4;host=evil.example"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-user", "root"),
        ("cookie", "session=flow"),
    ];
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::new()
        })
        .await;
        let fields = [OWN, &[("connector-id", "orders")]].concat();
        let mut http1 = Client::http1(scene.gateway.flows()).await;
        let mut http2 = Client::http2(scene.gateway.flows()).await;

        http1.call("GET", "/x", &fields, "").await;
        http2.call("GET", "/x", &fields, "").await;

        for request in scene.origin.requests() {
            assert_eq!(request.field("authorization"), Some(CREDENTIAL));
            for (name, _) in &fields[1..] {
                assert_eq!(request.field(name), None, "{name} over {protocols:?}");
            }
            assert!(!format!("{:?}", request.fields).contains("flow"));
        }
        assert_eq!(scene.origin.requests().len(), 2);
    }
}

#[tokio::test]
async fn names_that_equal_one_of_ours_but_for_an_underscore_never_travel() {
    // RFC 3875 §4.1.18 makes them one; protocol.md, row 33.
    let scene = Scene::start(Plan {
        connector: &["auth: { header: { name: X-Api-Key, value: k-1 } }"],
        ..Plan::new()
    })
    .await;

    let message = arrived(
        &scene,
        "X_Api_Key: flow\r\nX-Api_Key: flow\r\nX-Api-Key: flow\r\nProxy_Authorization: flow\r\n\
         X_Forwarded_User: flow\r\nX_Forwarded-For: flow\r\nX_Request_Id: flow\r\n\
         Content_Length: 9\r\nTransfer_Encoding: chunked\r\nConnector_Id: flow\r\n\
         Under_Score: stays\r\n",
    )
    .await;

    assert_eq!(message.field("x-api-key"), Some("k-1"));
    assert_eq!(message.field("under_score"), Some("stays"));
    let underscored: Vec<_> = names(&message)
        .into_iter()
        .filter(|name| name.contains('_'))
        .collect();
    assert_eq!(underscored, ["under_score"]);
}

#[tokio::test]
async fn a_flows_own_authorization_never_travels_even_where_the_connector_has_none() {
    let scene = Scene::start(Plan {
        connector: &["auth: none"],
        ..Plan::new()
    })
    .await;

    let message = arrived(&scene, "Authorization: Bearer flow\r\n").await;

    assert_eq!(message.field("authorization"), None);
}

#[tokio::test]
async fn connection_cannot_strip_what_the_gateway_sets() {
    // RFC 9110 §7.6.1; protocol.md, line 3, row 32, points 1 and 11.
    let scene = Scene::start(Plan {
        connector: &["forwarded: true"],
        ..Plan::new()
    })
    .await;

    let message = arrived(
        &scene,
        "Connection: authorization, host, content-length, via, x-request-id, forwarded\r\n\
         Connection: Authorization,Via\r\nX-Request-Id: r-1\r\n",
    )
    .await;

    assert_eq!(message.field("authorization"), Some(CREDENTIAL));
    assert_eq!(message.all("via").len(), 1);
    assert_eq!(message.field("x-request-id"), Some("r-1"));
    assert_eq!(message.field("forwarded"), Some("for=127.0.0.1;proto=http"));
    assert_eq!(message.all("host").len(), 1);
}

#[tokio::test]
async fn connection_named_host_keeps_a_bodys_framing() {
    // protocol.md, row 32: Content-Length is the gateway's own, too.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\
         Connection: content-length, transfer-encoding, host\r\n\r\nabc",
    )
    .await;
    wire.answer().await;

    let message = &scene.origin.wire()[0];
    assert_eq!(message.field("content-length"), Some("3"));
    assert_eq!(message.text(), "abc");
}

#[tokio::test]
async fn fields_of_one_connection_are_dropped_whether_connection_names_them_or_not() {
    // RFC 9110 §7.6.1; protocol.md, lines 1 and 2 and point 1.
    let scene = Scene::plain().await;

    let message = arrived(
        &scene,
        "Connection: keep-alive, X-Hop\r\nConnection:x-other ,,X-HOP\r\nX-Hop: 1\r\nX-Hop: 2\r\n\
         x-other: 3\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\
         Upgrade: websocket\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Stays: 4\r\n",
    )
    .await;

    let mut names = names(&message);
    names.sort_unstable();
    assert_eq!(
        names,
        ["authorization", "host", "via", "x-request-id", "x-stays"]
    );
}

#[tokio::test]
async fn a_connection_field_that_is_no_text_is_dropped_and_so_is_what_others_name() {
    // protocol.md, row 8.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write(
        b"GET /orders/x HTTP/1.1\r\nHost: localhost\r\nConnection: \xff\xfe\r\nConnection: x-hop\r\n\
          X-Hop: 1\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.status(), 200);

    let message = &scene.origin.wire()[0];
    assert_eq!(message.all("connection"), [""; 0]);
    assert_eq!(message.field("x-hop"), None);
}

#[tokio::test]
async fn te_travels_as_trailers_alone_and_named_in_connection() {
    // RFC 9110 §10.1.4; protocol.md, line 4 and point 1.
    let scene = Scene::plain().await;

    let message = arrived(&scene, "TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n").await;

    assert_eq!(message.field("te"), Some("trailers"));
    assert_eq!(message.field("connection"), Some("te"));
}

#[tokio::test]
async fn unknown_fields_travel_in_order_and_with_their_exact_values() {
    // RFC 9110 §5.1, §5.3; protocol.md, lines 8, 9 and 17.
    let scene = Scene::plain().await;

    let message = arrived(
        &scene,
        "X-One: b\r\nAccept: text/html;q=0.5\r\nx-one: a, c\r\nRange: bytes=0-1,-5\r\nX-Empty:\r\n\
         X-One:  \t spaced  inside\t\r\nIf-None-Match: W/\"x\", \"y\"\r\n",
    )
    .await;

    assert_eq!(message.all("x-one"), ["b", "a, c", "spaced  inside"]);
    assert_eq!(message.field("range"), Some("bytes=0-1,-5"));
    assert_eq!(message.field("x-empty"), Some(""));
    assert_eq!(message.field("if-none-match"), Some("W/\"x\", \"y\""));
}

#[tokio::test]
async fn via_is_added_behind_the_flows_own_and_names_no_host() {
    // RFC 9110 §7.6.3; protocol.md, line 5.
    let scene = Scene::plain().await;
    let mut http2 = Client::http2(scene.gateway.flows()).await;

    let message = arrived(&scene, "Via: 1.0 fred, 1.1 p.example\r\nVia: HTTP/3 q\r\n").await;
    http2.get("/orders/x").await;

    let ours = pseudonym(&message);
    assert!(ours.starts_with("attache-"), "{ours}");
    assert_eq!(
        message.all("via"),
        [
            "1.0 fred, 1.1 p.example",
            "HTTP/3 q",
            &format!("1.1 {ours}")
        ]
    );
    let second = &scene.origin.wire()[1];
    assert_eq!(second.all("via"), [format!("2 {ours}")]);
}

#[tokio::test]
async fn options_goes_no_further_than_max_forwards_says() {
    // RFC 9110 §7.6.2; protocol.md, line 7.
    let scene = Scene::plain().await;
    let mut client = Client::http1(scene.gateway.flows()).await;
    let hops = |count| [("max-forwards", count)];

    let here = client.call("OPTIONS", "/orders/x", &hops("0"), "").await;
    let there = client.call("OPTIONS", "/orders/x", &hops("7"), "").await;
    let other = client.call("GET", "/orders/x", &hops("0"), "").await;
    let refused = client.call("OPTIONS", "/nobody/x", &hops("0"), "").await;

    assert_eq!(here.status, 204);
    assert!(here.field("allow").unwrap().contains("OPTIONS"));
    assert_eq!(
        (there.text(), other.text()),
        ("ok".to_owned(), "ok".to_owned())
    );
    assert_eq!(refused.status, 404);
    let arrived = scene.origin.wire();
    let counts: Vec<_> = arrived
        .iter()
        .map(|message| message.field("max-forwards"))
        .collect();
    assert_eq!(counts, [Some("6"), Some("0")]);
}

#[tokio::test]
async fn forwarded_is_said_only_where_the_connector_asks_for_it() {
    // RFC 7239 §4.
    let scene = Scene::start(Plan {
        connector: &["forwarded: true"],
        ..Plan::new()
    })
    .await;

    let message = arrived(&scene, "Forwarded: for=9.9.9.9\r\n").await;

    assert_eq!(message.all("forwarded"), ["for=127.0.0.1;proto=http"]);
}

#[tokio::test]
async fn cookies_travel_only_where_the_connector_passes_them_and_as_one_line() {
    // RFC 9113 §8.2.3; protocol.md, line 33 and point 4.
    let scene = Scene::start(Plan {
        connector: &["cookies: pass"],
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=\"3\"")];

    client.call("GET", "/orders/x", &crumbs, "").await;
    let message = arrived(&scene, "Cookie: d=4; e=5\r\n").await;

    assert_eq!(scene.origin.wire()[0].all("cookie"), ["a=1; b=2; c=\"3\""]);
    assert_eq!(message.all("cookie"), ["d=4; e=5"]);
}

#[tokio::test]
async fn an_http10_request_goes_out_as_http11_and_its_connection_closes() {
    // RFC 9112 §2.3, §9.3; protocol.md, lines 29 and 30.
    let scene = Scene::plain().await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    wire.write("GET /orders/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = String::from_utf8(wire.rest().await).unwrap();

    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    let message = &scene.origin.wire()[0];
    assert!(message.start.ends_with(" HTTP/1.1"));
    assert!(message.field("via").unwrap().starts_with("1.0 "));
}

#[tokio::test]
async fn a_sane_request_id_travels_and_any_other_is_replaced() {
    let scene = Scene::plain().await;

    let sane = arrived(&scene, "X-Request-Id: Root=1-67a:b/c@d\r\n").await;
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
    for fields in [
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\"b\r\n",
        "X-Request-Id:\r\n",
        "X-Request-Id: one\r\nX-Request-Id: two\r\n",
        "",
        &long,
    ] {
        let message = arrived(&scene, fields).await;
        let made = uuid::Uuid::parse_str(message.field("x-request-id").unwrap()).unwrap();
        assert_eq!(made.get_version_num(), 7, "{fields:?}");
    }

    assert_eq!(sane.field("x-request-id"), Some("Root=1-67a:b/c@d"));
}
