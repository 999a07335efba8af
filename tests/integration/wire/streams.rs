//! The streams of `tests/wire/`, each over a connection of its own.

use std::path::Path;

use futures_util::StreamExt;

use crate::support::wire::corpus::{self, Stream};
use crate::support::wire::room::Room;

/// Connections at once.
const LANES: usize = 32;

/// Every stream that is written down.
pub(crate) fn all() -> Vec<Stream> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| corpus::parse(&text)).collect()
}

#[test]
fn every_stream_is_one_of_its_own() {
    let streams = all();
    let mut seen = std::collections::HashMap::new();
    for stream in &streams {
        let before = seen.insert((stream.writes.clone(), stream.half_closes), &stream.name);
        assert_eq!(before, None, "{} is the same", stream.name);
    }
    assert!(streams.len() >= 500, "{} streams", streams.len());
}

#[tokio::test]
async fn nothing_but_what_was_asked_reaches_an_origin_whatever_the_bytes() {
    // protocol.md, point 18, lines 18 to 29, rows 1 to 5, 21, 23 to 29, 32, 33, 35 and 38: each is
    // cited where its streams stand.
    let room = Room::start_for_streams().await;
    let streams = all();

    let held: Vec<_> = futures_util::stream::iter(&streams)
        .map(|stream| {
            let room = &room;
            async move { (stream, room.hold(stream).await) }
        })
        .buffer_unordered(LANES)
        .collect()
        .await;

    let (mut sent, mut faults) = (Vec::new(), Vec::new());
    for (stream, outcome) in held {
        match outcome {
            Ok(of_stream) => sent.push(of_stream),
            Err(fault) => faults.push(format!("{}: {fault}", stream.name)),
        }
    }
    faults.extend(room.end(&sent).await);
    let count = faults.len();
    assert!(
        faults.is_empty(),
        "{count} of {}:\n{}",
        streams.len(),
        faults.join("\n")
    );
}
