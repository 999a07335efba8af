//! Floods of HTTP/2 frames: rows 10 to 14, 20, 30, 31 and 60 of protocol.md's table.

use crate::support::client::Client;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, Frames, HEADERS, PING, PREFACE,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, head,
};
use crate::support::scene::Scene;
use crate::support::within;

use super::{ENHANCE_YOUR_CALM, Ended, Target, asking, stream};

use tokio::net::TcpStream;

/// Requests that a client may have side by side, and resets that it may provoke.
const STREAMS_MAX: usize = 128;
const PROVOKED_RESETS_MAX: usize = 256;
/// RFC 9113 §7.
const CANCEL: [u8; 4] = 8u32.to_be_bytes();

#[tokio::test]
async fn content_without_a_byte_is_not_taken_for_ever() {
    // RFC 9113 §10.5; protocol.md, row 10 (RUSTSEC-2026-0258).
    let target = Target::start("").await;
    let post = asking(0, 1, "POST", &[]);
    let empty = frame(DATA, 0, 1, b"").repeat(100);

    let outcome = target
        .flood([post].into_iter().chain(vec![empty; 400]))
        .await;

    assert_eq!(outcome.ended, Ended::Told(ENHANCE_YOUR_CALM));
    target.claim_unharmed("DATA without data", 1).await;
}

