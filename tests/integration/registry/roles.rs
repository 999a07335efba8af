//! Every role and every operation; and what belongs to another organization.

use std::time::Duration;

use attache::connector::ConnectorId;
use attache::control::access::{Access, Actor, Role, Scope};
use attache::control::registry::{ConnectorView, Edit, Filter, IfMatch, Refused};
use attache::control::store::{Page, Phase};
use serde_json::json;

use super::room::{Room, acme, administrator, basic_password, globex, id};

/// What an administrator does.
#[derive(Clone, Copy, Debug)]
enum Operation {
    List,
    Read,
    Create,
    Replace,
    Merge,
    Activate,
    Deactivate,
    Delete,
    Restore,
    Test,
    PurgeToken,
    Stage,
    TestStaged,
    DiscardStaged,
    Promote,
    RollBack,
}

const OPERATIONS: [Operation; 16] = [
    Operation::List,
    Operation::Read,
    Operation::Create,
    Operation::Replace,
    Operation::Merge,
    Operation::Activate,
    Operation::Deactivate,
    Operation::Delete,
    Operation::Restore,
    Operation::Test,
    Operation::PurgeToken,
    Operation::Stage,
    Operation::TestStaged,
    Operation::DiscardStaged,
    Operation::Promote,
    Operation::RollBack,
];

impl Operation {
    /// What it takes.
    fn needs(self) -> Access {
        if matches!(self, Self::List | Self::Read) {
            Access::Read
        } else {
            Access::Write
        }
    }

    /// A connector of `acme` that it can be done to.
    async fn subject(self, room: &Room) -> ConnectorView {
        let (name, next) = (&format!("{self:?}"), "next-password");
        if matches!(self, Self::Activate | Self::Delete) {
            room.inactive(name).await
        } else if matches!(self, Self::Restore) {
            room.deleted(name).await
        } else if matches!(self, Self::TestStaged | Self::DiscardStaged | Self::Promote) {
            room.accept(next);
            room.staged(name, next).await
        } else if matches!(self, Self::RollBack) {
            room.promoted(name, next).await
        } else {
            room.made(name).await
        }
    }

    async fn run(self, room: &Room, actor: &Actor, subject: &ConnectorView) -> Result<(), Refused> {
        let (registry, id) = (&room.registry, &subject.id);
        match self {
            Self::List => {
                let (all, limit) = (Filter::default(), 10);
                let page = Page { after: None, limit };
                registry.list(actor, &all, page).await.map(drop)
            }
            Self::Read => registry.read(actor, id).await.map(drop),
            Self::Create => {
                let body = room.basic("Another");
                registry.create(actor, body, None).await.map(drop)
            }
            Self::Replace => {
                let mut body = subject.json();
                body["name"] = json!("Replaced");
                change(room, actor, id, Edit::Replace(body)).await
            }
            Self::Merge => {
                let patch = json!({ "name": "Merged" });
                change(room, actor, id, Edit::Merge(patch)).await
            }
            Self::Activate => registry.activate(actor, id, IfMatch::Any).await.map(drop),
            Self::Deactivate => registry.deactivate(actor, id, IfMatch::Any).await.map(drop),
            Self::Delete => registry.delete(actor, id, IfMatch::Any).await.map(drop),
            Self::Restore => registry.restore(actor, id, IfMatch::Any).await.map(drop),
            Self::Test => registry.test(actor, id).await.map(drop),
            Self::PurgeToken => registry
                .purge_token(actor, id, IfMatch::Any)
                .await
                .map(drop),
            Self::Stage => {
                let secrets = basic_password("staged-password");
                registry
                    .stage(actor, id, secrets, IfMatch::Any)
                    .await
                    .map(drop)
            }
            Self::TestStaged => registry
                .test_staged(actor, id, IfMatch::Any)
                .await
                .map(drop),
            Self::DiscardStaged => registry
                .discard_staged(actor, id, IfMatch::Any)
                .await
                .map(drop),
            Self::Promote => {
                let keep = Duration::from_secs(60);
                registry
                    .promote(actor, id, keep, IfMatch::Any)
                    .await
                    .map(drop)
            }
            Self::RollBack => registry.roll_back(actor, id, IfMatch::Any).await.map(drop),
        }
    }
}

async fn change(room: &Room, actor: &Actor, id: &ConnectorId, edit: Edit) -> Result<(), Refused> {
    let edited = room.registry.edit(actor, id, edit, IfMatch::Any).await;
    edited.map(drop)
}

