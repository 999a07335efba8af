//! A database that is away, hanging or lying costs its callers the configured time and no more.

use std::time::{Duration, Instant};

use attache::config::StoreUrl;
use attache::control::store::{OpenError, Store, StoreError};
use attache::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::room::{Room, connector, entry, id, keep, on_both};
use crate::support::pki::{Ca, Leaf};
use crate::support::postgres::{Fsync, Postgres};
use crate::support::within;

/// What a statement may take in these tests; answers have several times that before a test fails.
const TIMEOUT: Duration = Duration::from_millis(500);

async fn is_unavailable(store: &Store) {
    let started = Instant::now();
    let read = store.connector(&id("orders")).await;
    assert!(
        matches!(read, Err(StoreError::Unavailable { .. })),
        "{read:?}"
    );
    let begun = store.begin().await.map(drop);
    assert!(
        matches!(begun, Err(StoreError::Unavailable { .. })),
        "{begun:?}"
    );
    let noted = store.note(&entry("orders")).await;
    assert!(
        matches!(noted, Err(StoreError::Unavailable { .. })),
        "{noted:?}"
    );
    let changes = store.changes_since(0).await.map(drop);
    assert!(
        matches!(changes, Err(StoreError::Unavailable { .. })),
        "{changes:?}"
    );
    let took = started.elapsed();
    // Each waits for its turn, for a connection and for an answer, at the most.
    assert!(took < TIMEOUT * 3 * 4 + TIMEOUT, "{took:?}");
}

async fn own_room() -> Room {
    let mut room = Room::on(Postgres::own(Fsync::Off)).await;
    room.settings.timeout = TIMEOUT;
    room
}

