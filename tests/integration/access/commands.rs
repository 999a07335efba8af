//! `attache admin`: tokens for whoever holds the store.

use attache::clock::Clock;
use attache::control::access::{Role, Scope, Unauthenticated};
use attache::control::store::{AuditFilter, Page};

use super::office::{HERE, ask, minded, only, store_yaml};
use crate::support::child::{Child, Ended};
use crate::support::stage::Stage;

/// Runs `attache admin …` on the stage's configuration.
async fn admin(stage: &Stage, command: &str, arguments: &[&str]) -> Ended {
    let config = stage.directory().join("attache.yaml");
    let config = config.to_str().unwrap();
    let arguments = [&["admin", command, "--config", config], arguments].concat();
    Child::attache(&arguments).exited().await
}

fn staged() -> Stage {
    let stage = Stage::new();
    stage.config_file(&store_yaml(&stage));
    stage
}

#[tokio::test]
async fn the_first_token_is_printed_once_and_lets_its_holder_in() {
    let stage = staged();
    let arguments = ["--name", "the first", "--role", "full-admin", "--gateway"];

    let created = admin(&stage, "create-token", &arguments).await;

    assert_eq!(created.status.code(), Some(0), "{created:?}");
    let token = created.stdout.trim_end();
    assert!(
        token.starts_with("attache_") && !token.contains('\n'),
        "{token}"
    );
    assert!(!created.stderr.contains(token), "{}", created.stderr);
    let clock = Clock::system();
    let (store, authentication) = minded(&stage, "", &clock).await;
    let actor = ask(&authentication, HERE, &format!("Bearer {token}"))
        .await
        .unwrap();
    assert_eq!((actor.role, actor.scope), (Role::FullAdmin, Scope::All));
    let page = Page {
        after: None,
        limit: 10,
    };
    let log = store
        .audit_entries(&AuditFilter::default(), page)
        .await
        .unwrap();
    let said: Vec<_> = log
        .iter()
        .map(|one| (one.actor.as_str(), one.action.as_str()))
        .collect();
    assert_eq!(said, [("cli", "admin-token.create")]);
}

#[tokio::test]
async fn a_token_is_listed_and_revoked_while_a_gateway_has_the_store() {
    let stage = staged();
    let (_store, authentication) = minded(&stage, "", &Clock::system()).await;
    let arguments = [
        "--name",
        "x",
        "--role",
        "help-desk-admin",
        "--expires",
        "12h",
    ];
    let created = admin(&stage, "create-token", &arguments).await;
    let token = created.stdout.trim_end().to_owned();
    let id = token.split('_').nth(1).unwrap();
    let shown = format!("Bearer {token}");
    let actor = ask(&authentication, HERE, &shown).await.unwrap();
    assert_eq!(
        (actor.role, actor.scope),
        (Role::HelpDeskAdmin, only("default"))
    );

    let revoked = admin(&stage, "revoke-token", &[id]).await;
    let listed = admin(&stage, "list-tokens", &[]).await;

    assert_eq!(revoked.status.code(), Some(0), "{revoked:?}");
    let refused = ask(&authentication, HERE, &shown).await;
    assert_eq!(refused.unwrap_err(), Unauthenticated::Invalid);
    let line = listed
        .stdout
        .lines()
        .find(|line| line.starts_with(id))
        .unwrap();
    assert!(
        line.contains("help-desk-admin") && line.ends_with("revoked"),
        "{line}"
    );
    assert!(!listed.stdout.contains(&token) && !listed.stdout.contains("argon2"));
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let stage = staged();
    let full_admin = ["--name", "x", "--role", "full-admin"];
    let with = |more: &[&'static str]| [&full_admin[..], more].concat();
    for (command, arguments, code, said) in [
        (
            "create-token",
            vec!["--name", "x", "--role", "root"],
            2,
            "a role is one of",
        ),
        ("create-token", vec!["--role", "full-admin"], 2, "--name"),
        ("create-token", with(&["--expires", "5y"]), 2, "such as 90d"),
        (
            "create-token",
            with(&["--expires", "367d"]),
            2,
            "366d at most",
        ),
        (
            "create-token",
            with(&["--gateway", "--organization", "acme"]),
            2,
            "cannot be used with",
        ),
        (
            "create-token",
            with(&["--organization", "acme"]),
            1,
            "organization: there is no such organization",
        ),
        (
            "revoke-token",
            vec!["nobody"],
            1,
            "there is no token of that ID",
        ),
    ] {
        let ended = admin(&stage, command, &arguments).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?} {ended:?}");
        assert!(
            ended.stderr.contains(said),
            "{arguments:?} {}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "");
    }
}

#[tokio::test]
async fn without_a_store_there_are_no_tokens() {
    let bare = Stage::new();
    bare.config_file("");

    let ended = admin(&bare, "list-tokens", &[]).await;

    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("`store` is null"), "{}", ended.stderr);
}
