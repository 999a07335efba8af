//! The fault matrix: what a flow gets when something behind the gateway is broken.
//!
//! Each row of `origin_http1.rs`, `origin_http2.rs`, `token_endpoint.rs` and `dns.rs` is a test. It says
//! the fault, the limit that ends it (if one has to), what the flow gets and how often the faulty
//! peer hears the request. [`Row::hold`] claims the same of all rows:
//!
//! - the flow gets exactly that, while every limit but the row's own is too far away to have decided
//!   it (see [`room::FAR`]);
//! - meanwhile another connector's request is served;
//! - where `may_have_reached_origin` is false, no request was heard;
//! - the metrics have moved by exactly what the row says ([`Books`]): the code that the flow got, the
//!   reason where it was a refusal, the token request's outcome, and nothing else;
//! - the next request is served once the fault is lifted, and counted.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::chaos::Fault;
use crate::support::client::Answered;
use crate::support::message::Kind;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::within;

mod books;
mod dns;
mod origin_http1;
mod origin_http2;
mod room;
mod token_endpoint;

use books::Books;
use room::Room;

/// What a healthy peer answers: a token endpoint's answer, and as good as any from an origin.
const CONTENT: &str = r#"{"access_token":"token-1","token_type":"Bearer","expires_in":3600}"#;

/// What the books say of a token request that brought a token.
const TOKEN_OK: &str = "token ok";

/// The connector that meets the fault.
const HIT: &str = "hit";
/// Another one.
const BESIDE: &str = "beside";

/// One fault and what comes of it.
pub(crate) struct Row {
    leg: Leg,
    protocols: Protocols,
    fault: Fault,
    /// What is wrong with the faulty peer's name.
    trouble: Trouble,
    /// Whether the fault meets a connection that has carried a request already.
    warm: Warm,
    limit: Limit,
    method: &'static str,
    gets: Gets,
    /// How often the faulty peer hears the request.
    heard: usize,
    /// What is counted beside the answer, as [`Books`] writes it but for the connector.
    counts: Vec<&'static str>,
    /// What the books say as long as the fault is on.
    meanwhile: Option<&'static str>,
    /// How much time passes before the next request, at least.
    recovers_after: Duration,
}

/// Where the fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    Origin,
    TokenEndpoint,
}

/// Whether a fault meets a connection that has carried a request already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warm {
    /// No.
    No,
    /// Yes.
    Yes,
    /// Yes, and the gateway knows by the next request that the connection is gone.
    Noticed,
    /// Yes, and so long before the fault that no connection is left.
    Later(Duration),
}

/// What is wrong with the name of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nothing: it is 127.0.0.1.
    None,
    /// There is no such name.
    Denied,
    /// Nobody can be asked.
    Failing,
    /// Nobody answers.
    Hanging,
    /// It has these addresses.
    Addresses(&'static [&'static str]),
}

