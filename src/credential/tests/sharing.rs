//! Replicas that share tokens: one request for all of them, and none that fails for the store's sake.

use super::fleet::{Fleet, stored};
use super::server::{json, token};
use super::shelf::{Fault, LEASE};
use super::*;
use crate::credential::commons::PATIENCE;

const LIFE: Duration = Duration::from_secs(1000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn all_alike(obtained: &[Obtained]) -> bool {
    let first = authorization(&obtained[0]);
    obtained.iter().all(|one| authorization(one) == first)
}

fn mark(obtained: &Obtained) -> TokenMark {
    obtained.token.expect("it is a token")
}

#[tokio::test]
async fn three_cold_replicas_make_one_token_request() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));

    let obtained = fleet.obtain(&sources).await;

    assert!(all_alike(&obtained), "{obtained:?}");
    assert_eq!(fleet.stage.server.count(), 1);
    assert_eq!((fleet.counted("fetched"), fleet.counted("waited")), (1, 2));
}

#[tokio::test]
async fn three_replicas_that_warm_up_make_one_token_request() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));

    for (replica, source) in fleet.replicas.iter().zip(&sources) {
        replica.credentials.warm(vec![source.clone()]);
    }
    fleet.stage.server.has_seen(1).await;
    fleet.landed(&sources).await;
    let obtained = fleet.obtain(&sources).await;

    assert!(
        obtained
            .iter()
            .all(|one| one.cache == Some(CacheOutcome::Hit))
    );
    assert_eq!(fleet.stage.server.count(), 1);
}

#[tokio::test]
async fn a_replica_that_starts_takes_the_token_that_is_there() {
    let mut fleet = Fleet::of(1).await;
    let connector = connector("crm", fleet.stage.oauth2());
    let first = fleet.obtain(&fleet.sources(&connector)).await;
    fleet.join(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));

    let second = fleet.obtain(&fleet.sources(&connector)[1..]).await;

    assert_eq!(authorization(&first[0]), authorization(&second[0]));
    assert_eq!(fleet.counted("taken"), 1);
}

#[tokio::test]
async fn one_token_request_is_made_per_renewal_interval_and_no_flow_waits() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    for number in 0..40 {
        fleet
            .stage
            .server
            .will_answer(token(&format!("t-{number}"), LIFE.as_secs()));
    }
    fleet.obtain(&sources).await;

    let began = fleet.passed();
    while fleet.passed() - began < LIFE * 20 {
        fleet.advance(LIFE / 100);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        fleet.landed(&sources).await;
        for one in fleet.obtain(&sources).await {
            assert_eq!(one.cache, Some(CacheOutcome::Hit));
        }
    }

    // The first of three is due between 80 % and 90 % of a life, and found so a step later.
    let count = fleet.stage.server.count() - 1;
    assert!((21..=25).contains(&count), "{count}");
    assert_eq!(fleet.counted("unavailable") + fleet.counted("lapsed"), 0);
    assert!(all_alike(&fleet.obtain(&sources).await));
}

#[tokio::test]
async fn a_holder_that_dies_costs_one_lease() {
    let fleet = Fleet::of(3).await;
    let connector = connector("crm", fleet.stage.oauth2());
    let sources = fleet.sources(&connector);
    leave_a_lease_behind(&fleet, &connector).await;
    for source in &sources {
        let Source::Token(slot) = source else {
            panic!("no slot");
        };
        drop(slot.start_ahead(&mut slot.lock()));
    }

    let began = fleet.passed();
    fleet.landed(&sources).await;
    let took = fleet.passed() - began;

    assert!(took >= LEASE, "{took:?}");
    assert!(took < LEASE * 2, "{took:?}");
    assert!(all_alike(&fleet.obtain(&sources).await));
    assert_eq!(fleet.stage.server.count(), 1);
    assert_eq!((fleet.counted("lapsed"), fleet.counted("waited")), (1, 2));
}

/// As a replica does that dies amid a fetch.
pub(super) async fn leave_a_lease_behind(fleet: &Fleet, connector: &Connector) -> Lease {
    let Scheme::OAuth2(oauth2) = connector.kind.scheme() else {
        panic!("no token");
    };
    let commons = fleet.replicas[0].credentials.0.commons.as_ref();
    let key = commons.expect("it shares").key_of(connector, oauth2);
    match fleet.shelf.lease(&key).await.expect("it works") {
        Leased::Ours(lease) => lease,
        Leased::Theirs => panic!("somebody has it"),
    }
}

