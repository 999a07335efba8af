//! What a reload does to tokens: an edited connector never serves an old one, an unedited one keeps
//! what it has.

use attache::gateway::ReloadError;

use crate::support::connector::{connector, oauth2, with_secret};
use crate::support::gateway;
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;

fn reload(room: &TokenRoom, stage: &Stage, own: &str) {
    assert_ne!(own, room.own(), "this reload changes nothing");
    room.gateway.reload(stage.config(own)).unwrap();
}

#[tokio::test]
async fn an_edited_connector_never_uses_its_old_token() {
    // protocol.md, row 56.
    let edits = [
        ("client-secret", "other-secret"),
        ("client_id: client", "client_id: other"),
        ("client_id: client", "scope: wider, client_id: client"),
        (
            "client_id: client",
            "token_parameters: { audience: b }, client_id: client",
        ),
        (
            "client_id: client",
            "token_headers: { X-Tenant: b }, client_id: client",
        ),
        ("/oauth/token", "/oauth/token?tenant=b"),
        (
            "client_id: client",
            "client_authentication: client_secret_post, client_id: client",
        ),
        (
            "client_id: client",
            "grant: password, username: u, password: pass-word, client_id: client",
        ),
    ];
    for (from, to) in edits {
        let stage = Stage::new();
        let room = TokenRoom::new(&stage, with_secret).await;

        let before = room.credential().await;
        reload(&room, &stage, &room.own().replacen(from, to, 1));
        let after = room.credential().await;

        assert_eq!(before, "Bearer token-1", "{to}");
        assert_eq!(after, "Bearer token-2", "{to}");
        room.gateway.drain().await;
    }
}

#[tokio::test]
async fn a_token_that_was_on_its_way_when_its_connector_was_edited_serves_nobody_after() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.release(0);
    let address = room.gateway.flows();
    let flow = tokio::spawn(async move { gateway::get(address, "/c/x").await });
    room.authority.until_requests(1).await;

    reload(
        &room,
        &stage,
        &room.own().replace("client-secret", "new-secret"),
    );
    room.authority.release_all();
    let answered = flow.await.unwrap();
    let after = room.credential().await;

    assert_eq!(answered.status, 200, "it began under the old secret");
    assert_eq!(after, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_edit_that_is_taken_back_obtains_another_token_all_the_same() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;

    room.credential().await;
    reload(
        &room,
        &stage,
        &room.own().replace("client-secret", "new-secret"),
    );
    room.gateway.reload(stage.config(room.own())).unwrap();
    let after = room.credential().await;

    assert_eq!(after, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_unedited_connector_keeps_its_token_across_reloads() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    let other = connector("other", &room.origin.url("/"), "none");

    room.credential().await;
    reload(&room, &stage, &format!("{}{other}", room.own()));
    reload(
        &room,
        &stage,
        &format!("limits: {{ fields_max: 90 }}\n{}", room.own()),
    );
    assert!(
        room.gateway
            .reload(stage.config("listen: nowhere\n"))
            .is_err()
    );
    let after = room.credential().await;

    assert_eq!(after, "Bearer token-1");
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_reload_that_fails_half_way_leaves_nothing_for_the_next_to_find() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    let (url, token_url) = (room.origin.url("/"), room.authority.token_url());
    let kept = connector("kept", &url, &with_secret(&token_url));
    reload(&room, &stage, &format!("{}{kept}", room.own()));
    room.credential().await;
    assert_eq!(room.gateway.get("/kept/x").await.status, 200);

    // It trusts no authorization server, edits `c`, and ends with what TLS refuses; reading finds
    // that first, so it is put in behind it.
    let edited = room.own().replace("client-secret", "new-secret");
    let last = connector("z", &url, "none");
    let nobody = "trust: { allow_addresses: [127.0.0.0/8, \"::1\"] }";
    let failing = format!("{nobody}\n{edited}{kept}{last}");
    let mut failing = stage.config(&failing).unwrap();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let last = std::sync::Arc::make_mut(failing.connectors.last_mut().unwrap());
    last.ca_bundle = Some(bad.into());
    let failed = room.gateway.reload(Ok(failing)).unwrap_err();
    assert!(matches!(failed, ReloadError::Publish(_)), "{failed:?}");
    reload(&room, &stage, &format!("{edited}{kept}"));

    assert_eq!(room.credential().await, "Bearer token-3", "under old trust");
    assert_eq!(room.gateway.get("/kept/x").await.status, 200);
    assert_eq!(room.authority.count(), 3, "`kept` has its token still");
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_connector_that_was_removed_and_added_again_starts_anew() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;

    room.credential().await;
    reload(&room, &stage, "connectors: []\n");
    let gone = room.get().await;
    room.gateway.reload(stage.config(room.own())).unwrap();
    let after = room.credential().await;

    assert_eq!(gone.status, 404);
    assert_eq!(after, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn two_scopes_at_one_token_endpoint_are_two_tokens() {
    // RFC 9700 §2.3; protocol.md 51.
    let stage = Stage::new();
    let scoped = |url: &str| oauth2(url, "client_id: c, client_secret: client-secret, scope: a");
    let room = TokenRoom::new(&stage, scoped).await;
    let other = room.own().lines().last().unwrap();
    let other = other
        .replace("id: c, name: c,", "id: d, name: d,")
        .replace("scope: a", "scope: b");
    reload(&room, &stage, &format!("{}{other}\n", room.own()));

    room.credential().await;
    let answered = room.gateway.get("/d/x").await;

    assert_eq!(answered.status, 200);
    let scopes: Vec<_> = room
        .asked()
        .iter()
        .map(|it| it.parameter("scope").map(str::to_owned))
        .collect();
    assert_eq!(scopes, [Some("a".to_owned()), Some("b".to_owned())]);
    let last = room.origin.requests().pop().unwrap();
    assert_eq!(last.field("authorization"), Some("Bearer token-2"));
    room.gateway.drain().await;
}
