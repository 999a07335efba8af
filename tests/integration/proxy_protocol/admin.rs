//! Administrators behind a balancer: each at an address of their own.

use attache::control::store::{AuditFilter, Page};

use super::{DESTINATION, REFUSED, SOURCE, bad_beginnings};
use crate::support::balancer::{self, header, wire, wire_from};
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::gateway::{Running, get, sample};
use crate::support::stage::Stage;
use crate::support::store_room::StoreRoom;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;

const ANYBODY: &str = "admin: { listen: 127.0.0.1:0, proxy_protocol: true }\n\
    metrics: { listen: 127.0.0.1:0 }\nconnectors: []\n";
const GET: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const ELSEWHERE: &str = "203.0.113.8:51000";

async fn refused(gateway: &Running, reason: &str) -> f64 {
    let labels = [("listener", "admin"), ("reason", reason)];
    sample(gateway.metrics().unwrap(), REFUSED, &labels).await
}

async fn ask(client: &mut Client, token: &str, target: &str) -> Answered {
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", bearer.as_str())];
    let target = format!("/api/v1{target}");
    client
        .call("GET", &target, &fields, Outgoing::Whole(None))
        .await
}

#[tokio::test]
async fn a_connection_that_does_not_begin_with_a_good_header_is_told_nothing() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, ANYBODY).await;
    let (mut missing, mut malformed) = (0.0, 0.0);

    for (begins, reason) in bad_beginnings() {
        let mut client = wire(gateway.admin(), &begins).await;
        assert!(client.is_closed().await, "{}", begins.escape_ascii());
        match reason {
            "missing" => missing += 1.0,
            _ => malformed += 1.0,
        }
    }

    assert_eq!(refused(&gateway, "missing").await, missing);
    assert_eq!(refused(&gateway, "malformed").await, malformed);
    // What scrapers and probes have is without a header, as ever.
    assert_eq!(get(gateway.metrics().unwrap(), "/livez").await.status, 200);
}

#[tokio::test]
async fn who_comes_from_outside_balancers_is_closed_whatever_it_says() {
    let stage = Stage::new();
    let settings = ANYBODY.replace("true }", "true, balancers: [127.0.0.2] }");
    let gateway = Running::start(&stage, &settings).await;
    let said = [&header(SOURCE, DESTINATION)[..], GET.as_bytes()].concat();

    assert!(Wire::plain(gateway.admin()).await.is_closed().await);
    assert_eq!(refused(&gateway, "stranger").await, 1.0);

    let mut balancer = wire_from("127.0.0.2", gateway.admin()).await;
    balancer.write(said).await;
    assert_eq!(balancer.answer().await.status(), 200);
}

#[tokio::test]
async fn whoever_is_silent_before_or_within_its_header_is_closed() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, ANYBODY).await;
    let whole = header(SOURCE, DESTINATION);
    let mut silent = Vec::new();
    for cut in [0, 1, 16, whole.len() - 1] {
        silent.push(wire(gateway.admin(), &whole[..cut]).await);
    }

    for client in &mut silent {
        assert!(client.is_closed().await);
    }
    for reason in ["stranger", "missing", "malformed"] {
        assert_eq!(refused(&gateway, reason).await, 0.0);
    }
}

#[tokio::test]
async fn a_header_may_come_in_any_two_pieces() {
    let stage = Stage::new();
    let gateway = Running::start(&stage, ANYBODY).await;
    let header = header(SOURCE, DESTINATION);

    for cut in 1..header.len() {
        let mut client = wire(gateway.admin(), &header[..cut]).await;
        tokio::task::yield_now().await;
        client
            .write([&header[cut..], GET.as_bytes()].concat())
            .await;
        assert_eq!(client.answer().await.status(), 200, "{cut}");
    }
}

#[tokio::test]
async fn tls_is_spoken_behind_a_header() {
    let stage = Stage::new();
    stage.server().write(stage.directory(), "gw");
    let identity = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }, proxy";
    let settings = ANYBODY.replace("proxy", identity);
    let gateway = Running::start(&stage, &settings).await;
    let config = tls::client(&stage.ca, None, Protocols::Http1);

    let header = header(SOURCE, DESTINATION);
    let mut client = balancer::tls(gateway.admin(), &header, config).await;

    assert_eq!(client.get("/livez").await.status, 200);
}

/// Guessing costs whoever guesses, and not everybody behind the same balancer.
#[tokio::test]
async fn who_fails_to_say_who_they_are_has_to_wait_and_nobody_else_behind_the_balancer_has() {
    let stage = Stage::new();
    let room = StoreRoom::sqlite(&stage).await;
    let gateway = Running::start(&stage, &room.yaml(ANYBODY)).await;
    let token = room.token().await;
    let guesser = header(SOURCE, DESTINATION);
    for _ in 0..5 {
        let mut client = balancer::http1(gateway.admin(), &guesser).await;
        let answered = ask(&mut client, "attache_wrong", "/whoami").await;
        assert_eq!(answered.status, 401);
    }

    let mut guesser = balancer::http1(gateway.admin(), &guesser).await;
    let turned_away = ask(&mut guesser, &token, "/whoami").await;
    let elsewhere = header(ELSEWHERE, DESTINATION);
    let mut administrator = balancer::http1(gateway.admin(), &elsewhere).await;
    let let_in = ask(&mut administrator, &token, "/whoami").await;

    assert_eq!(turned_away.status, 429);
    assert_eq!(let_in.status, 200, "{}", let_in.text());
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let all = AuditFilter::default();
    let log = room.store.audit_entries(&all, page);
    let log = log.await.unwrap();
    let failures = log.iter().filter(|entry| entry.action == "authenticate");
    let addresses: Vec<_> = failures.map(|entry| entry.address.as_str()).collect();
    assert_eq!(addresses, ["203.0.113.7"; 5], "{log:?}");
}