#[tokio::test]
async fn a_fetch_longer_than_a_lease_keeps_it() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.stage.server.close();
    for source in &sources {
        let Source::Token(slot) = source else {
            panic!("no slot");
        };
        drop(slot.start_ahead(&mut slot.lock()));
    }
    fleet.stage.server.has_seen(1).await;

    let began = fleet.passed();
    while fleet.passed() - began < LEASE * 2 {
        fleet.advance(LEASE / 30);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    fleet.stage.server.open();
    fleet.landed(&sources).await;

    assert_eq!(fleet.stage.server.count(), 1);
    assert_eq!(fleet.counted("waited"), 2);
}

#[tokio::test]
async fn a_fetch_that_fails_lets_the_next_replica_try_at_once() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.stage.server.will_answer(json(503, "{}"));

    let began = fleet.passed();
    let all = futures_util::future::join_all(sources.iter().map(Source::obtain));
    let obtained = fleet.meanwhile(all).await;

    let good = obtained.iter().filter(|one| one.is_ok()).count();
    assert_eq!(good, 2, "its failure is the holder's own");
    assert!(fleet.passed() - began < LEASE);
    assert_eq!(fleet.stage.server.count(), 2);
}

#[tokio::test]
async fn a_store_that_fails_costs_a_request_each_and_no_time() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.shelf.tell(Fault::Fails);

    // No clock is turned.
    for source in &sources {
        within("a token", source.obtain()).await.expect("a token");
    }

    assert_eq!(fleet.stage.server.count(), 3);
    assert_eq!(fleet.counted("unavailable"), 3);
}

#[tokio::test]
async fn a_store_that_hangs_is_waited_for_once_and_then_left_alone() {
    let fleet = Fleet::of(1).await;
    let source = |id| fleet.sources(&connector(id, fleet.stage.oauth2()));
    fleet.shelf.tell(Fault::Hangs);

    let began = fleet.passed();
    fleet.obtain(&source("a")).await;
    let first = fleet.passed() - began;
    let asked = fleet.shelf.count();
    // No clock is turned.
    let b = source("b");
    within("a token", b[0].obtain()).await.expect("a token");

    assert!(first >= PATIENCE, "{first:?}");
    assert_eq!(fleet.shelf.count(), asked, "it is left alone");
    assert_eq!(fleet.stage.server.count(), 2);
}

#[tokio::test]
async fn a_store_that_comes_back_is_used_again() {
    let fleet = Fleet::of(2).await;
    let sources = |id| fleet.sources(&connector(id, fleet.stage.oauth2()));
    fleet.shelf.tell(Fault::Fails);
    fleet.obtain(&sources("a")).await;
    fleet.shelf.tell(Fault::None);

    fleet.advance(Duration::from_secs(4));
    fleet.obtain(&sources("b")).await;
    assert_eq!(fleet.stage.server.count(), 4, "four seconds are too early");
    fleet.advance(Duration::from_secs(2));
    fleet.obtain(&sources("c")).await;

    assert_eq!(fleet.stage.server.count(), 5);
}

#[tokio::test]
async fn a_store_that_hangs_when_a_token_is_there_does_not_hold_it_back() {
    let fleet = Fleet::of(1).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.stage.server.close();

    let (obtained, took) = tokio::join!(fleet.obtain(&sources), async {
        fleet.stage.server.has_seen(1).await;
        fleet.shelf.tell(Fault::Hangs);
        let began = fleet.passed();
        fleet.stage.server.open();
        began
    });

    assert_eq!(authorization(&obtained[0]), "Bearer token-1");
    let took = fleet.passed() - took;
    assert!(took < PATIENCE * 3, "{took:?}");
}

