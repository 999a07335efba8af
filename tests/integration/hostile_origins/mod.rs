//! Origins whose answers are malformed, or are meant to be somebody else's.
//!
//! Each row of `http1.rs` and `http2.rs` is the exact bytes of an answer. The same is claimed of all:
//!
//! - the flow gets what the row says: the gateway's own 502, or an answer that breaks off where it
//!   can see it, or, where only bytes *behind* a whole answer are bad, that answer and no more;
//! - the connection that brought those bytes carries no further request, and is closed;
//! - the next flow's answer comes over another one, whole and its own.

use std::net::SocketAddr;

use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::Setup;
use crate::support::raw::RawOrigin;
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

mod http1;
mod http2;
mod mixing;

/// What must never reach a flow.
const EVIL: &str = "evil";

/// What an origin answers, and what comes of it.
#[derive(Clone)]
struct Row {
    what: &'static str,
    method: &'static str,
    said: Vec<u8>,
    then: Then,
    gets: Gets,
}

/// What an origin does behind its answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing: the connection stays open.
    Stay,
    /// It closes as TLS wants it (RFC 8446 §6.1).
    Close,
    /// It is gone without close_notify.
    Cut,
}

/// What the flow gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// 502 and this reason.
    Refused(&'static str),
    /// An answer that breaks off.
    Broken,
    /// No content, of an answer that is whole without it or breaks off.
    Head,
    /// This status and content, and nothing that came behind it.
    Whole(u16, &'static str),
}

fn row(what: &'static str, said: impl Into<Vec<u8>>, gets: Gets) -> Row {
    Row {
        what,
        method: "GET",
        said: said.into(),
        then: Then::Stay,
        gets,
    }
}

/// An answer that is none.
fn refused(what: &'static str, said: impl Into<Vec<u8>>) -> Row {
    row(what, said, Gets::Refused("origin-protocol"))
}

/// An answer whose head is good.
fn broken(what: &'static str, said: impl Into<Vec<u8>>) -> Row {
    row(what, said, Gets::Broken)
}

/// An answer that is whole before what is wrong.
fn whole(what: &'static str, said: impl Into<Vec<u8>>, status: u16, content: &'static str) -> Row {
    row(what, said, Gets::Whole(status, content))
}

impl Row {
    fn to(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// What a flow speaks.
#[derive(Clone, Copy, Debug)]
enum Flow {
    Http1,
    Http2,
}

/// What a flow got; `None` if it broke off.
type Got = Option<Answered>;

async fn ask(gateway: SocketAddr, flow: Flow, method: &'static str, target: String) -> Got {
    match flow {
        Flow::Http1 => {
            let mut wire = Wire::plain(gateway).await;
            wire.write(format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ))
            .await;
            let kind = match method {
                "HEAD" => Kind::ResponseToHead,
                _ => Kind::Response,
            };
            let got = wire.message(kind).await.ok()?;
            assert!(!wire.has_more(), "bytes behind the answer");
            Some(got.into())
        }
        Flow::Http2 => {
            let mut client = Client::http2(gateway).await;
            let body = Outgoing::Whole(None);
            let response = client.send(method, &target, &[], body).await.ok()?;
            within("an answer's body", Answered::read(response))
                .await
                .ok()
        }
    }
}

/// A gateway before an origin whose bytes are written by hand.
struct Room {
    _stage: Stage,
    raw: RawOrigin,
    gateway: Running,
}

impl Room {
    async fn start(protocols: Protocols) -> Self {
        // One answer after the other is refused, for which a breaker opens.
        Self::with(protocols, &["breaker: { failures: 10000 }"]).await
    }

    async fn with(protocols: Protocols, lines: &[&str]) -> Self {
        let stage = Stage::new();
        let raw = RawOrigin::start(Setup {
            protocols,
            ..Setup::new(&stage.server())
        })
        .await;
        let gateway = Running::start(&stage, &orders(&raw.url(""), lines)).await;
        Self {
            _stage: stage,
            raw,
            gateway,
        }
    }

    /// Holds the head of this file's claims for `row`, the `number`th.
    ///
    /// # Errors
    ///
    /// What the flow got instead, so that all rows that fail are seen at once.
    async fn hold(&self, row: &Row, number: usize, flow: Flow) -> Result<(), String> {
        let what = row.what;
        let gateway = self.gateway.flows();
        let asking = tokio::spawn(ask(gateway, flow, row.method, "/orders/x".to_owned()));
        let mut poisoned = self.raw.accept().await;
        poisoned.message(Kind::Request).await.unwrap();
        // The gateway may have seen enough before the end.
        let _ = poisoned.try_write(&row.said).await;
        match row.then {
            Then::Stay => {}
            Then::Close => drop(poisoned.try_half_close().await),
            Then::Cut => poisoned = Wire::over(tokio::io::empty()),
        }
        let got = within(what, asking).await.unwrap();

        let target = format!("/orders/next-{number}");
        let asking = tokio::spawn(ask(gateway, flow, "GET", target));
        let mut fresh = within(what, self.raw.accept()).await;
        let request = fresh.message(Kind::Request).await.unwrap();
        assert_eq!(request.target(), format!("/next-{number}"), "{what}");
        fresh
            .write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Number: {number}\r\n\
                 Connection: close\r\n\r\ngood"
            ))
            .await;
        let next = within("the next answer", asking).await.unwrap().unwrap();

        assert_eq!(
            (next.status.as_u16(), &*next.text()),
            (200, "good"),
            "{what}"
        );
        assert_eq!(next.field("x-number"), Some(&*number.to_string()));
        let more = within("the poisoned connection to end", poisoned.rest()).await;
        assert!(more.is_empty(), "{what}: the origin was sent {more:?}");
        match row.is_met_by(got.as_ref()) {
            true => Ok(()),
            false => Err(format!("{what} over {flow:?}: {got:?}")),
        }
    }
}

impl Row {
    fn is_met_by(&self, got: Option<&Answered>) -> bool {
        let Some(answered) = got else {
            return matches!(self.gets, Gets::Broken | Gets::Head);
        };
        let as_expected = match self.gets {
            Gets::Broken => false,
            Gets::Head => answered.status == 200 && answered.body.is_empty(),
            Gets::Refused(reason) => {
                let problem = self.method == "HEAD" || answered.reason() == reason;
                answered.status == 502 && problem
            }
            Gets::Whole(status, content) => {
                let own = answered.field("proxy-status").is_none();
                answered.status == status && answered.text() == content && own
            }
        };
        as_expected && !format!("{answered:?}").contains(EVIL)
    }
}

/// Holds `rows`, one after the other, before one gateway.
async fn hold(rows: Vec<Row>, flow: Flow) {
    let room = Room::start(Protocols::Http1).await;
    let mut faults = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        faults.extend(room.hold(row, number, flow).await.err());
    }
    assert!(faults.is_empty(), "{faults:#?}");
    room.gateway.drain().await;
}
