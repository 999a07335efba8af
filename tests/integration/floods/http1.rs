//! Floods of HTTP/1.1: rows 6 and 7 of protocol.md's table.

use crate::support::message::Kind;
use crate::support::wire::Wire;

use super::Target;

#[tokio::test]
async fn half_a_close_amid_a_body_ends_the_connection_and_costs_no_time() {
    // protocol.md, row 6 (hyper #4085).
    let settings = "timeouts: { idle: 2s, body: 20s, write: 20s, drain_delay: 0s }\n";
    let target = Target::start(settings).await;
    let mut idle = Wire::plain(target.flows).await;
    idle.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    idle.answer().await;
    let (cpu, began) = (target.child.worked(), std::time::Instant::now());

    for (framing, body) in [
        ("Content-Length: 100", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked", "40\r\nhalf"),
        ("Content-Length: 100", ""),
    ] {
        let mut wire = Wire::plain(target.flows).await;
        wire.write(format!(
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{body}"
        ))
        .await;
        wire.half_close().await;

        let answer = wire.message(Kind::Response).await;
        assert_eq!(answer.map(|answer| answer.status()), Ok(400), "{framing}");
        assert!(wire.is_closed().await, "{framing}");
    }
    // What goes round in circles still does when this one is closed.
    assert!(idle.is_closed().await);

    let (used, took) = (target.child.worked() - cpu, began.elapsed());
    assert!(used < took / 4, "{used:?} of {took:?}");
    target.claim_unharmed("half a close", 5).await;
}

#[tokio::test]
async fn a_head_of_a_mebibyte_is_refused_and_not_kept() {
    // protocol.md, row 7 (hyper #4081).
    let long = "x".repeat(1024 * 1024);
    let begun = "GET /orders/x HTTP/1.1\r\nHost: localhost\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let post = format!("POST /orders/x HTTP/1.1\r\nHost: localhost\r\n{chunked}");
    let target = Target::start("").await;
    for (what, bytes, statuses) in [
        ("a value", format!("{begun}X: {long}"), [431, 431]),
        (
            "a value with its end",
            format!("{begun}X: {long}\r\n\r\n"),
            [431, 431],
        ),
        ("a name", format!("{begun}{long}"), [431, 431]),
        (
            "many fields",
            format!("{begun}{}", "X: y\r\n".repeat(180_000)),
            [431, 431],
        ),
        ("a target", format!("GET /orders/{long}"), [431, 414]),
        ("a method", long.clone(), [431, 400]),
        (
            "an extension of a chunk",
            format!("{post}3;{long}"),
            [400, 431],
        ),
        ("a trailer", format!("{post}0\r\nX: {long}"), [400, 431]),
        (
            "many trailers",
            format!("{post}0\r\n{}", "X: y\r\n".repeat(180_000)),
            [400, 431],
        ),
    ] {
        for _ in 0..4 {
            let mut wire = Wire::plain(target.flows).await;
            // It may be refused before it is out.
            let _ = wire.try_write(&bytes).await;

            let answer = wire.message(Kind::Response).await.unwrap();

            assert!(
                statuses.contains(&answer.status()),
                "{what}: {}",
                answer.text()
            );
            assert!(wire.is_closed().await, "{what}");
        }
    }
    target.claim_unharmed("heads of 1 MiB", 40).await;
}