#[tokio::test]
async fn replicas_with_skewed_clocks_use_no_token_past_its_life() {
    let mut fleet = Fleet::of(1).await;
    let connector = connector("crm", fleet.stage.oauth2());
    fleet.stage.server.will_answer(token("short", 100));
    fleet.obtain(&fleet.sources(&connector)).await;
    let began = fleet.passed();
    fleet.advance(Duration::from_secs(60));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
    fleet.join(now + DAY);
    fleet.join(now - DAY);

    let sources = fleet.sources(&connector);
    let taken = fleet.obtain(&sources).await;
    assert!(taken.iter().all(|one| authorization(one) == "Bearer short"));
    // A tenth of its life is the margin.
    fleet.advance(began + Duration::from_secs(90) - fleet.passed());

    let all = fleet.obtain(&sources).await;
    assert!(all.iter().all(|one| authorization(one) != "Bearer short"));
    assert!(all_alike(&all));
}

#[tokio::test]
async fn a_rejected_token_is_dropped_by_each_and_replaced_once() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    let first = fleet.obtain(&sources).await;

    for (source, obtained) in sources.iter().zip(&first) {
        assert!(source.reject(mark(obtained)));
    }
    let second = fleet.obtain(&sources).await;

    assert!(all_alike(&second));
    assert_eq!(authorization(&second[0]), "Bearer token-2");
    assert_eq!(fleet.stage.server.count(), 2);
}

#[tokio::test]
async fn a_token_that_one_replica_renewed_is_not_fetched_again_by_one_that_rejects_the_old() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    let first = fleet.obtain(&sources).await;
    sources[0].reject(mark(&first[0]));
    fleet.obtain(&sources[..1]).await;

    sources[1].reject(mark(&first[1]));
    let second = fleet.obtain(&sources[1..]).await;

    assert_eq!(authorization(&second[0]), "Bearer token-2");
    assert_eq!(fleet.stage.server.count(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_not_taken_again_even_if_nobody_knew_that_it_was_kept() {
    let fleet = Fleet::of(1).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.shelf.tell(Fault::KeepsInSilence);
    let first = fleet.obtain(&sources).await;
    fleet.shelf.tell(Fault::None);
    fleet.advance(Duration::from_secs(10));

    sources[0].reject(mark(&first[0]));
    let second = fleet.obtain(&sources).await;

    assert_ne!(authorization(&first[0]), authorization(&second[0]));
}

#[tokio::test]
async fn what_does_not_open_is_fetched_anew() {
    let mut fleet = Fleet::of(1).await;
    let connector = connector("crm", fleet.stage.oauth2());
    fleet.obtain(&fleet.sources(&connector)).await;
    fleet.shelf.tamper();
    fleet.join(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));

    let obtained = fleet.obtain(&fleet.sources(&connector)[1..]).await;

    assert_eq!(authorization(&obtained[0]), "Bearer token-2");
    assert_eq!(fleet.shelf.tokens(), 1);
}

#[tokio::test]
async fn a_purge_leaves_no_replica_the_old_token() {
    let fleet = Fleet::of(3).await;
    let connector = connector("crm", fleet.stage.oauth2());
    let old = fleet.sources(&stored(connector.clone(), 7));
    let before = fleet.obtain(&old).await;
    fleet.stage.server.close();
    // A fetch that began before the purge ends after it.
    old[0].reject(mark(&before[0]));
    let late = tokio::spawn({
        let old = old[0].clone();
        async move { old.obtain().await }
    });
    fleet.stage.server.has_seen(2).await;

    fleet.shelf.forget();
    let new = fleet.sources(&stored(connector, 8));
    for (replica, source) in fleet.replicas.iter().zip(&old) {
        replica.credentials.retire(source);
    }
    fleet.stage.server.open();
    let late = within("the late one", late).await.expect("it ran");
    let obtained = fleet.obtain(&new).await;

    assert_eq!(authorization(&late.expect("a token")), "Bearer token-2");
    assert!(all_alike(&obtained));
    assert_eq!(authorization(&obtained[0]), "Bearer token-3");
}

#[tokio::test]
async fn a_row_that_was_forgotten_starts_anew() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.oauth2()));
    fleet.obtain(&sources).await;
    fleet.shelf.forget();

    fleet.advance(Duration::from_secs(3600));
    let obtained = fleet.obtain(&sources).await;

    assert!(all_alike(&obtained));
    assert_eq!(fleet.stage.server.count(), 2);
}
