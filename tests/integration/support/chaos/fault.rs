//! What may be wrong with a peer.

use super::http2::Frame;

/// What is wrong with a peer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    Nothing,
    /// Nobody listens. Only from the start.
    Refuse,
    /// What asks for a connection is lost, as behind a firewall that drops. Only from the start.
    Swallow,
    /// Connections are taken, and nothing is ever said on them.
    Deaf,
    /// This is said in the handshake's place.
    NoTls(Said),
    /// A certificate that nobody may believe, by its name in `Ca::bad_servers`.
    Certificate(&'static str),
    /// This is said to every request.
    Answer(Said),
    /// This is said to the next request on each connection that is open now; others are served.
    AnswerOpen(Said),
    /// This is said on every new connection, before any request.
    Greet(Said),
    /// This is said on every connection that is open now and carries no request.
    Idle(Said),
}

/// What a peer says, and how it ends.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(super) steps: Vec<Step>,
    pub(super) then: Then,
}

/// A piece of it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, byte by byte.
    Drip(&'static [u8]),
    /// This frame.
    Frame(Frame),
}

/// What follows on what was said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// The next request is waited for.
    Serve,
    /// The connection is reset (RST).
    Reset,
    /// It ends as TLS wants it: close_notify, then FIN. The other half stays open.
    Close,
    /// It ends without close_notify (FIN), as where a middlebox cuts it. The other half stays open.
    Cut,
    /// Silence; once the fault is lifted, the answer that was owed.
    Silence,
    /// The same again and again.
    Again(&'static [u8]),
    /// The same again and again, byte by byte.
    DripAgain(&'static [u8]),
}

impl Said {
    /// Nothing yet.
    pub(crate) fn nothing() -> Self {
        Self {
            steps: Vec::new(),
            then: Then::Serve,
        }
    }

    /// These bytes.
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            steps: vec![Step::Bytes(bytes.into())],
            ..Self::nothing()
        }
    }

    /// And these, byte by byte.
    pub(crate) fn drip(mut self, bytes: &'static [u8]) -> Self {
        self.steps.push(Step::Drip(bytes));
        self
    }

    /// And this frame, on the stream of the request (HTTP/2).
    pub(crate) fn frame(mut self, frame: Frame) -> Self {
        self.steps.push(Step::Frame(frame));
        self
    }

    /// And then.
    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}
