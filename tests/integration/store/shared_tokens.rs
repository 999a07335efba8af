//! The rows of tokens that replicas share: one holder at a time, sealed in their place.

use std::time::Duration;

use attache::config;
use attache::control::store::Store;
use attache::credential::{
    Lease, LeaseState, Leased, SharedKey, SharedToken, SharedTokens, Still, Unused,
};
use attache::secret::Secret;

use super::room::{Room, connector, id, keep, master_key, on_both, update};
use crate::support::within;

const LIFE: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(300);

fn key(number: u8) -> SharedKey {
    SharedKey::new(id("orders"), [number; 32])
}

fn token(text: &str) -> SharedToken {
    SharedToken {
        access_token: secret(text),
        lifetime: LIFE,
        age: Duration::from_secs(60),
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

async fn lease(store: &Store, key: &SharedKey) -> Lease {
    match store.lease(key).await.unwrap() {
        Leased::Ours(lease) => lease,
        Leased::Theirs => panic!("somebody has it"),
    }
}

async fn is_leased(store: &Store, key: &SharedKey) -> bool {
    matches!(store.lease(key).await.unwrap(), Leased::Theirs)
}

/// Keeps a token under `key`, and a refresh token; gives its number.
async fn kept(store: &Store, key: &SharedKey, text: &str, refresh_token: Option<&str>) -> u64 {
    let lease = lease(store, key).await;
    let refresh_token = refresh_token.map(secret);
    let still = store
        .keep(&lease, &token(text), refresh_token.as_ref())
        .await;
    assert_eq!(still.unwrap(), Still::Ours);
    lease.next_serial
}

/// The token under `key`, if there is one that opens.
async fn found(store: &Store, key: &SharedKey) -> Option<String> {
    let token = store.look(key).await.unwrap().token?;
    Some(token.access_token.expose().to_owned())
}

/// Waits for the lease of `key` to lapse.
async fn lapse(store: &Store, key: &SharedKey) {
    let lapsing = async {
        while store.look(key).await.unwrap().lease != LeaseState::Lapsed {
            tokio::task::yield_now().await;
        }
    };
    within("a lease to lapse", lapsing).await;
}

fn with_lease(room: &Room, lease: Duration) -> config::Store {
    config::Store {
        lease,
        ..room.settings.clone()
    }
}

#[tokio::test]
async fn what_one_keeps_another_finds_as_old_as_it_is() {
    on_both(|room| async move {
        let (one, other) = (room.open().await, room.open().await);
        let before = one.look(&key(1)).await.unwrap();
        assert_eq!(
            (before.serial, before.token, before.lease),
            (0, None, LeaseState::Free)
        );

        let serial = kept(&one, &key(1), "a-1", None).await;

        let row = other.look(&key(1)).await.unwrap();
        let token = row.token.unwrap();
        assert_eq!((row.serial, row.lease), (serial, LeaseState::Free));
        assert_eq!(token.access_token.expose(), "a-1");
        assert_eq!(token.lifetime, LIFE);
        let age = Duration::from_secs(60);
        assert!(
            (age..age + Duration::from_secs(10)).contains(&token.age),
            "{:?}",
            token.age
        );
        assert_eq!(found(&other, &key(2)).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_one_replicas_until_it_is_given_back() {
    on_both(|room| async move {
        let (one, other) = (room.open().await, room.open().await);
        let held = lease(&one, &key(1)).await;

        assert!(is_leased(&other, &key(1)).await);
        assert!(
            is_leased(&one, &key(1)).await,
            "not even its own holder's twice"
        );
        let left = other.look(&key(1)).await.unwrap().lease;
        assert!(matches!(left, LeaseState::Held(left) if left <= room.settings.lease));
        assert_eq!(
            one.release(&held, Unused::Stays).await.unwrap(),
            Still::Ours
        );

        assert_eq!(one.look(&key(1)).await.unwrap().lease, LeaseState::Free);
        lease(&other, &key(1)).await;
    })
    .await;
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_has_the_lease() {
    on_both(|room| async move {
        let store = room.open().await;
        for number in 0..10 {
            let key = key(number);
            let asked = futures_util::future::join_all((0..8).map(|_| store.lease(&key))).await;
            let ours = asked
                .iter()
                .filter(|one| matches!(one, Ok(Leased::Ours(_))));
            assert_eq!(ours.count(), 1, "{asked:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_lease_lapses_and_whoever_comes_late_keeps_nothing() {
    on_both(|room| async move {
        let store = Store::open(&with_lease(&room, SHORT), room.clock())
            .await
            .unwrap();
        let late = lease(&store, &key(1)).await;
        lapse(&store, &key(1)).await;
        let next = lease(&store, &key(1)).await;

        for still in [
            store.keep(&late, &token("late"), None).await,
            store.renew(&late).await,
            store.release(&late, Unused::Goes).await,
            store.release(&late, Unused::Stays).await,
        ] {
            assert_eq!(still.unwrap(), Still::Lost);
        }
        assert_eq!(found(&store, &key(1)).await, None);
        assert_eq!(
            store.keep(&next, &token("next"), None).await.unwrap(),
            Still::Ours
        );
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_nobody_took_over_is_its_holders_however_late() {
    on_both(|room| async move {
        let store = Store::open(&with_lease(&room, SHORT), room.clock())
            .await
            .unwrap();
        let late = lease(&store, &key(1)).await;
        lapse(&store, &key(1)).await;
        // Once renewed it holds for as long as a busy machine may need.
        let store = Store::open(&with_lease(&room, LONG), room.clock())
            .await
            .unwrap();

        assert_eq!(store.renew(&late).await.unwrap(), Still::Ours);
        assert!(is_leased(&store, &key(1)).await);
        assert_eq!(
            store.keep(&late, &token("a-1"), None).await.unwrap(),
            Still::Ours
        );
    })
    .await;
}

#[tokio::test]
async fn numbers_grow_and_do_not_begin_again_where_a_row_was_forgotten() {
    on_both(|room| async move {
        let store = room.open().await;
        let first = kept(&store, &key(1), "a-1", None).await;
        let second = kept(&store, &key(1), "a-2", None).await;
        let mut change = store.begin().await.unwrap();
        change.forget_shared_tokens(&id("orders")).await.unwrap();
        change.commit().await.unwrap();

        assert_eq!(store.look(&key(1)).await.unwrap().serial, 0);
        let third = kept(&store, &key(1), "a-3", None).await;

        assert!(first < second && second < third, "{first} {second} {third}");
    })
    .await;
}

#[tokio::test]
async fn a_change_that_is_not_made_forgets_nothing() {
    on_both(|room| async move {
        let store = room.open().await;
        kept(&store, &key(1), "a-1", None).await;
        let other = SharedKey::new(id("other"), [2; 32]);
        kept(&store, &other, "b-1", None).await;

        let mut dropped = store.begin().await.unwrap();
        dropped.forget_shared_tokens(&id("orders")).await.unwrap();
        drop(dropped);
        let mut made = store.begin().await.unwrap();
        made.forget_shared_tokens(&id("other")).await.unwrap();
        made.commit().await.unwrap();

        assert_eq!(found(&store, &key(1)).await.as_deref(), Some("a-1"));
        assert_eq!(found(&store, &other).await, None);
    })
    .await;
}

#[tokio::test]
async fn sharing_tokens_is_no_change_of_the_store() {
    on_both(|room| async move {
        let store = room.open().await;
        keep(&store, &connector("orders"), "password").await;
        let revision = store.revision().await.unwrap();

        kept(&store, &key(1), "a-1", Some("r-1")).await;

        assert_eq!(store.revision().await.unwrap(), revision);
        assert!(update(&store, &connector("orders")).await > revision);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_was_changed_or_moved_holds_no_token() {
    const MOVED: &str = "UPDATE shared_tokens SET wrapped = other.wrapped, sealed = other.sealed, \
         serial = other.serial FROM shared_tokens AS other \
         WHERE shared_tokens.key <> other.key AND other.connector = 'other'";
    on_both(|room| async move {
        let store = room.open().await;
        let zeros = match room.is_sqlite() {
            true => "zeroblob(length(sealed))",
            false => "decode(repeat('00', length(sealed)), 'hex')",
        };
        let changed = format!("UPDATE shared_tokens SET sealed = {zeros}");
        for tampering in [
            "UPDATE shared_tokens SET serial = serial + 1",
            "UPDATE shared_tokens SET sealed = wrapped",
            "UPDATE shared_tokens SET key_id = ''",
            "UPDATE shared_tokens SET key_id = '0123456789abcdef'",
            "UPDATE shared_tokens SET sealed = refresh_sealed, wrapped = refresh_wrapped",
            MOVED,
            &changed,
        ] {
            room.tamper("DELETE FROM shared_tokens").await.unwrap();
            let other = SharedKey::new(id("other"), [2; 32]);
            kept(&store, &other, "b-1", Some("r-2")).await;
            // Long enough to be read as a lifetime and a token.
            kept(&store, &key(1), "a-1", Some("a-refresh-token")).await;
            assert!(found(&store, &key(1)).await.is_some());

            room.tamper(tampering).await.unwrap();

            assert_eq!(found(&store, &key(1)).await, None, "{tampering}");
            kept(&store, &key(1), "a-2", None).await;
            assert_eq!(found(&store, &key(1)).await.as_deref(), Some("a-2"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_refresh_token_is_given_to_one_holder_until_it_says_what_became_of_it() {
    on_both(|room| async move {
        let store = Store::open(&with_lease(&room, SHORT), room.clock())
            .await
            .unwrap();
        let key = key(1);
        kept(&store, &key, "a-1", Some("r-1")).await;
        let given = |lease: &Lease| {
            lease
                .refresh_token
                .as_ref()
                .map(|it| it.expose().to_owned())
        };

        let first = lease(&store, &key).await;
        assert_eq!(given(&first).as_deref(), Some("r-1"));
        store.release(&first, Unused::Stays).await.unwrap();
        let second = lease(&store, &key).await;
        assert_eq!(given(&second).as_deref(), Some("r-1"), "it was not used");
        // It dies: nobody knows whether it was used.
        lapse(&store, &key).await;
        let third = lease(&store, &key).await;
        assert_eq!(given(&third), None);
        store.release(&third, Unused::Stays).await.unwrap();
        let fourth = lease(&store, &key).await;
        assert_eq!(given(&fourth), None, "nor later");

        let refresh_token = secret("r-2");
        store
            .keep(&fourth, &token("a-2"), Some(&refresh_token))
            .await
            .unwrap();
        let fifth = lease(&store, &key).await;
        assert_eq!(given(&fifth).as_deref(), Some("r-2"));
        store.release(&fifth, Unused::Goes).await.unwrap();
        assert_eq!(given(&lease(&store, &key).await), None);
        assert_eq!(
            found(&store, &key).await.as_deref(),
            Some("a-2"),
            "the token stays"
        );
    })
    .await;
}

#[tokio::test]
async fn another_master_key_opens_nothing_and_one_more_opens_all() {
    on_both(|room| async move {
        let old = room.open().await;
        kept(&old, &key(1), "a-1", Some("r-1")).await;
        let under = |keys: &[u8]| config::Store {
            master_keys: keys.iter().map(|byte| master_key(*byte)).collect(),
            ..room.settings.clone()
        };

        let both = Store::open(&under(&[2, 1]), room.clock()).await.unwrap();
        assert_eq!(found(&both, &key(1)).await.as_deref(), Some("a-1"));
        let new = Store::open(&under(&[2]), room.clock()).await.unwrap();
        assert_eq!(
            found(&new, &key(1)).await,
            None,
            "and it does not keep from starting"
        );

        assert_ne!(old.fingerprint_key(), new.fingerprint_key());
        assert_eq!(both.fingerprint_key(), new.fingerprint_key());
        assert_eq!(lease(&new, &key(1)).await.refresh_token, None);
    })
    .await;
}

#[tokio::test]
async fn spent_tokens_are_erased_and_what_may_be_of_use_is_not() {
    on_both(|room| async move {
        let store = room.open().await;
        let spent = SharedToken {
            age: LIFE + Duration::from_secs(1),
            ..token("spent")
        };
        let refresh_token = secret("r-1");
        for (number, token, refresh_token) in [
            (1, &spent, None),
            (2, &spent, Some(&refresh_token)),
            (3, &token("fresh"), None),
        ] {
            let lease = lease(&store, &key(number)).await;
            store.keep(&lease, token, refresh_token).await.unwrap();
        }
        let _leased = lease(&store, &key(4)).await;

        store.tidy().await.unwrap();

        let count = "SELECT COUNT(*) FROM shared_tokens";
        assert_eq!(room.number(count).await, 3);
        assert_eq!(store.look(&key(1)).await.unwrap().serial, 0);
    })
    .await;
}

#[tokio::test]
async fn no_token_is_at_rest_as_it_is() {
    on_both(|room| async move {
        let store = room.open().await;
        kept(&store, &key(1), "canary-access", Some("canary-refresh")).await;
        let text = match room.is_sqlite() {
            true => "hex(sealed) || hex(refresh_sealed) || hex(wrapped)",
            false => "encode(sealed || refresh_sealed || wrapped, 'hex')",
        };
        let canary: String = "canary".bytes().map(|byte| format!("{byte:02x}")).collect();

        let shown =
            format!("SELECT COUNT(*) FROM shared_tokens WHERE lower({text}) LIKE '%{canary}%'");

        assert_eq!(room.number(&shown).await, 0);
        let rows = "SELECT COUNT(*) FROM shared_tokens WHERE length(refresh_sealed) > 0";
        assert_eq!(room.number(rows).await, 1);
    })
    .await;
}