#[tokio::test]
async fn a_head_that_goes_on_for_ever_ends_its_connection() {
    // RFC 9113 §10.5.1; protocol.md, row 11 (RUSTSEC-2024-0332).
    for (what, piece) in [
        ("CONTINUATION of nothing", Vec::new()),
        ("CONTINUATION of a field", field("x-odd", "y")),
        ("CONTINUATION of 16 KiB", field("x-odd", vec![b'y'; 16_000])),
    ] {
        let target = Target::start("").await;
        let begun = frame(HEADERS, END_STREAM, 1, &field(":method", "GET"));
        let pieces = vec![frame(CONTINUATION, 0, 1, &piece); 20_000];

        let outcome = target.flood([begun].into_iter().chain(pieces)).await;

        assert_ne!(outcome.ended, Ended::Not, "{what}");
        target.claim_unharmed(what, 0).await;
    }
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_their_connection() {
    // RFC 9113 §10.5; protocol.md, row 12 (CVE-2023-44487).
    let target = Target::start("").await;
    let pairs = (0..20_000).map(stream).map(|stream| {
        let ask = asking(END_STREAM, stream, "GET", &[]);
        [ask, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    let pairs: Vec<u8> = pairs.collect::<Vec<_>>().concat();

    let outcome = target.flood([pairs]).await;

    assert_eq!(outcome.ended, Ended::Told(ENHANCE_YOUR_CALM));
    target.claim_unharmed("rapid resets", STREAMS_MAX).await;
}

#[tokio::test]
async fn requests_that_make_the_gateway_reset_them_end_their_connection() {
    // RFC 9113 §5.4.2, §6.9, §8.1.1; protocol.md, row 13 (CVE-2025-8671).
    type Provoke = fn(u32) -> Vec<u8>;
    let all: [(&str, Provoke); 4] = [
        ("room for nothing", |stream| {
            let ask = asking(END_STREAM, stream, "GET", &[]);
            [ask, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        }),
        ("room for too much", |stream| {
            let ask = asking(END_STREAM, stream, "GET", &[]);
            [
                ask,
                frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        }),
        ("more content than its length", |stream| {
            let ask = asking(0, stream, "POST", &[("content-length", "1")]);
            [ask, frame(DATA, END_STREAM, stream, b"more")].concat()
        }),
        ("a second head that does not end", |stream| {
            let ask = asking(0, stream, "POST", &[]);
            [ask, asking(0, stream, "POST", &[])].concat()
        }),
    ];
    for (what, provoke) in all {
        let target = Target::start("").await;
        let provoking: Vec<_> = (0..5_000).map(stream).map(provoke).collect();

        let outcome = target.flood([provoking.concat()]).await;

        // RFC 9113 lets a server end the connection at the first, too.
        assert!(matches!(outcome.ended, Ended::Told(_)), "{what}");
        target.claim_unharmed(what, PROVOKED_RESETS_MAX).await;
    }
}

#[tokio::test]
async fn crumbs_of_cookies_count_as_the_fields_they_are() {
    // RFC 9113 §8.2.3; protocol.md, row 14 (CVE-2026-47774).
    let target = Target::start("").await;
    for count in [10_000, 101] {
        let crumbs = [("cookie", "a=b")].repeat(count);
        let block: Vec<u8> = asking(END_STREAM, 1, "GET", &crumbs)[FRAME_HEAD..].to_vec();
        let mut frames = Vec::new();
        for (number, piece) in block.chunks(16_000).enumerate() {
            let (kind, flags) = match number {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            frames.extend(frame(kind, flags, 1, piece));
        }
        frames.extend(frame(CONTINUATION, END_HEADERS, 1, b""));

        let outcome = target.flood([frames]).await;

        assert!(!outcome.is_answered_well(1), "{count} crumbs");
    }
    target.claim_unharmed("crumbs", 0).await;
}

#[tokio::test]
async fn connect_with_or_without_a_path_is_refused_and_nobody_falls_over() {
    // RFC 9113 §8.5, RFC 8441 §4; protocol.md, line 36, rows 19 and 20.
    let target = Target::start("").await;
    let whole = [
        (":method", "CONNECT"),
        (":authority", "localhost"),
        (":scheme", "http"),
        (":path", "/orders/x"),
        (":protocol", "websocket"),
    ];
    for left_out in 0..1 << (whole.len() - 1) {
        let kept = |n: &usize| *n == 0 || left_out & (1 << (n - 1)) == 0;
        let fields: Vec<_> = (0..whole.len()).filter(kept).map(|n| whole[n]).collect();
        for flags in [0, END_STREAM] {
            let connect = head(flags, 1, &fields);
            let next = asking(END_STREAM, 3, "GET", &[]);

            let outcome = target.flood([[connect, next].concat()]).await;

            assert!(!outcome.is_answered_well(1), "{fields:?}");
        }
    }
    // The requests behind it, where it did not end their connection.
    target.claim_unharmed("CONNECT", 1 << whole.len()).await;
}

#[tokio::test]
async fn a_request_without_a_path_is_refused_whatever_its_method() {
    // RFC 9113 §8.3.1; protocol.md, row 20.
    let target = Target::start("").await;
    for method in ["GET", "POST", "OPTIONS", "HEAD", "DELETE", "X"] {
        let fields = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "localhost"),
        ];

        let outcome = target.flood([head(END_STREAM, 1, &fields)]).await;

        assert!(!outcome.is_answered_well(1), "{method}");
    }
    target.claim_unharmed("no path", 0).await;
}

#[tokio::test]
async fn content_shorter_than_its_length_ends_the_request_and_its_upstream_connection() {
    // RFC 9113 §8.1.1; protocol.md, line 35 and row 30 (CVE-2026-33555).
    let scene = Scene::plain().await;
    let mut warm = Client::http2(scene.gateway.flows()).await;
    warm.get("/orders/x").await;
    let socket = TcpStream::connect(scene.gateway.flows()).await.unwrap();
    let mut frames = Frames::over(socket);
    let ask = asking(0, 1, "POST", &[("content-length", "50")]);
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &ask].concat();

    frames.write(opening).await.unwrap();
    scene.origin.until(|tally| tally.heads == 2).await;
    frames
        .write(frame(DATA, END_STREAM, 1, b"abc"))
        .await
        .unwrap();
    let reset = within("a reset", async {
        loop {
            let frame = frames.telling().await.unwrap();
            if frame.stream == 1 {
                break frame;
            }
        }
    })
    .await;
    let broken = scene.origin.requests()[1].connection;
    let closed = scene.origin.until(|tally| tally.closed > 0).await;
    for _ in 0..3 {
        assert_eq!(warm.get("/orders/x").await.text(), "ok");
    }

    assert_eq!(reset.kind, RST_STREAM);
    assert_eq!((closed.whole, closed.closed), (1, 1));
    let arrived = scene.origin.requests();
    assert_eq!(arrived.len(), 5);
    assert!(
        arrived[2..]
            .iter()
            .all(|request| request.connection != broken)
    );
}

#[tokio::test]
async fn a_flow_that_gives_no_room_for_its_answer_costs_no_time_and_is_given_up() {
    // RFC 9113 §5.2, §10.5; protocol.md, row 31 (CVE-2024-45506).
    let target = Target::start("timeouts: { write: 2s, drain_delay: 0s }\n").await;
    let large = |stream: u32| {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", "/orders/large"),
        ];
        head(END_STREAM, stream, &fields)
    };
    // RFC 9113 §6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
    let no_room = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let socket = TcpStream::connect(target.flows).await.unwrap();
    let mut frames = Frames::over(socket);
    let opening = [PREFACE, &no_room, &large(1), &large(3)].concat();
    frames.write(opening).await.unwrap();
    target
        .origin
        .until(|tally| tally.whole == target.before_heads + 2)
        .await;
    let (cpu, began) = (target.child.worked(), std::time::Instant::now());

    let mut given_up = 0;
    while given_up < 2 {
        match frames.telling().await {
            Some(frame) if frame.kind == RST_STREAM => given_up += 1,
            Some(frame) => assert_ne!(frame.kind, DATA),
            None => break,
        }
    }

    let (used, took) = (target.child.worked() - cpu, began.elapsed());
    assert!(used < took / 4, "{used:?} of {took:?}");
    target.claim_unharmed("no room for answers", 2).await;
}

#[tokio::test]
async fn content_behind_a_reset_is_ignored() {
    // RFC 9113 §5.1; protocol.md, row 60 (CVE-2026-26311).
    let target = Target::start("").await;
    for behind in [
        frame(DATA, 0, 1, b"late"),
        frame(DATA, END_STREAM, 1, b"late"),
        frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(10),
        asking(END_STREAM, 1, "POST", &[]),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
        frame(RST_STREAM, 0, 1, &CANCEL),
    ] {
        let frames = [
            asking(0, 1, "POST", &[("content-length", "4")]),
            frame(RST_STREAM, 0, 1, &CANCEL),
            behind,
            asking(END_STREAM, 3, "GET", &[]),
        ];

        target.flood([frames.concat()]).await;
    }
    assert_eq!(
        target.origin.tally().whole - target.before_heads,
        target.asked(),
        "no request looks whole that was taken back"
    );
    target.claim_unharmed("DATA behind a reset", 12).await;
}

#[tokio::test]
async fn a_client_that_asks_for_replies_and_reads_none_costs_no_memory() {
    // RFC 9113 §10.5: SETTINGS, PING, PRIORITY, WINDOW_UPDATE.
    for (what, piece) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
        ("PRIORITY", frame(PRIORITY, 0, 1001, &[0, 0, 0, 0, 9])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown frame", frame(0xfe, 0xff, 9, b"whatever")),
    ] {
        let target = Target::start("").await;
        let socket = TcpStream::connect(target.flows).await.unwrap();
        let mut frames = Frames::over(socket);
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        frames.write(opening).await.unwrap();

        // As much as it takes; what the gateway does not read any more does not go out.
        let flood = async {
            for _ in 0..200 {
                if frames.write(piece.repeat(1000)).await.is_err() {
                    return;
                }
            }
        };
        let patience = std::time::Duration::from_secs(2);
        let _ = tokio::time::timeout(patience, flood).await;

        target.claim_unharmed(what, 0).await;
    }
}
