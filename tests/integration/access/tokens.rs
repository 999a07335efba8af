//! Administrators' own tokens: who they let in, and from when on they do not.

use std::time::Duration;

use attache::control::access::{Denied, Role, Scope, Unauthenticated, Wanted};
use attache::control::store::{AuditOutcome, Page};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::office::{HERE, Office, administrator, chief, only};
use crate::support::stage::Stage;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn wanted(role: Role, scope: Scope) -> Wanted {
    Wanted {
        name: "nightly".to_owned(),
        role,
        scope,
        lifetime: DAY,
    }
}

fn all() -> Page {
    Page {
        after: None,
        limit: 100,
    }
}

#[tokio::test]
async fn a_token_names_its_holder() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::HelpDeskAdmin, only("default")).await;

    for _ in 0..2 {
        let actor = office.ask(issued.token.expose()).await.unwrap();

        assert_eq!(actor.name, format!("token:{}", issued.record.id));
        assert_eq!(
            (actor.title.as_str(), actor.role),
            ("a test's", Role::HelpDeskAdmin)
        );
        assert_eq!(actor.scope, only("default"));
        assert_eq!(
            (
                actor.address.to_string().as_str(),
                actor.request_id.as_str()
            ),
            (HERE, "a-request")
        );
    }
    let lower = format!("bearer {}", issued.token.expose());
    assert!(office.ask_from(HERE, &lower).await.is_ok());
}

#[tokio::test]
async fn a_token_that_was_revoked_is_refused_from_the_next_request_on() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    assert!(office.ask(issued.token.expose()).await.is_ok());

    office
        .administration
        .revoke(&chief(), &issued.record.id)
        .await
        .unwrap();

    let asked = office.ask(issued.token.expose()).await;
    assert_eq!(asked.unwrap_err(), Unauthenticated::Invalid);
}

#[tokio::test]
async fn a_token_ends_by_itself_although_it_was_known() {
    // protocol.md, row 52.
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    office.turned.advance(DAY - Duration::from_secs(1));
    assert!(office.ask(issued.token.expose()).await.is_ok());

    office.turned.advance(Duration::from_secs(1));

    let asked = office.ask(issued.token.expose()).await;
    assert_eq!(asked.unwrap_err(), Unauthenticated::Invalid);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_is_told_in_the_same_words() {
    // protocol.md, row 52.
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let one = office.issue(Role::FullAdmin, only("default")).await;
    let other = office.issue(Role::FullAdmin, only("default")).await;
    let tail = |token: &str| {
        token
            .rsplit_once('_')
            .map(|(_, tail)| tail.to_owned())
            .unwrap()
    };
    let swapped = format!("attache_{}_{}", one.record.id, tail(other.token.expose()));
    let typo = format!("{}A", one.token.expose());

    for (number, authorization) in [
        format!("Bearer {swapped}"),
        format!("Bearer {typo}"),
        format!("Basic {}", one.token.expose()),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer attache_".to_owned(),
        "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("192.0.2.{number}");
        let asked = office.ask_from(&address, &authorization).await;
        assert_eq!(
            asked.unwrap_err(),
            Unauthenticated::Invalid,
            "{authorization}"
        );
    }
    let nothing = HeaderMap::new();
    let address = HERE.parse().unwrap();
    let asked = office
        .authentication
        .authenticate(&nothing, address, "x")
        .await;
    assert_eq!(asked.unwrap_err(), Unauthenticated::Missing);
}

/// RFC 6750 §2: one way to show a token, once.
#[tokio::test]
async fn two_tokens_at_once_are_none() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    let value = HeaderValue::from_str(&format!("Bearer {}", issued.token.expose())).unwrap();
    let mut fields = HeaderMap::new();
    fields.append(AUTHORIZATION, value.clone());
    fields.append(AUTHORIZATION, value);

    let asked = office
        .authentication
        .authenticate(&fields, HERE.parse().unwrap(), "x")
        .await;

    assert_eq!(asked.unwrap_err(), Unauthenticated::Invalid);
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_do_more_than_they() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let default = || only("default");
    for (role, scope, wish) in [
        (
            Role::HelpDeskAdmin,
            default(),
            wanted(Role::HelpDeskAdmin, default()),
        ),
        (
            Role::ReadOnlyAdmin,
            default(),
            wanted(Role::ReadOnlyAdmin, default()),
        ),
        (
            Role::ExternalReadOnlyAdmin,
            Scope::All,
            wanted(Role::FullAdmin, default()),
        ),
        // Connectors to the contact centre itself are made by three roles alone.
        (
            Role::HelpDeskFullAdmin,
            default(),
            wanted(Role::FullAdmin, default()),
        ),
        (
            Role::PartnerFullAdmin,
            Scope::All,
            wanted(Role::ContactCenterServiceAdmin, default()),
        ),
    ] {
        let made = office
            .administration
            .issue(&administrator(role, scope), wish)
            .await;
        assert!(matches!(made, Err(Denied::Forbidden)), "{role}");
    }
    let owner = administrator(Role::FullAdmin, default());
    for scope in [Scope::All, only("acme")] {
        let made = office
            .administration
            .issue(&owner, wanted(Role::FullAdmin, scope))
            .await;
        assert!(matches!(made, Err(Denied::Invalid(_))));
    }
    let unknown = wanted(Role::FullAdmin, only("acme"));
    let made = office.administration.issue(&chief(), unknown).await;
    assert!(matches!(made, Err(Denied::Invalid(_))));
    assert!(
        office
            .administration
            .tokens(&chief(), all())
            .await
            .unwrap()
            .is_empty()
    );
    let log = office.log().await;
    let refused = log
        .iter()
        .filter(|entry| entry.outcome != AuditOutcome::Done);
    assert_eq!(refused.count(), 8, "{log:#?}");
}

