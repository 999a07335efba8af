//! Fields by which a request says that it is another one than its head shows.

use crate::support::scene::{Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

/// Each with the spelling that servers cannot tell apart which turn names into variables (RFC 3875
/// §4.1.18).
const OVERRIDES: [[&str; 2]; 7] = [
    ["x-http-method", "x_http_method"],
    ["x-http-method-override", "x_http_method_override"],
    ["x-method-override", "x_method-override"],
    ["x-original-method", "x_original_method"],
    ["x-original-uri", "x-original_uri"],
    ["x-original-url", "x_original_url"],
    ["x-rewrite-url", "x_rewrite_url"],
];

#[tokio::test]
async fn where_rules_judge_a_request_no_field_makes_another_of_it_at_the_origin() {
    let ruled: &[&str] = &["allow: [{ methods: [GET, POST], paths: [/x] }]"];
    let names = OVERRIDES.as_flattened();
    let listed = names.join(", ");
    let fields: String = names
        .iter()
        .map(|name| format!("{name}: DELETE\r\n"))
        .collect();

    for (connector, arrives) in [(ruled, false), (&["allow: null"], true)] {
        for protocols in [Protocols::Http1, Protocols::Http2] {
            let scene = Scene::start(Plan {
                protocols,
                connector,
                ..Plan::new()
            })
            .await;
            let mut wire = Wire::plain(scene.gateway.flows()).await;

            wire.write(format!(
                "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\
                 Transfer-Encoding: chunked\r\nTrailer: X-Stays, {listed}\r\nX-Stays: 1\r\n{fields}\r\n2\r\nhi\r\n0\r\n\
                 X-Stays: 2\r\n{fields}\r\n"
            ))
            .await;
            assert_eq!(wire.answer().await.status(), 200);

            let arrived = scene.origin.only_request();
            let in_trailers = |name: &str| arrived.trailers.iter().any(|(one, _)| one == name);
            for name in names {
                assert_eq!(arrived.field(name).is_some(), arrives, "{name}");
                assert_eq!(in_trailers(name), arrives, "{name}, a trailer");
            }
            assert_eq!(arrived.field("x-stays"), Some("1"));
            assert!(in_trailers("x-stays"));
        }
    }
}
