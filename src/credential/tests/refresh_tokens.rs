//! Refresh tokens that replicas share: kept before use, spent once.

use std::collections::HashSet;

use super::fleet::{Fleet, stored};
use super::server::json;
use super::shelf::Fault;
use super::*;
use crate::connector::StaticHeader;

/// An answer with `access` and `refresh`.
fn pair(access: &str, refresh: &str) -> Vec<u8> {
    json(
        200,
        &format!(
            r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":100,"refresh_token":"{refresh}"}}"#
        ),
    )
}

const LIFE: Duration = Duration::from_secs(100);

fn spent(fleet: &Fleet) -> Vec<String> {
    let seen = fleet.stage.server.seen();
    let tokens = seen.iter().filter_map(|one| one.parameter("refresh_token"));
    tokens.collect()
}

fn passwords(fleet: &Fleet) -> usize {
    let seen = fleet.stage.server.seen();
    let grants = seen.iter().filter_map(|one| one.parameter("grant_type"));
    grants.filter(|grant| grant == "password").count()
}

#[tokio::test]
async fn a_refresh_token_is_kept_before_its_access_token_is_used() {
    // protocol.md, line 44.
    let fleet = Fleet::of(1).await;
    let sources = fleet.sources(&stored(connector("crm", fleet.stage.password()), 1));
    fleet.stage.server.will_answer(pair("a-1", "r-1"));

    let obtaining = fleet.obtain(&sources);
    let kept_before = async {
        let Source::Token(slot) = &sources[0] else {
            panic!("no slot");
        };
        while slot.current.load().is_none() {
            if fleet.shelf.refresh_token().is_some() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        fleet.shelf.refresh_token().is_some()
    };
    let (_, kept_before) = tokio::join!(obtaining, kept_before);

    assert!(kept_before);
    assert_eq!(fleet.shelf.refresh_token().as_deref(), Some("r-1"));
}

#[tokio::test]
async fn a_rotated_refresh_token_is_spent_by_one_replica_once() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&stored(connector("crm", fleet.stage.password()), 1));
    for number in 1..=10 {
        let (access, refresh) = (format!("a-{number}"), format!("r-{number}"));
        fleet.stage.server.will_answer(pair(&access, &refresh));
    }

    for _ in 0..10 {
        fleet.obtain(&sources).await;
        fleet.advance(LIFE);
    }

    let spent = spent(&fleet);
    let all: Vec<_> = (1..10).map(|number| format!("r-{number}")).collect();
    assert_eq!(spent, all, "each once, in order");
    assert_eq!(passwords(&fleet), 1);
}

#[tokio::test]
async fn a_refresh_token_that_its_holder_may_have_spent_is_not_spent_again() {
    let fleet = Fleet::of(2).await;
    let connector = stored(connector("crm", fleet.stage.password()), 1);
    let sources = fleet.sources(&connector);
    fleet.stage.server.will_answer(pair("a-1", "r-1"));
    fleet.obtain(&sources).await;
    fleet.advance(LIFE);
    // A replica takes the lease and the refresh token with it, and dies.
    let Scheme::OAuth2(oauth2) = connector.kind.scheme() else {
        panic!("no token");
    };
    let commons = fleet.replicas[0].credentials.0.commons.as_ref();
    let key = commons.expect("it shares").key_of(&connector, oauth2);
    let Ok(Leased::Ours(lease)) = fleet.shelf.lease(&key).await else {
        panic!("no lease");
    };
    assert!(lease.refresh_token.is_some());
    fleet.advance(Duration::from_secs(4));

    fleet.obtain(&sources).await;

    assert_eq!(spent(&fleet), Vec::<String>::new());
    assert_eq!(passwords(&fleet), 2);
}

#[tokio::test]
async fn a_refresh_token_outlives_its_replicas() {
    let mut fleet = Fleet::of(1).await;
    let connector = stored(connector("crm", fleet.stage.password()), 1);
    fleet.stage.server.will_answer(pair("a-1", "r-1"));
    fleet.obtain(&fleet.sources(&connector)).await;
    fleet.replicas.clear();
    fleet.join(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    fleet.advance(LIFE);

    fleet.obtain(&fleet.sources(&connector)).await;

    assert_eq!(spent(&fleet), ["r-1"]);
}

#[tokio::test]
async fn a_refused_refresh_token_goes_and_the_password_is_sent() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&stored(connector("crm", fleet.stage.password()), 1));
    fleet.stage.server.will_answer(pair("a-1", "r-1"));
    fleet.obtain(&sources).await;
    fleet.advance(LIFE);
    let refused = json(400, r#"{"error":"invalid_grant"}"#);
    fleet.stage.server.will_answer(refused.clone());
    fleet.stage.server.will_answer(refused);

    let refused = fleet.meanwhile(sources[0].obtain()).await;
    assert!(refused.is_err());
    assert_eq!(fleet.shelf.refresh_token(), None);
    fleet.obtain(&sources[1..]).await;

    assert_eq!(spent(&fleet), ["r-1"]);
    assert_eq!(passwords(&fleet), 3);
}

