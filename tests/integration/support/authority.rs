//! An authorization server: an origin whose requests are token requests.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::watch;

use super::answer::Answer;
use super::exchange::Recorded;
use super::origin::{self, Origin, Setup};
use super::pki::Identity;

/// A running authorization server. Unless told otherwise it answers the n-th request with the
/// bearer token `token-{n}`, good for an hour.
pub(crate) struct Authority {
    origin: Origin,
    script: Arc<Script>,
}

/// A token request.
#[derive(Clone, Debug)]
pub(crate) struct TokenRequest {
    /// The parameters, decoded, in order.
    pub(crate) form: Vec<(String, String)>,
    /// All the rest of it.
    pub(crate) recorded: Recorded,
}

type Answering = Box<dyn Fn(usize, &TokenRequest) -> Answer + Send + Sync>;

struct Script {
    answering: Mutex<Answering>,
    /// How many answers may go out; all of them unless a gate is shut.
    released: watch::Sender<usize>,
}

impl Authority {
    /// Starts one that asks for no client certificate.
    pub(crate) async fn plain(identity: &Identity) -> Self {
        Self::start(Setup::new(identity)).await
    }

    /// Starts one.
    pub(crate) async fn start(setup: Setup) -> Self {
        let script = Arc::new(Script {
            answering: Mutex::new(Box::new(|n, _| bearer(&format!("token-{n}"), 3600))),
            released: watch::Sender::new(usize::MAX),
        });
        let told = Arc::clone(&script);
        let number = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let handler = origin::scripted(move |mut exchange| {
            let script = Arc::clone(&told);
            let n = number.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            async move {
                let request = TokenRequest::new(exchange.finish().await);
                let mut released = script.released.subscribe();
                // The sender lives as long as the script, which this future holds.
                released.wait_for(|&released| n <= released).await.unwrap();
                let answering = script.answering.lock().unwrap();
                answering(n, &request)
            }
        });
        Self {
            origin: Origin::start(setup, handler).await,
            script,
        }
    }

    /// The token endpoint.
    pub(crate) fn token_url(&self) -> String {
        self.origin.url("/oauth/token")
    }

    /// The server beneath, for its connections and wire.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// From now on the n-th request (counted from 1 over the whole life) is answered with
    /// `answer(n, request)`.
    pub(crate) fn answer_with(
        &self,
        answer: impl Fn(usize, &TokenRequest) -> Answer + Send + Sync + 'static,
    ) {
        *self.script.answering.lock().unwrap() = Box::new(answer);
    }

    /// Holds back every answer but those to the first `count` requests.
    pub(crate) fn release(&self, count: usize) {
        self.script.released.send_replace(count);
    }

    /// Lets every answer out.
    pub(crate) fn release_all(&self) {
        self.release(usize::MAX);
    }

    /// How many token requests have come, whole.
    pub(crate) fn count(&self) -> usize {
        self.origin.tally().whole
    }

    /// Waits until `count` token requests have come, whole.
    pub(crate) async fn until_requests(&self, count: usize) {
        self.origin.until(|tally| tally.whole >= count).await;
    }

    /// Every token request so far.
    pub(crate) fn requests(&self) -> Vec<TokenRequest> {
        let requests = self.origin.requests().into_iter();
        requests.map(TokenRequest::new).collect()
    }

    /// The only token request so far; fails the test if there are others.
    pub(crate) fn only_request(&self) -> TokenRequest {
        TokenRequest::new(self.origin.only_request())
    }
}

impl TokenRequest {
    fn new(recorded: Recorded) -> Self {
        let form = url::form_urlencoded::parse(&recorded.body)
            .into_owned()
            .collect();
        Self { form, recorded }
    }

    /// The only value of a parameter; fails the test if it is repeated (RFC 6749 §3.2).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.form.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is repeated");
        value
    }
}

/// A token answer (RFC 6749 §5.1).
pub(crate) fn bearer(token: &str, expires_in: u64) -> Answer {
    Answer::json(&json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": expires_in,
    }))
}

/// An error answer (RFC 6749 §5.2).
pub(crate) fn rejection(status: u16, error: &str) -> Answer {
    Answer::json(&json!({ "error": error })).with_status(status)
}
