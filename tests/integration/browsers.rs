//! Browsers: no web page uses the gateway through its visitor, whatever the page tries.

use http::Version;

use crate::support::answer::Answer;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::origin;
use crate::support::passage::{ALLOWED, Between};
use crate::support::scene::{Plan, Scene};
use crate::support::wire::Wire;

/// What browsers put into requests that a page has them send (RFC 6454 §7, Fetch Metadata, Fetch
/// §4.8).
const MARKS: &[(&str, &str)] = &[
    ("origin", "https://attacker.example"),
    ("origin", "null"),
    ("origin", ""),
    // That the page itself came through the gateway makes it nobody's friend.
    ("origin", "http://localhost"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-site", ""),
    ("access-control-request-method", "GET"),
];

/// An origin that lets every page in.
fn generous() -> Plan {
    Plan::answering(origin::whole(|request| {
        Answer::text(&request.method)
            .field("Access-Control-Allow-Origin", "*")
            .field("Access-Control-Allow-Credentials", "true")
            .field("Vary", "Origin")
    }))
}

fn allows_nothing(answer: &Answered) {
    let cors = |(name, _): &&(String, String)| name.starts_with("access-control");
    assert_eq!(answer.fields.iter().find(cors), None);
    assert_eq!(answer.field("timing-allow-origin"), None);
    assert_eq!(answer.field("cross-origin-resource-policy"), None);
}

async fn both(gateway: &Running) -> [Client; 2] {
    [
        Client::http1(gateway.flows()).await,
        Client::http2(gateway.flows()).await,
    ]
}

#[tokio::test]
async fn what_a_page_makes_a_browser_send_is_refused_before_anything_else_is_looked_at() {
    let scene = Scene::start(generous()).await;

    for mut client in both(&scene.gateway).await {
        for mark in MARKS {
            for (method, target) in [
                ("GET", "/orders/x"),
                ("POST", "/orders/x"),
                ("OPTIONS", "/orders/x"),
                ("OPTIONS", "/nowhere"),
                ("GET", "/orders/../x"),
                ("TRACE", "/orders/x"),
            ] {
                let answer = client.call(method, target, &[*mark], "").await;

                assert_eq!(answer.status, 403, "{method} {target} {mark:?}");
                assert_eq!(answer.reason(), "browser-refused");
                allows_nothing(&answer);
            }
        }
    }

    assert_eq!(scene.origin.tally().accepted, 0);
    let count = u32::try_from(2 * 6 * MARKS.len()).unwrap();
    let labels = [("connector", "none"), ("reason", "browser-refused")];
    let refused = scene.gateway.sample("attache_refused_total", &labels);
    assert_eq!(refused.await, f64::from(count));
}

#[tokio::test]
async fn a_mark_is_found_among_others_and_no_other_field_of_the_request_hides_it() {
    let scene = Scene::start(generous()).await;

    for fields in [
        "Origin: https://a.example\r\nOrigin: https://b.example\r\n",
        "ORIGIN:null\r\n",
        "Connection: origin\r\nOrigin: https://a.example\r\n",
        "Connection: sec-fetch-site\r\nSec-Fetch-Site: cross-site\r\n",
        "Connector-Id: orders\r\nSec-Fetch-Site: cross-site\r\n",
        "Authorization: Bearer some-key\r\nSec-Fetch-Site: cross-site\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nUser-Agent: curl/8\r\nOrigin: null\r\n",
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!(
            "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ))
        .await;

        let answer = Answered::from(wire.answer().await);

        assert_eq!(answer.reason(), "browser-refused", "{fields}");
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_page_s_websocket_is_refused_and_a_flow_s_is_not() {
    // RFC 6455 §10.2: browsers say a page's origin, and ask for no permission first.
    let between = Between::allowing().await;
    let mut page = Wire::plain(between.gateway.flows()).await;
    page.write(
        "GET /orders/chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nOrigin: https://attacker.example\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .await;

    let answer = page.answer().await;

    assert_eq!(answer.status(), 403);
    assert_eq!(answer.reason(), "browser-refused");
    let (mut near, mut far) = between.opened().await;
    near.write("ping").await;
    assert_eq!(far.bytes(4).await, b"ping");
}

/// A page whose own name was made to lead here says nothing of another origin; its name betrays it.
#[tokio::test]
async fn a_name_that_was_led_here_is_refused_in_whatever_form_it_comes() {
    let scene = Scene::start(generous()).await;

    for (target, host) in [
        ("/orders/x", "attacker.example"),
        ("/orders/x", "attacker.example."),
        ("/orders/x", "ATTACKER.EXAMPLE:8080"),
        ("/orders/x", "localhost.attacker.example"),
        ("/orders/x", "127.0.0.1.attacker.example"),
        ("/orders/x", "127.0.0.1.nip.example"),
        ("/orders/x", "localhost.."),
        ("/orders/x", "0.0.0.0"),
        ("/orders/x", "[::]"),
        ("/orders/x", "[::ffff:192.0.2.7]"),
        ("/orders/x", "192.0.2.7"),
        // RFC 9112 §3.2.2: the target's host counts, and has to be said twice.
        ("http://attacker.example/orders/x", "attacker.example"),
        ("http://attacker.example/orders/x", "localhost"),
        ("http://attacker.example./orders/x", "attacker.example."),
        ("http://localhost/orders/x", "attacker.example"),
        ("http://localhost./orders/x", "localhost"),
    ] {
        let mut wire = Wire::plain(scene.gateway.flows()).await;
        wire.write(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;

        let answer = Answered::from(wire.answer().await);

        assert_eq!(
            (answer.status.as_u16(), answer.reason().as_str()),
            (400, "bad-host"),
            "{target} {host}"
        );
        allows_nothing(&answer);
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn no_answer_of_the_gateway_s_own_allows_a_page_anything() {
    let plan = Plan {
        connector: &["allow: [{ paths: [/open] }]"],
        settings: "inbound: { browsers: allow }\n",
        ..generous()
    };
    let scene = Scene::start(plan).await;
    let origin = ("origin", "https://a.example");
    let asks = ("access-control-request-method", "PUT");
    let last = ("max-forwards", "0");

    for mut client in both(&scene.gateway).await {
        for (method, target, status) in [
            ("OPTIONS", "/orders/closed", 403),
            ("OPTIONS", "/nowhere", 404),
            ("OPTIONS", "/orders/%2e%2e/x", 400),
            ("TRACE", "/orders/open", 405),
            ("OPTIONS", "/orders/open", 204),
        ] {
            let answer = client.call(method, target, &[origin, asks, last], "").await;

            assert_eq!(answer.status, status, "{method} {target}");
            allows_nothing(&answer);
        }
    }
    assert_eq!(scene.origin.tally().accepted, 0);
}

#[tokio::test]
async fn where_browsers_are_allowed_what_the_origin_says_to_them_passes_as_it_came() {
    let plan = Plan {
        settings: "inbound: { browsers: allow }\n",
        ..generous()
    };
    let scene = Scene::start(plan).await;

    for (mut client, version) in both(&scene.gateway)
        .await
        .into_iter()
        .zip([Version::HTTP_11, Version::HTTP_2])
    {
        for mark in MARKS {
            let answer = client.call("OPTIONS", "/orders/x", &[*mark], "").await;

            assert_eq!((answer.status.as_u16(), answer.version), (200, version));
            assert_eq!(answer.text(), "OPTIONS");
            assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
            assert_eq!(
                answer.field("access-control-allow-credentials"),
                Some("true")
            );
            assert_eq!(answer.field("vary"), Some("Origin"));
        }
    }
    let asked = scene.origin.requests();
    let (name, value) = MARKS[0];
    assert_eq!(asked[0].field(name), Some(value));
}

#[tokio::test]
async fn a_reload_shuts_browsers_out_of_open_connections() {
    let plan = Plan {
        settings: "inbound: { browsers: allow }\n",
        ..generous()
    };
    let scene = Scene::start(plan).await;
    let [mut one, mut two] = both(&scene.gateway).await;
    for client in [&mut one, &mut two] {
        let answer = client.call("GET", "/orders/x", &MARKS[..1], "").await;
        assert_eq!(answer.status, 200);
    }

    let own = crate::support::scene::orders(&scene.origin.url("/api"), &[ALLOWED]);
    scene.gateway.reload(scene.stage.config(&own)).unwrap();

    for client in [&mut one, &mut two] {
        let answer = client.call("GET", "/orders/x", &MARKS[..1], "").await;
        assert_eq!(answer.reason(), "browser-refused");
    }
}