#[tokio::test]
async fn a_refresh_token_whose_use_failed_for_a_while_is_used_later() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&stored(connector("crm", fleet.stage.password()), 1));
    fleet.stage.server.will_answer(pair("a-1", "r-1"));
    fleet.obtain(&sources).await;
    fleet.advance(LIFE);
    fleet.stage.server.will_answer(json(503, "{}"));

    let refused = fleet.meanwhile(sources[0].obtain()).await;
    assert!(refused.is_err());
    fleet.obtain(&sources[1..]).await;

    assert_eq!(spent(&fleet), ["r-1", "r-1"]);
    assert_eq!(passwords(&fleet), 1);
}

#[tokio::test]
async fn those_of_a_configuration_file_stay_in_memory() {
    let fleet = Fleet::of(2).await;
    let sources = fleet.sources(&connector("crm", fleet.stage.password()));
    fleet.stage.server.will_answer(pair("a-1", "r-1"));
    fleet.obtain(&sources).await;

    let first = sources.iter().position(|source| match source {
        Source::Token(slot) => slot.current.load().is_some(),
        Source::Fixed(_) => false,
    });
    assert!(first.is_some());
    assert_eq!(fleet.shelf.refresh_token(), None);
    fleet.advance(LIFE);
    fleet.obtain(&sources).await;

    // Whoever was first has it, the other has not.
    assert_eq!(passwords(&fleet) + spent(&fleet).len(), 2);
}

#[tokio::test]
async fn no_refresh_token_is_spent_twice_whatever_the_store_does() {
    let fleet = Fleet::of(3).await;
    let sources = fleet.sources(&stored(connector("crm", fleet.stage.password()), 1));
    for number in 0..200 {
        let (access, refresh) = (format!("a-{number}"), format!("r-{number}"));
        fleet.stage.server.will_answer(pair(&access, &refresh));
    }
    let faults = [
        Fault::None,
        Fault::KeepsInSilence,
        Fault::None,
        Fault::Hangs,
        Fault::None,
        Fault::Fails,
        Fault::None,
        Fault::None,
    ];

    for fault in faults.into_iter().cycle().take(32) {
        fleet.shelf.tell(fault);
        fleet.obtain(&sources).await;
        fleet.advance(LIFE);
    }

    let spent = spent(&fleet);
    let different: HashSet<_> = spent.iter().collect();
    assert_eq!(different.len(), spent.len(), "{spent:?}");
    assert!(spent.len() >= 10, "{spent:?}");
}

#[tokio::test]
async fn what_a_server_echoes_of_what_it_was_sent_is_not_its_error_code() {
    for echo in ["r-1", "pass-word", "field-secret", "parameter-secret"] {
        let fleet = Fleet::of(1).await;
        let field = StaticHeader {
            name: "x-gate".parse().expect("a name"),
            value: secret("field-secret"),
        };
        let parameter = ("gate".to_owned(), secret("parameter-secret"));
        let oauth2 = OAuth2 {
            grant: GrantType::Password {
                username: "svc".to_owned(),
                password: secret("pass-word"),
            },
            token_parameters: [parameter].into(),
            token_headers: vec![field],
            ..fleet.stage.oauth2()
        };
        let sources = fleet.sources(&connector("crm", oauth2));
        fleet.stage.server.will_answer(pair("a-1", "r-1"));
        fleet.obtain(&sources).await;
        fleet
            .stage
            .server
            .will_answer(json(503, &format!(r#"{{"error":"{echo}"}}"#)));
        fleet.advance(LIFE);

        let refused = fleet.meanwhile(sources[0].obtain()).await;

        let error = refused.expect_err("refused");
        assert_eq!(error.reason.code(), None, "{echo}");
        assert_eq!(spent(&fleet), ["r-1"]);
    }
}