/// Waits until the store answers again.
async fn until_it_answers(store: &Store) {
    within("the store to answer", async {
        while store.revision().await.is_err() {}
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_stopped_is_unavailable_until_it_is_back() {
    let room = own_room().await;
    let store = room.open().await;
    let seen = keep(&store, &connector("orders"), "s").await;

    room.server().stop();
    is_unavailable(&store).await;
    room.server().start();
    until_it_answers(&store).await;

    assert!(store.connector(&id("orders")).await.unwrap().is_some());
    // And it tells of changes again.
    let other = room.open().await;
    keep(&other, &connector("next"), "s").await;
    within("the news", store.changed(seen)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_until_it_goes_on() {
    let room = own_room().await;
    let store = room.open().await;
    keep(&store, &connector("orders"), "s").await;

    room.server().freeze();
    is_unavailable(&store).await;
    is_unavailable(&store).await;
    room.server().thaw();
    until_it_answers(&store).await;

    keep(&store, &connector("next"), "s").await;
}

#[tokio::test]
async fn what_was_changed_while_nobody_listened_is_heard_of_afterwards() {
    let room = Room::postgres().await;
    let (writer, reader) = (room.open().await, room.open().await);
    let first = keep(&writer, &connector("a"), "s").await;
    within("the news", reader.changed(0)).await;

    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    room.tamper(ended).await.unwrap();
    keep(&writer, &connector("b"), "s").await;

    within("the news", reader.changed(first)).await;
}

#[tokio::test]
async fn a_change_whose_server_is_killed_is_not_acknowledged() {
    let room = own_room().await;
    let store = room.open().await;
    keep(&store, &connector("orders"), "s").await;
    let mut change = store.begin().await.unwrap();
    change.audit(&entry("orders")).await.unwrap();

    room.server().kill();
    let committed = change.commit().await;
    room.server().start();
    until_it_answers(&store).await;

    assert!(
        matches!(committed, Err(StoreError::Unavailable { .. })),
        "{committed:?}"
    );
    assert_eq!(store.revision().await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_unavailable_at_opening() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let mut room = Room::sqlite();
    room.settings.timeout = TIMEOUT;
    let url = format!("postgres://postgres@{address}/x");
    room.settings.url = StoreUrl::Postgres(Secret::new(url));

    let started = Instant::now();
    let refused = Store::open(&room.settings, room.clock()).await;

    assert!(
        matches!(refused, Err(OpenError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(started.elapsed() < TIMEOUT * 4, "{:?}", started.elapsed());
    let later = Store::open_later(&room.settings, room.clock()).unwrap();
    is_unavailable(&later).await;
}

#[tokio::test]
async fn a_store_opened_while_its_server_was_away_works_once_it_is_there() {
    let room = own_room().await;
    room.server().stop();
    let refused = Store::open(&room.settings, room.clock()).await;
    assert!(
        matches!(refused, Err(OpenError::Unavailable { .. })),
        "{refused:?}"
    );

    let store = Store::open_later(&room.settings, room.clock()).unwrap();
    is_unavailable(&store).await;
    room.server().start();
    until_it_answers(&store).await;

    keep(&store, &connector("orders"), "s").await;
}

#[tokio::test]
async fn a_change_that_takes_too_long_makes_the_others_wait_no_longer_than_the_limit() {
    on_both(|mut room| async move {
        room.settings.timeout = TIMEOUT;
        let store = room.open().await;
        let other = room.open().await;
        let held = store.begin().await.unwrap();

        let started = Instant::now();
        for waiting in [&other, &store] {
            let refused = waiting.begin().await.map(drop);
            assert!(
                matches!(refused, Err(StoreError::Unavailable { .. })),
                "{refused:?}"
            );
        }
        assert!(started.elapsed() < TIMEOUT * 6, "{:?}", started.elapsed());
        // Reading waits for nobody.
        assert_eq!(store.revision().await.unwrap(), 0);
        drop(held);

        keep(&other, &connector("orders"), "s").await;
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_of_a_change_spoils_nothing_for_others() {
    on_both(|mut room| async move {
        room.settings.connections_max = 2;
        let store = room.open().await;
        for turn in 0..50 {
            let store = store.clone();
            let writing = tokio::spawn(async move {
                let record = connector(&format!("c{turn}"));
                keep(&store, &record, "s").await;
            });
            for _ in 0..turn {
                tokio::task::yield_now().await;
            }
            writing.abort();
            // Whether it was done or not.
            let _ = writing.await;
        }

        let revision = keep(&store, &connector("last"), "s").await;

        let changes = store.changes_since(0).await.unwrap();
        assert_eq!(u64::try_from(changes.connectors.len()).unwrap(), revision);
        assert!(changes.connectors.iter().all(|one| one.secrets.is_ok()));
    })
    .await;
}

#[tokio::test]
async fn a_server_is_believed_with_a_certificate_for_its_name_that_is_trusted_and_not_otherwise() {
    let ca = Ca::new("database");
    let mut room = own_room().await;
    let StoreUrl::Postgres(plain) = room.settings.url.clone() else {
        panic!("a PostgreSQL room");
    };
    let elsewhere = Leaf::server(&["db.example.com"]);
    std::fs::write(room.path("ca.pem"), ca.pem()).unwrap();
    std::fs::write(room.path("other.pem"), Ca::new("other").pem()).unwrap();

    for (what, identity, trusted, opens) in [
        ("good", ca.server(&[]), "ca.pem", true),
        ("an unknown authority", ca.server(&[]), "other.pem", false),
        ("another name", ca.issue(&elsewhere), "ca.pem", false),
    ] {
        room.server().show(&identity);
        let root = room.path(trusted);
        let url = format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            plain.expose(),
            root.display()
        );
        room.settings.url = StoreUrl::Postgres(Secret::new(url));
        let opened = Store::open(&room.settings, room.clock()).await;
        assert_eq!(opened.is_ok(), opens, "{what}: {opened:?}");
    }
}

/// Reads one message of the frontend; the first has no type.
async fn read_message(socket: &mut TcpStream, is_first: bool) -> std::io::Result<u8> {
    let kind = if is_first { 0 } else { socket.read_u8().await? };
    let length = usize::try_from(socket.read_u32().await?).unwrap();
    let mut body = vec![0; length - 4];
    socket.read_exact(&mut body).await?;
    Ok(kind)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Answers every statement with a row that has fewer columns than it described.
async fn answer_short_rows(mut socket: TcpStream) -> std::io::Result<()> {
    let ready = message(b'Z', b"I");
    // A request for TLS, which is declined, may come before the start.
    let first = {
        let length = socket.read_u32().await?;
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        socket.read_exact(&mut body).await?;
        body
    };
    if first == 80_877_103_u32.to_be_bytes() {
        socket.write_all(b"N").await?;
        read_message(&mut socket, true).await?;
    }
    let authenticated = message(b'R', &0_u32.to_be_bytes());
    socket
        .write_all(&[authenticated, ready.clone()].concat())
        .await?;
    let column = [
        b"c\0".as_slice(),
        &0_u32.to_be_bytes(),
        &0_u16.to_be_bytes(),
        &20_u32.to_be_bytes(),
        &8_u16.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
        &1_u16.to_be_bytes(),
    ]
    .concat();
    let described = [&1_u16.to_be_bytes()[..], &column].concat();
    let short = message(b'D', &0_u16.to_be_bytes());
    let done = message(b'C', b"SELECT 1\0");
    loop {
        let answer = match read_message(&mut socket, false).await? {
            b'Q' => [message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat(),
            b'P' => message(b'1', b""),
            b'D' => [
                message(b't', &0_u16.to_be_bytes()),
                message(b'T', &described),
            ]
            .concat(),
            b'B' => message(b'2', b""),
            b'E' => [short.clone(), done.clone()].concat(),
            b'S' => ready.clone(),
            b'X' => return Ok(()),
            _ => Vec::new(),
        };
        socket.write_all(&answer).await?;
    }
}

/// protocol.md, row 61 (RUSTSEC-2026-0178): a server that sends a row shorter than it said is an error
/// to whoever asked, and nothing worse.
#[tokio::test]
async fn a_row_shorter_than_its_description_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer_short_rows(socket));
        }
    });
    let mut room = Room::sqlite();
    let url = format!("postgres://postgres@{address}/x");
    room.settings.url = StoreUrl::Postgres(Secret::new(url));

    for _ in 0..3 {
        let opening = Store::open(&room.settings, room.clock());
        let refused = within("an answer", opening).await.unwrap_err();
        let shown = format!("{refused:?}");
        assert!(shown.contains("shorter"), "{shown}");
    }
}
