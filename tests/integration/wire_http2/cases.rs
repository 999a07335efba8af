//! What the corpus says of its cases.

use futures_util::StreamExt;

use crate::support::message::{self, Message};
use crate::support::wire::recorder::Arrived;

use super::corpus::{self, Case, Gets};
use super::{LANES, Played, Room};

/// What the gateway adds to every request, and the oracle has judged.
const ADDED: [&str; 6] = [
    "host",
    "via",
    "forwarded",
    "x-request-id",
    "authorization",
    "x-api-key",
];

/// An arrival as a case has it: start and fields by lines, an empty one, content, trailers by lines.
fn shown(message: &Message) -> String {
    let fields = message.fields.iter();
    let own = fields.filter(|(name, _)| !ADDED.contains(&name.as_str()));
    let own: String = own
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let trailers = message.trailers.iter();
    let trailers: String = trailers
        .map(|(name, value)| format!("\n{name}: {value}"))
        .collect();
    format!("{}\n{own}\n{}{trailers}", message.start, message.text())
}

impl Gets {
    /// The streams that the gateway has to end.
    fn awaited(&self) -> &'static [u32] {
        match self {
            Self::TakenBack => &[],
            Self::Malformed | Self::Cut | Self::Refused(_) | Self::Arrives(_) => &[1],
        }
    }

    /// Finds fault with what a client got.
    fn judge_got(&self, played: &Played) -> Result<(), String> {
        let got = played.got.get(&1);
        let status = got.and_then(super::Got::status);
        let problem = got
            .map(|got| message::reason(&got.content))
            .unwrap_or_default();
        let gone = played.closed || got.is_some_and(|got| got.reset);
        let fits = match self {
            Self::Malformed => match status {
                None => gone,
                // RFC 9113 §8.1.1 lets a server say so; a head that is too large is told so.
                Some(status) => status == 400 || status == 431,
            },
            Self::TakenBack => status.is_none(),
            Self::Cut => gone || status == Some(400),
            Self::Refused(expected) => {
                // h2 has no words of ours for a head that it would not keep.
                status == Some(*expected) && (!problem.is_empty() || *expected == 431)
            }
            Self::Arrives(_) => status == Some(200) && problem.is_empty(),
        };
        match fits {
            true => Ok(()),
            false => Err(format!(
                "got {status:?} {problem:?} {got:?}, closed: {}",
                played.closed
            )),
        }
    }

    /// Finds fault with what arrived.
    fn judge_arrived(&self, arrived: &[Arrived]) -> Result<(), String> {
        let fits = match self {
            Self::Malformed | Self::Refused(_) => arrived.is_empty(),
            Self::Cut | Self::TakenBack => arrived.iter().all(|arrival| !arrival.whole),
            Self::Arrives(expected) => match arrived {
                [arrival] => arrival.whole && shown(&arrival.message) == *expected,
                _ => false,
            },
        };
        let shown: Vec<_> = arrived
            .iter()
            .map(|arrival| shown(&arrival.message))
            .collect();
        match fits {
            true => Ok(()),
            false => Err(format!("arrived {shown:?}")),
        }
    }
}

#[test]
fn every_case_is_one_of_its_own() {
    let cases = corpus::all();
    let mut seen = std::collections::HashMap::new();
    for case in &cases {
        let before = seen.insert(case.said.clone(), &case.what);
        assert_eq!(before, None, "{} is the same", case.what);
    }
    assert!(cases.len() >= 100, "{} cases", cases.len());
}

#[tokio::test]
async fn what_http2_lets_a_flow_write_reaches_an_origin_as_http11_or_not_at_all() {
    // RFC 9113 §8; protocol.md, lines 31, 32 and 34 to 36, rows 14, 30, 33 and 60.
    let room = Room::start().await;
    let cases = corpus::all();

    let played: Vec<(&Case, _)> = futures_util::stream::iter(&cases)
        .map(|case| {
            let room = &room;
            async move { (case, room.play(&case.said, case.gets.awaited()).await) }
        })
        .buffer_unordered(LANES)
        .collect()
        .await;

    let ended = room.end().await;
    let mut faults = ended.0.faults();
    for (case, played) in played {
        let judged = played.and_then(|played| {
            let arrived = ended.judge(&case.said, played.client)?;
            case.gets.judge_got(&played)?;
            case.gets.judge_arrived(&arrived)
        });
        let gets = &case.gets;
        faults.extend(
            judged
                .err()
                .map(|fault| format!("{}: {gets:?}: {fault}", case.what)),
        );
    }
    let (count, all) = (faults.len(), cases.len());
    println!("{all} cases");
    assert!(
        faults.is_empty(),
        "{count} of {all}:\n{}",
        faults.join("\n")
    );
}
