//! What callers call things, and what that cannot do: neither grow the metrics nor reach anybody
//! over a stream that its sender has ended.

use std::collections::BTreeSet;

use crate::support::client::Client;
use crate::support::connector::{connector, connectors};
use crate::support::gateway::{Running, get};
use crate::support::origin::Origin;
use crate::support::scene::{Plan, Scene};
use crate::support::stage::Stage;
use crate::support::wire::Wire;

/// The names and labels of everything that is measured.
async fn series(gateway: &Running) -> BTreeSet<String> {
    let metrics = get(gateway.admin(), "/metrics").await.text();
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    names.collect()
}

/// Asks for a hundred connectors that are not there, half of them by methods that are not there.
async fn ask_for_a_hundred(wire: &mut Wire, first: usize) {
    let requests = (first..first + 100).map(|n| {
        let method = match n % 2 {
            0 => "GET".to_owned(),
            _ => format!("M{n}"),
        };
        format!("{method} /id-{n}/x HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r-{n}\r\n\r\n")
    });
    wire.write(requests.collect::<String>()).await;
    for n in first..first + 100 {
        assert_eq!(wire.answer().await.status(), 404, "request {n}");
    }
}

#[tokio::test]
async fn ten_thousand_unknown_ids_and_methods_add_no_series() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = connectors(&[connector("c", &origin.url("/"), "none")]);
    let gateway = Running::start(&stage, &own).await;
    let mut wire = Wire::plain(gateway.flows()).await;
    ask_for_a_hundred(&mut wire, 0).await;
    let before = series(&gateway).await;

    for first in (100..10_000).step_by(100) {
        ask_for_a_hundred(&mut wire, first).await;
    }

    let added: Vec<_> = series(&gateway)
        .await
        .difference(&before)
        .cloned()
        .collect();
    assert_eq!(added, [""; 0]);
    let unknown = [("connector", "none")];
    let counted = gateway.sample("attache_requests_total", &unknown).await;
    assert_eq!(counted, 10_000.0);
    gateway.drain().await;
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request (RFC 7541 §6.1, §6.2.2, nothing compressed).
fn fields(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x80 | method, 0x86];
    for (name, value) in [(4, path), (1, "localhost")] {
        block.extend([name, u8::try_from(value.len()).unwrap()]);
        block.extend(value.as_bytes());
    }
    block
}

#[tokio::test]
async fn data_behind_a_reset_reaches_nobody() {
    // RFC 9113 §5.1; protocol.md, row 60 (CVE-2026-26311).
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    // Entries of the static table (RFC 7541 appendix A).
    const GET: u8 = 2;
    const POST: u8 = 3;
    let scene = Scene::start(Plan::new()).await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    // All of it in one piece, so that it is read together.
    let all = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, b""),
        frame(HEADERS, 4, 1, &fields(POST, "/orders/reset")),
        frame(RESET, 0, 1, &8_u32.to_be_bytes()),
        frame(DATA, 1, 1, b"behind-the-reset"),
        frame(HEADERS, 5, 3, &fields(GET, "/orders/next")),
    ];
    wire.write(all.concat()).await;

    // What comes on the same connection is answered; its HEADERS begin with `:status: 200`.
    let mut answered = false;
    while !answered {
        let head = wire.bytes(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = wire.bytes(length as usize).await;
        answered = head[3] == HEADERS && head[8] == 3 && payload.first() == Some(&0x88);
    }
    let beside = Client::http2(scene.gateway.flows())
        .await
        .get("/orders/beside")
        .await;
    assert_eq!(beside.status, 200);
    for request in scene.origin.requests() {
        assert!(
            !format!("{request:?}").contains("behind-the-reset"),
            "{request:?}"
        );
    }
}
