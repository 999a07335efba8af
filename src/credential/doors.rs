//! A door into the reading of token answers, for `tests/fuzz` alone.
//!
//! The rooms are private, and a fuzz target is another crate. The walk is that of a fetch, without
//! the socket. It is here in every build, hidden from the documents: what is compiled for fuzzing
//! alone is checked by nobody else, and the linker drops what nothing calls.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Ready, ready};
use http::Response;
use http_body_util::Full;

use super::error::TokenError;
use super::exchange::{self, Answered, Wanted};
use super::oauth::{self, AsyncHttpClient, Exchanged, HttpRequest, HttpResponse};
use super::source::{Credential, Obtained};
use super::token::Moment;
use super::{CacheOutcome, fetch};
use crate::clock::Clock;
use crate::connector::OAuth2;
use crate::secret::Secret;

/// What an answer gave.
#[derive(Debug)]
pub struct Given {
    /// What requests carry.
    pub credential: Credential,
    /// When the server stops accepting it.
    pub expires_at: SystemTime,
    /// How long it may be attached.
    pub fresh_for: Duration,
    /// The refresh token beside it.
    pub refresh_token: Option<Secret>,
}

/// Reads `answer` as if a token request of `oauth2` had brought it, now by `clock`.
///
/// # Errors
///
/// [`TokenError`], classified.
pub fn read(
    answer: Response<Bytes>,
    oauth2: &OAuth2,
    secrets: &[&str],
    clock: &Clock,
) -> Result<Given, TokenError> {
    let asked = Moment::of(clock);
    let line = Canned {
        answer: Mutex::new(Some(answer)),
        answered: OnceLock::new(),
        clock,
    };
    // Nothing here waits: the answer is there.
    let request = oauth::request(oauth2, Exchanged::Grant, None, &line);
    let answer = request.now_or_never().ok_or(TokenError::Abandoned)?;
    let answered = line.answered.get().copied();
    let mut answer = answer.map_err(|error| oauth::failure(error, answered, secrets))?;
    let token = fetch::token(&answer, Duration::from_secs(300), asked)?;
    Ok(Given {
        credential: Obtained::token(&token, CacheOutcome::Miss).credential,
        expires_at: token.expires_at(),
        fresh_for: token.fresh_for(asked),
        refresh_token: answer.take_refresh_token(),
    })
}

/// A line that has its answer already.
struct Canned<'a> {
    answer: Mutex<Option<Response<Bytes>>>,
    answered: OnceLock<Answered>,
    clock: &'a Clock,
}

impl<'c> AsyncHttpClient<'c> for Canned<'_> {
    type Error = TokenError;
    type Future = Ready<Result<HttpResponse, TokenError>>;

    fn call(&'c self, _: HttpRequest) -> Self::Future {
        let answer = self.answer.lock();
        let answer = answer.unwrap_or_else(PoisonError::into_inner).take();
        let read = answer
            .and_then(|answer| exchange::read(answer.map(Full::new), Wanted::Body).now_or_never());
        let read = read.unwrap_or(Err(TokenError::Abandoned));
        if let Ok(answer) = &read {
            self.answered
                .get_or_init(|| Answered::of(answer, self.clock));
        }
        ready(read)
    }
}
