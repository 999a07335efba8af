//! Failures to authenticate: counted, throttled, written down within bounds.

use std::time::Duration;

use attache::control::access::{Role, Unauthenticated};
use attache::control::store::AuditOutcome;

use super::office::{Office, only};
use crate::support::stage::Stage;

const ELSEWHERE: &str = "198.51.100.1";

async fn fail(office: &Office, address: &str, times: usize) {
    for _ in 0..times {
        let asked = office.ask_from(address, "Bearer attache_wrong").await;
        assert_eq!(asked.unwrap_err(), Unauthenticated::Invalid);
    }
}

fn waits(asked: Result<attache::control::access::Actor, Unauthenticated>) -> Duration {
    let refused = asked.unwrap_err();
    let Unauthenticated::Throttled { retry_after } = refused else {
        panic!("{refused:?}");
    };
    retry_after
}

#[tokio::test]
async fn after_five_failures_in_a_minute_an_address_has_to_wait() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    let good = format!("Bearer {}", issued.token.expose());
    fail(&office, "192.0.2.1", 5).await;

    let wait = waits(office.ask_from("192.0.2.1", &good).await);

    assert_eq!(wait, Duration::from_secs(60));
    assert!(office.ask_from(ELSEWHERE, &good).await.is_ok());
    office.turned.advance(wait);
    assert!(office.ask_from("192.0.2.1", &good).await.is_ok());
}

#[tokio::test]
async fn whoever_was_known_is_let_in_beside_an_attacker() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    let good = format!("Bearer {}", issued.token.expose());
    assert!(office.ask_from("2001:db8::1", &good).await.is_ok());

    fail(&office, "2001:db8::2", 5).await;

    assert!(office.ask_from("2001:db8::1", &good).await.is_ok());
    // For five minutes; then it has to be looked at like any other.
    office.turned.advance(Duration::from_secs(301));
    fail(&office, "2001:db8::2", 5).await;
    waits(office.ask_from("2001:db8::1", &good).await);
}

#[tokio::test]
async fn the_holder_of_a_token_that_is_guessed_at_from_everywhere_is_let_in() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    let other = office.issue(Role::FullAdmin, only("default")).await;
    let tail = other.token.expose().rsplit_once('_').unwrap().1;
    let guess = format!("Bearer attache_{}_{tail}", issued.record.id);
    for last in 1..=6 {
        let address = format!("192.0.2.{last}");
        let asked = office.ask_from(&address, &guess).await;
        assert_eq!(asked.unwrap_err(), Unauthenticated::Invalid);
    }

    let good = format!("Bearer {}", issued.token.expose());
    assert!(office.ask_from(ELSEWHERE, &good).await.is_ok());
}

#[tokio::test]
async fn failures_that_are_throttled_are_counted_and_not_each_written_down() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    fail(&office, "192.0.2.1", 5).await;
    for _ in 0..100 {
        waits(office.ask_from("192.0.2.1", "Bearer attache_wrong").await);
    }
    office.turned.advance(Duration::from_secs(60));
    fail(&office, "192.0.2.1", 1).await;

    let log = office.log().await;

    assert_eq!(log.len(), 6, "{log:#?}");
    let refused = AuditOutcome::Refused("unauthenticated".to_owned());
    assert!(
        log.iter()
            .all(|entry| entry.action == "authenticate" && entry.outcome == refused)
    );
    assert!(log.iter().all(|entry| entry.address == "192.0.2.1"));
    let last = log.last().unwrap().after.clone().unwrap();
    assert_eq!(last["omitted_before"], 100);
}

#[tokio::test]
async fn many_addresses_together_write_so_much_and_no_more() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;

    for number in 0..100 {
        fail(&office, &format!("10.0.0.{number}"), 1).await;
    }

    assert_eq!(office.log().await.len(), 60);
}
