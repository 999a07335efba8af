//! Organizations, and who sees what of the audit log.

use std::collections::BTreeMap;

use attache::connector::Organization;
use attache::control::access::{Denied, Role, Scope};
use attache::control::store::{AuditFilter, Page};

use super::office::{Office, administrator, chief, only};
use crate::support::stage::Stage;

fn acme() -> Organization {
    Organization::parse("acme").unwrap()
}

fn custom(max: u32) -> BTreeMap<String, u32> {
    [("custom".to_owned(), max)].into()
}

fn all() -> Page {
    Page {
        after: None,
        limit: 100,
    }
}

#[tokio::test]
async fn only_who_runs_the_gateway_arranges_organizations() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let desk = &office.administration;
    for actor in [
        administrator(Role::FullAdmin, only("default")),
        administrator(Role::HelpDeskAdmin, Scope::All),
        administrator(Role::ReadOnlyAdmin, Scope::All),
    ] {
        let made = desk.create_organization(&actor, acme(), custom(1)).await;
        assert!(matches!(made, Err(Denied::Forbidden)), "{actor:?}");
        let own = Organization::default();
        let limited = desk.limit_organization(&actor, &own, |_| true, custom(1));
        assert!(matches!(limited.await, Err(Denied::Forbidden)), "{actor:?}");
    }

    let made = desk
        .create_organization(&chief(), acme(), custom(1))
        .await
        .unwrap();
    let again = desk.create_organization(&chief(), acme(), custom(1)).await;

    assert_eq!(made.connectors_max, custom(1));
    assert!(matches!(again, Err(Denied::NameTaken)));
}

#[tokio::test]
async fn another_organization_does_not_exist_for_an_administrator() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let desk = &office.administration;
    desk.create_organization(&chief(), acme(), custom(1))
        .await
        .unwrap();
    let owner = administrator(Role::ExternalReadOnlyAdmin, only("default"));

    let listed = desk.organizations(&owner, all()).await.unwrap();

    let names: Vec<_> = listed.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["default"]);
    assert!(matches!(
        desk.organization(&owner, &acme()).await,
        Err(Denied::NotFound)
    ));
    assert!(
        desk.organization(&owner, &Organization::default())
            .await
            .is_ok()
    );
    let writer = administrator(Role::FullAdmin, only("default"));
    let limited = desk
        .limit_organization(&writer, &acme(), |_| true, custom(5))
        .await;
    assert!(matches!(limited, Err(Denied::NotFound)));
    assert_eq!(desk.organizations(&chief(), all()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn limits_are_changed_by_who_saw_the_last_ones() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let desk = &office.administration;
    let made = desk
        .create_organization(&chief(), acme(), custom(1))
        .await
        .unwrap();

    let seen = |revision| revision == made.revision;
    let changed = desk
        .limit_organization(&chief(), &acme(), seen, custom(2))
        .await
        .unwrap();
    let stale = desk
        .limit_organization(&chief(), &acme(), seen, custom(3))
        .await;

    assert!(changed.revision > made.revision);
    assert!(matches!(stale, Err(Denied::PreconditionFailed)));
    let now = desk.organization(&chief(), &acme()).await.unwrap();
    assert_eq!(
        (now.connectors_max, now.revision),
        (custom(2), changed.revision)
    );
}

#[tokio::test]
async fn limits_are_of_known_kinds_and_within_bounds() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    for wrong in [custom(1_000_001), [("salesforce".to_owned(), 1)].into()] {
        let made = office
            .administration
            .create_organization(&chief(), acme(), wrong)
            .await;
        assert!(matches!(made, Err(Denied::Invalid(_))));
    }
}

#[tokio::test]
async fn the_log_shows_an_administrator_their_own_organization() {
    let stage = Stage::new();
    let office = Office::open(&stage).await;
    let desk = &office.administration;
    desk.create_organization(&chief(), acme(), custom(1))
        .await
        .unwrap();
    office.issue(Role::FullAdmin, only("acme")).await;
    office.issue(Role::FullAdmin, Scope::All).await;
    office.issue(Role::FullAdmin, only("default")).await;
    let read = async |role, scope, asked: Option<&str>| {
        let filter = AuditFilter {
            organization: asked.map(|name| Organization::parse(name).unwrap()),
            ..AuditFilter::default()
        };
        let page = Page {
            after: None,
            limit: 100,
        };
        desk.entries(&administrator(role, scope), filter, page)
            .await
    };

    let own = read(Role::HelpDeskAdmin, only("acme"), None).await.unwrap();

    let actions: Vec<_> = own.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["organization.create", "admin-token.create"]);
    let others = read(Role::FullAdmin, only("acme"), Some("default")).await;
    assert!(others.unwrap().is_empty());
    let every = read(Role::PartnerReadOnlyAdmin, Scope::All, None).await;
    assert_eq!(every.unwrap().len(), 4);
    let none = read(Role::ReadOnlyAdmin, only("acme"), None).await;
    assert!(matches!(none, Err(Denied::Forbidden)));
}
