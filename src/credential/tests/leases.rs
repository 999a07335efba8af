//! Replicas that get into each other's way over one lease.

use super::fleet::Fleet;
use super::sharing::leave_a_lease_behind;
use super::shelf::{Fault, LEASE, SLOW};
use super::*;
use crate::credential::commons::PATIENCE;

/// Has `source` want a token, as a flow that does not wait for it does.
fn start(source: &Source) {
    let Source::Token(slot) = source else {
        panic!("no slot");
    };
    drop(slot.start_ahead(&mut slot.lock()));
}

/// Lets `time` pass in steps that everybody notices.
async fn pass(fleet: &Fleet, time: Duration) {
    let began = fleet.passed();
    while fleet.passed() - began < time {
        fleet.advance(Duration::from_millis(50));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_token_that_was_kept_between_a_look_and_a_lease_is_taken_and_the_lease_given_back() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    let leased = fleet.shelf.hold_up_a_lease();
    let late = tokio::spawn({
        let source = sources[0].clone();
        async move { source.obtain().await }
    });
    let looking = async {
        while fleet.shelf.count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within("its first look", looking).await;

    let early = within("a token", sources[1].obtain()).await.expect("one");
    leased.notify_one();
    let late = within("the late one", late).await.expect("it ran");

    assert_eq!(authorization(&late.expect("one")), authorization(&early));
    assert_eq!(fleet.stage.server.count(), 1);
    // No clock is turned: whoever had to wait for the lease would wait for ever.
    assert!(sources[1].reject(early.token.expect("it is a token")));
    let next = within("another token", sources[1].obtain()).await;
    assert_eq!(authorization(&next.expect("one")), "Bearer token-2");
}

#[tokio::test]
async fn a_holder_that_never_comes_to_an_end_is_not_waited_for_for_ever() {
    let fleet = Fleet::of(1).await;
    let connector = connector("crm", fleet.stage.oauth2());
    let sources = fleet.sources(&connector);
    let lease = leave_a_lease_behind(&fleet, &connector).await;
    start(&sources[0]);

    let longest = fleet.stage.settings.tokens.fetch + LEASE;
    let began = fleet.passed();
    while fleet.passed() - began < longest + Duration::from_secs(1) {
        fleet.shelf.renew(&lease).await.expect("it works");
        pass(&fleet, LEASE / 10).await;
    }
    fleet.landed(&sources).await;

    assert_eq!(fleet.stage.server.count(), 1);
    assert_eq!(fleet.counted("unavailable"), 1);
}

#[tokio::test]
async fn what_stands_before_a_token_is_waited_for_half_a_second_together() {
    const { assert!(SLOW.as_millis() * 2 > PATIENCE.as_millis()) };
    let fleet = Fleet::of(1).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.shelf.tell(Fault::Slow);

    start(&sources[0]);
    pass(&fleet, SLOW * 2).await;
    fleet.landed(&sources).await;

    assert_eq!(fleet.counted("unavailable"), 1, "a look, and half a lease");
    assert_eq!(fleet.stage.server.count(), 1);
}

#[tokio::test]
async fn a_slow_store_is_not_given_up_while_another_fetches() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.stage.server.close();
    start(&sources[0]);
    fleet.stage.server.has_seen(1).await;
    fleet.shelf.tell(Fault::Slow);

    start(&sources[1]);
    pass(&fleet, SLOW * 8).await;
    fleet.stage.server.open();
    fleet.landed(&sources).await;

    assert_eq!(fleet.stage.server.count(), 1);
    assert_eq!(fleet.counted("waited"), 1);
}