/// The limit that ends a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// None: the fault ends the exchange by itself.
    Event,
    /// This key of the connector's `upstream`.
    Upstream(&'static str),
    /// This key of `tokens`, in real time.
    Tokens(&'static str),
    /// This key of `tokens`, which the clock is turned past once the request was heard.
    TokensTurned(&'static str, Duration),
}

/// What the flow gets.
#[derive(Clone, Copy, Debug)]
enum Gets {
    /// The gateway's own words: status, reason, error of `Proxy-Status` (RFC 9209 §2.3).
    Refusal(u16, &'static str, &'static str),
    /// The origin's status and content, whole.
    Answer(u16, &'static str),
    /// An answer that breaks off where the flow can see it; the origin's status was counted.
    Broken(u16),
    /// More than it takes: it goes when it has this many bytes.
    Endless(usize),
}

impl Row {
    /// A fault of an origin that speaks HTTP/1.1.
    fn origin(fault: Fault) -> Self {
        Self {
            leg: Leg::Origin,
            protocols: Protocols::Http1,
            heard: usize::from(matches!(fault, Fault::Answer(_))),
            fault,
            trouble: Trouble::None,
            warm: Warm::No,
            limit: Limit::Event,
            method: "GET",
            gets: Gets::Answer(200, CONTENT),
            counts: Vec::new(),
            meanwhile: None,
            recovers_after: Duration::ZERO,
        }
    }

    /// A fault of an origin that speaks HTTP/2.
    fn origin_http2(fault: Fault) -> Self {
        Self {
            protocols: Protocols::Http2,
            ..Self::origin(fault)
        }
    }

    /// A fault of a token endpoint, after which a token request counts as `outcome`; as nothing yet
    /// where that is empty.
    fn token_endpoint(fault: Fault, outcome: &'static str) -> Self {
        Self {
            leg: Leg::TokenEndpoint,
            meanwhile: Some("failing temporary").filter(|_| outcome.starts_with("token")),
            gets: Gets::Refusal(503, "no-credential", "proxy_internal_error"),
            counts: [outcome]
                .into_iter()
                .filter(|outcome| !outcome.is_empty())
                .collect(),
            ..Self::origin(fault)
        }
    }

    /// A fault of an origin's name.
    fn origin_name(trouble: Trouble) -> Self {
        Self {
            trouble,
            ..Self::origin(Fault::Nothing)
        }
    }

    /// A fault of a token endpoint's name, after which a token request counts as `outcome`.
    fn token_endpoint_name(trouble: Trouble, outcome: &'static str) -> Self {
        Self {
            trouble,
            ..Self::token_endpoint(Fault::Nothing, outcome)
        }
    }

    fn warm(self, warm: Warm) -> Self {
        Self { warm, ..self }
    }

    fn by(self, limit: Limit) -> Self {
        Self { limit, ..self }
    }

    fn post(self) -> Self {
        Self {
            method: "POST",
            ..self
        }
    }

    fn refused(self, status: u16, reason: &'static str, error: &'static str) -> Self {
        Self {
            gets: Gets::Refusal(status, reason, error),
            ..self
        }
    }

    fn answered(self, status: u16, content: &'static str) -> Self {
        Self {
            gets: Gets::Answer(status, content),
            ..self
        }
    }

    fn broken(self, status: u16) -> Self {
        Self {
            gets: Gets::Broken(status),
            ..self
        }
    }

    fn endless(self, bytes: usize) -> Self {
        Self {
            gets: Gets::Endless(bytes),
            ..self
        }
    }

    fn heard(self, heard: usize) -> Self {
        Self { heard, ..self }
    }

    fn counts(mut self, line: &'static str) -> Self {
        self.counts.push(line);
        self
    }

    fn meanwhile(self, meanwhile: Option<&'static str>) -> Self {
        Self { meanwhile, ..self }
    }

    fn recovers_after(self, recovers_after: Duration) -> Self {
        Self {
            recovers_after,
            ..self
        }
    }

    /// Stages the fault, and claims what the head of this file says.
    async fn hold(self) {
        let room = Room::start(&self).await;
        let mut expected = room.warm_up(&self).await;
        let heard_before = room.chaos.tally().heard;

        let asking = tokio::spawn(ask(room.gateway.flows(), self.method, self.gets));
        let beside = room.gateway.get("/beside/x").await;
        if let Limit::TokensTurned(_, by) = self.limit {
            room.chaos.until(|tally| tally.heard > heard_before).await;
            room.turned.advance(by);
        }
        let got = within("what the flow gets", asking).await.unwrap();

        assert_eq!(beside.status, 200, "another connector is none the worse");
        let heard = room.chaos.tally().heard - heard_before;
        assert_eq!(heard, self.heard, "requests that the faulty peer heard");
        let retry_after = self.claim_got(&got, heard);
        expected.push(served(BESIDE));
        expected.extend(self.counted());
        let meanwhile = self.meanwhile.map(|line| format!("{HIT} {line}"));
        let so_far: Vec<_> = expected.iter().cloned().chain(meanwhile).collect();
        Books::claim(&room.gateway, &so_far).await;

        room.lift();
        room.turned.advance(retry_after.max(self.recovers_after));
        // A failed token request is made again without a flow; those in between would be refused.
        room.gateway
            .until_sample("attache_token_failing", &[], |failing| failing < 0.5)
            .await;
        room.claim_served().await;
        expected.push(served(HIT));
        expected.extend(self.counted_next());
        Books::claim(&room.gateway, &expected).await;
        room.gateway.drain().await;
    }

    /// Claims what the flow got, and says when it was told to come again.
    fn claim_got(&self, got: &Got, heard: usize) -> Duration {
        match (self.gets, got) {
            (Gets::Refusal(status, reason, error), Got::Whole(answered)) => {
                claim_refusal(answered, status, reason, error);
                let reached = answered.json()["may_have_reached_origin"] == true;
                if self.leg == Leg::Origin && !reached {
                    assert_eq!(heard, 0, "the flow was told that nothing was sent");
                }
                let retry_after = answered.field("retry-after").map(|after| after.parse());
                Duration::from_secs(retry_after.transpose().unwrap().unwrap_or_default())
            }
            (Gets::Answer(status, content), Got::Whole(answered)) => {
                assert_eq!(
                    (answered.status.as_u16(), answered.text()),
                    (status, content.into())
                );
                assert_eq!(
                    answered.field("proxy-status"),
                    None,
                    "it is the origin's own"
                );
                Duration::ZERO
            }
            (Gets::Broken(_), Got::Broken(_)) | (Gets::Endless(_), Got::Enough) => Duration::ZERO,
            (expected, got) => panic!("expected {expected:?}, got {got:?}"),
        }
    }

    /// What the books say of the faulty connector while the fault is on.
    fn counted(&self) -> Vec<String> {
        let code = match self.gets {
            Gets::Refusal(code, ..) | Gets::Answer(code, _) | Gets::Broken(code) => code,
            Gets::Endless(_) => 200,
        };
        let mut counted = vec![format!("{HIT} {} {code}", self.method)];
        if let Gets::Refusal(_, reason, _) = self.gets {
            counted.push(format!("{HIT} refused {reason}"));
        }
        counted.extend(
            self.counts
                .iter()
                .map(|what| match what.starts_with("names") {
                    // Names are nobody's own.
                    true => (*what).to_owned(),
                    false => format!("{HIT} {what}"),
                }),
        );
        counted
    }

    /// What they say beside it of the next request.
    fn counted_next(&self) -> Option<String> {
        let has_token = self.counts.contains(&TOKEN_OK);
        (self.leg == Leg::TokenEndpoint && !has_token).then(|| format!("{HIT} {TOKEN_OK}"))
    }
}

/// A flow's outcome.
#[derive(Debug)]
enum Got {
    /// A whole answer.
    Whole(Answered),
    /// None.
    #[expect(dead_code, reason = "a failing row shows it")]
    Broken(String),
    /// As much as the flow takes.
    Enough,
}

/// One request over a connection of its own.
async fn ask(gateway: SocketAddr, method: &str, gets: Gets) -> Got {
    let mut wire = Wire::plain(gateway).await;
    let content = if method == "POST" {
        "Content-Length: 5\r\n\r\nhello"
    } else {
        "\r\n"
    };
    wire.write(format!(
        "{method} /{HIT}/x HTTP/1.1\r\nHost: localhost\r\n{content}"
    ))
    .await;
    if let Gets::Endless(bytes) = gets {
        let enough = wire.exactly(bytes).await;
        return enough.map_or_else(|| Got::Broken("it ended".to_owned()), |_| Got::Enough);
    }
    match wire.message(Kind::Response).await {
        Ok(message) => Got::Whole(message.into()),
        Err(error) => Got::Broken(error),
    }
}

/// Claims that the gateway said no in its own words (RFC 9457, RFC 9209).
fn claim_refusal(answered: &Answered, status: u16, reason: &str, error: &str) {
    let got = (answered.status.as_u16(), answered.reason());
    assert_eq!(got, (status, reason.to_owned()), "{}", answered.text());
    let proxy_status = format!("attache; error={error}");
    assert_eq!(answered.field("proxy-status"), Some(&*proxy_status));
    let problem = Some("application/problem+json");
    assert_eq!(answered.field("content-type"), problem);
    // RFC 9110 §10.2.3.
    assert_eq!(answered.field("retry-after").is_some(), status == 503);
}

fn served(connector: &str) -> String {
    format!("{connector} GET 200")
}

/// Makes each row a test.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident => $row:expr;)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            $row.hold().await;
        }
    )*};
}
use rows;
