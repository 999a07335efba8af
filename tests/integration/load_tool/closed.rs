//! Closed loops through a gateway: what is sent reaches the origin, and what comes back is counted.

use std::time::Duration;

use super::load::{Client, Exchange, Load, Outcome, Pace, Target, run};
use super::scene::Scene;

const LASTS: Duration = Duration::from_millis(200);
const CONNECTIONS: usize = 3;

fn load(exchange: Exchange, client: Client) -> Load {
    Load {
        name: "test",
        title: "a test",
        exchange,
        client,
        connections: CONNECTIONS,
        pace: Pace::Closed,
    }
}

async fn sent(load: Load, target: Target) -> Outcome {
    let running = tokio::task::spawn_blocking(move || run(&load, &target, LASTS));
    running.await.unwrap()
}

const SMALL: Exchange = Exchange::Get { answer_bytes: 100 };
const LARGE: Exchange = Exchange::Get {
    answer_bytes: 300_000,
};
const UPLOAD: Exchange = Exchange::Upload {
    request_bytes: 300_000,
};
const CLIENTS: [Client; 3] = [
    Client::KeptAlive,
    Client::NewEach,
    Client::Http2 { streams: 2 },
];

#[tokio::test]
async fn every_exchange_is_carried_by_every_client() {
    let scene = Scene::set().await;

    for client in CLIENTS {
        for exchange in [SMALL, LARGE, UPLOAD] {
            for target in [scene.through(), scene.past()] {
                let what = format!("{client:?} {exchange:?} {target:?}");
                let outcome = sent(load(exchange, client), target).await;
                assert_eq!(outcome.told, [""; 0], "{what}");
                assert_eq!(outcome.failures, 0, "{what}");
                assert!(outcome.requests > 0, "{what}");
                assert_eq!(outcome.latencies.len(), outcome.requests, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_larger_than_an_http2_window_is_read_to_its_end() {
    // RFC 9113 §6.9: 4 MiB is what each stream has before the client makes room again.
    let scene = Scene::set().await;
    let exchange = Exchange::Get {
        answer_bytes: 5 * 1024 * 1024,
    };

    let outcome = sent(
        load(exchange, Client::Http2 { streams: 1 }),
        scene.through(),
    )
    .await;

    assert_eq!(outcome.told, [""; 0]);
    assert!(outcome.requests > 0);
}

#[tokio::test]
async fn what_is_counted_is_what_the_origin_saw() {
    for (client, first) in [
        (Client::KeptAlive, CONNECTIONS),
        (Client::NewEach, CONNECTIONS),
        (Client::Http2 { streams: 4 }, CONNECTIONS * 4),
    ] {
        let scene = Scene::set().await;

        let outcome = sent(load(UPLOAD, client), scene.past()).await;

        // Each client has sent one before the clock started.
        let tally = scene.origin.tally();
        assert_eq!(tally.whole as u64, outcome.requests + first as u64);
        let connections = match client {
            Client::NewEach => tally.whole,
            Client::KeptAlive | Client::Http2 { .. } => CONNECTIONS,
        };
        assert_eq!(tally.handshaken, connections, "{client:?}");
        let sent = scene.origin.requests();
        assert!(sent.iter().all(|request| request.body.len() == 300_000));
    }
}

#[tokio::test]
async fn answers_of_another_length_are_failures() {
    let scene = Scene::set().await;
    // The answer to an upload is 100 bytes there; here it is asked for as one of 99.
    let target = Target {
        prefix: "/o/elsewhere".to_owned(),
        ..scene.through()
    };
    let exchange = Exchange::Get { answer_bytes: 99 };

    for client in CLIENTS {
        let outcome = sent(load(exchange, client), target.clone()).await;

        assert_eq!(outcome.requests, 0, "{client:?}");
        assert!(outcome.failures > 0, "{client:?}");
        let told = "answered 200 with 100 bytes";
        assert!(
            outcome.told.contains(&told.to_owned()),
            "{:?}",
            outcome.told
        );
    }
}

#[tokio::test]
async fn a_gateways_refusal_is_told_by_its_reason() {
    let scene = Scene::set().await;
    let target = Target {
        prefix: "/nobody".to_owned(),
        ..scene.through()
    };

    for client in CLIENTS {
        let outcome = sent(load(SMALL, client), target.clone()).await;

        assert_eq!(outcome.requests, 0, "{client:?}");
        let told = "answered 404 (attache: no-such-connector)";
        assert!(
            outcome.told.contains(&told.to_owned()),
            "{:?}",
            outcome.told
        );
    }
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_told_and_ends_nothing() {
    let scene = Scene::set().await;
    let plain = Target {
        tls: None,
        ..scene.past()
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target {
        address: nobody.local_addr().unwrap(),
        ..plain.clone()
    };
    drop(nobody);

    for client in CLIENTS {
        for target in [target.clone(), plain.clone()] {
            let outcome = sent(load(SMALL, client), target).await;

            assert_eq!(outcome.requests, 0, "{client:?}");
            assert!(outcome.failures > 0, "{client:?}");
            assert!(!outcome.told.is_empty(), "{client:?}");
        }
    }
}