#[tokio::test]
async fn every_role_does_what_it_may_and_nothing_else() {
    for role in Role::ALL {
        let room = Room::new().await;
        room.widen().await;
        for operation in OPERATIONS {
            let subject = operation.subject(&room).await;
            let before = room.registry.read(&acme(), &subject.id).await.unwrap();

            let done = operation
                .run(&room, &administrator(role, "acme"), &subject)
                .await;

            let case = format!("{role} {operation:?}: {done:?}");
            if role.access() >= operation.needs() {
                assert!(done.is_ok(), "{case}");
            } else {
                assert!(matches!(done, Err(Refused::Forbidden)), "{case}");
                let now = room.registry.read(&acme(), &subject.id).await.unwrap();
                assert_eq!(now, before, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_another_organization_does_not_exist() {
    let room = Room::new().await;
    room.widen().await;
    for operation in OPERATIONS {
        if matches!(operation, Operation::List | Operation::Create) {
            continue;
        }
        let subject = operation.subject(&room).await;
        let before = room.registry.read(&acme(), &subject.id).await.unwrap();
        let mut nobodys = subject.clone();
        nobodys.id = id("nobodys");

        let of_another = operation.run(&room, &globex(), &subject).await.unwrap_err();
        let of_nobody = operation.run(&room, &globex(), &nobodys).await.unwrap_err();

        assert!(
            matches!(of_another, Refused::NotFound),
            "{operation:?}: {of_another:?}"
        );
        assert_eq!(
            of_another.to_string(),
            of_nobody.to_string(),
            "{operation:?}"
        );
        let now = room.registry.read(&acme(), &subject.id).await.unwrap();
        assert_eq!(now, before, "{operation:?}");
    }
}

#[tokio::test]
async fn what_the_configuration_has_of_another_organization_does_not_exist_either() {
    let room = Room::with(
        "[{ id: orders, organization: acme, name: Orders, resource_domain: UP, auth: none }]",
    )
    .await;
    let orders = room.registry.read(&acme(), &id("orders")).await.unwrap();

    for operation in OPERATIONS {
        if matches!(operation, Operation::List | Operation::Create) {
            continue;
        }
        let refused = operation.run(&room, &globex(), &orders).await.unwrap_err();
        assert!(
            matches!(refused, Refused::NotFound),
            "{operation:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn what_the_configuration_has_is_read_and_tested_and_never_changed() {
    let room = Room::with(
        "[{ id: orders, organization: acme, name: Orders, resource_domain: UP, auth: none }]",
    )
    .await;
    let orders = room.registry.read(&acme(), &id("orders")).await.unwrap();

    for operation in OPERATIONS {
        let done = operation.run(&room, &acme(), &orders).await;
        let changes_it = !matches!(
            operation,
            Operation::List | Operation::Read | Operation::Create | Operation::Test
        );
        if changes_it {
            let refused = matches!(done, Err(Refused::ReadOnly));
            assert!(refused, "{operation:?}: {done:?}");
        } else {
            assert!(done.is_ok(), "{operation:?}: {done:?}");
        }
    }
}

#[tokio::test]
async fn who_runs_the_gateway_does_everything_everywhere() {
    let room = Room::new().await;
    room.widen().await;
    for operation in OPERATIONS {
        let subject = operation.subject(&room).await;
        let actor = Actor {
            scope: Scope::All,
            ..acme()
        };

        let done = operation.run(&room, &actor, &subject).await;

        assert!(done.is_ok(), "{operation:?}: {done:?}");
    }
}

#[tokio::test]
async fn a_role_that_only_reads_cannot_tell_what_exists_by_trying_to_change_it() {
    let room = Room::new().await;
    let subject = room.made("Subject").await;
    let reader = administrator(Role::HelpDeskAdmin, "globex");

    for id in [subject.id, id("nobodys")] {
        let refused = room
            .registry
            .deactivate(&reader, &id, IfMatch::Any)
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::Forbidden), "{refused:?}");
    }
}

#[tokio::test]
async fn another_organizations_connectors_are_on_no_page() {
    let room = Room::with(
        "[{ id: orders, organization: acme, name: Orders, resource_domain: UP, auth: none }]",
    )
    .await;
    room.made("Stored").await;
    let filters = [
        Filter::default(),
        Filter {
            organization: Some(super::room::organization("acme")),
            ..Filter::default()
        },
        Filter {
            name: Some("Stored".to_owned()),
            state: Some(Phase::Active),
            ..Filter::default()
        },
    ];

    for filter in filters {
        let page = Page {
            after: None,
            limit: 10,
        };
        let listed = room.registry.list(&globex(), &filter, page).await.unwrap();
        assert_eq!((listed.items, listed.next), (vec![], None), "{filter:?}");
    }
}