#[tokio::test]
async fn a_token_ends_within_a_year_and_has_a_name_that_can_be_shown() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    for (name, lifetime) in [
        ("", DAY),
        ("a\nb", DAY),
        (&*"a".repeat(101), DAY),
        ("ok", Duration::ZERO),
        ("ok", DAY * 367),
    ] {
        let wish = Wanted {
            name: name.to_owned(),
            lifetime,
            ..wanted(Role::FullAdmin, Scope::All)
        };
        let made = office.administration.issue(&chief(), wish).await;
        assert!(
            matches!(made, Err(Denied::Invalid(_))),
            "{name:?} {lifetime:?}"
        );
    }
}

#[tokio::test]
async fn another_organizations_token_does_not_exist() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let owner = administrator(Role::FullAdmin, only("default"));
    let chiefs = office.issue(Role::FullAdmin, Scope::All).await;
    let own = office.issue(Role::HelpDeskAdmin, only("default")).await;
    let stranger = administrator(Role::FullAdmin, only("acme"));

    let listed = office.administration.tokens(&owner, all()).await.unwrap();

    let ids: Vec<_> = listed.iter().map(|token| &token.id).collect();
    assert_eq!(ids, [&own.record.id]);
    for (actor, id) in [(&owner, &chiefs.record.id), (&stranger, &own.record.id)] {
        let read = office.administration.token(actor, id).await;
        assert!(matches!(read, Err(Denied::NotFound)));
        let revoked = office.administration.revoke(actor, id).await;
        assert!(matches!(revoked, Err(Denied::NotFound)));
    }
    assert!(office.ask(chiefs.token.expose()).await.is_ok());
    assert!(office.ask(own.token.expose()).await.is_ok());
}

#[tokio::test]
async fn what_was_done_is_in_the_log_without_the_token_or_its_hash() {
    // protocol.md, row 55.
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let issued = office.issue(Role::FullAdmin, only("default")).await;
    for _ in 0..2 {
        office
            .administration
            .revoke(&chief(), &issued.record.id)
            .await
            .unwrap();
    }
    let _refused = office.ask(issued.token.expose()).await;

    let log = office.log().await;

    let said: Vec<_> = log
        .iter()
        .map(|entry| (entry.action.as_str(), &entry.outcome))
        .collect();
    let refused = AuditOutcome::Refused("unauthenticated".to_owned());
    assert_eq!(
        said,
        [
            ("admin-token.create", &AuditOutcome::Done),
            ("admin-token.revoke", &AuditOutcome::Done),
            ("authenticate", &refused),
        ]
    );
    assert!(
        log.iter()
            .all(|entry| entry.target.ends_with(&issued.record.id))
    );
    let shown = format!("{log:?}");
    let tail = issued.token.expose().rsplit_once('_').unwrap().1;
    assert!(
        !shown.contains(tail) && !shown.contains("argon2"),
        "{shown}"
    );
}
