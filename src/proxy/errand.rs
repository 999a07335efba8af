//! A request's errand to its origin: sent once, and again where that is allowed and may help.
//!
//! # Shape
//!
//! [`Errand::send`] makes one attempt: the head is built anew from the flow's, with the credential
//! of that attempt. [`Errand::settle`] judges what came of the first; nearly always that is the
//! last word, and nothing more is spent on it.
//!
//! # Invariants
//!
//! A request that is not idempotent reaches an origin's application once: it is sent again only if
//! the origin saw nothing of it, or says that it did nothing with it: the connection took not a byte,
//! the stream was refused (RFC 9113 §8.7), or the token was rejected (RFC 6750 §3.1). An idempotent
//! one (RFC 9110 §9.2.2) is sent again also when a connection that had answered before ended under
//! it, and, where the connector says so, on failures that may pass, within its budget.
//!
//! A token is replaced once per request. Nothing is sent again once a byte of an answer went to the
//! flow, and nothing for a flow that has gone: its errand is dropped with it. If another attempt
//! cannot be made after all, what came of the last one is the flow's.

use std::sync::Arc;
use std::time::Duration;

use http::request;

use super::authorize::Permit;
use super::caller::Caller;
use super::error::Refusal;
use super::expired;
use super::fields::Fields;
use super::forward::{self, Answer, Failure, Standing, UNSENT_RETRIES_MAX};
use super::kept::Again;
use super::observe::Observation;
use super::outbound::{Outbound, Upload, UploadState};
use super::pool::Supply;
use super::retry;
use super::rewrite::{self, Injected};
use super::scrub;
use super::worker::Worker;
use crate::connector::{Http2, Retry};
use crate::credential::{Obtained, Source, TokenMark};
use crate::directory::BreakerStand;
use crate::metrics::RetryCause;
use crate::retry_after;

/// How long an answer that is to be replaced may take to end, so that its connection can be used
/// again: about what a new one takes.
const LAST_BYTES_LIMIT: Duration = Duration::from_millis(100);

/// What every attempt is made of.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) caller: &'a Caller,
    pub(crate) permit: &'a Permit,
    pub(crate) flow: &'a request::Parts,
    pub(crate) fields: Fields,
}

/// How much of a request's body is kept for another attempt, which may always be wanted: HTTP/2
/// origins may refuse any request, and the token of any may be rejected.
pub(crate) fn kept_bytes_max(permit: &Permit) -> u64 {
    let connector = &permit.entry().connector;
    let has_token = matches!(permit.entry().source, Source::Token(_));
    let wanted = has_token
        || connector.upstream.http2 == Http2::Auto
        || retry::is_idempotent(permit.method());
    match wanted {
        true => connector.recovery.replay_body_bytes_max,
        false => 0,
    }
}

/// What came of an attempt.
type Outcome = Result<Answer, Failure>;

/// Why and when the next attempt is made.
struct Next {
    cause: RetryCause,
    pause: Duration,
    supply: Supply,
}

/// What was tried so far.
#[derive(Debug)]
struct Tried {
    /// The token of the last attempt.
    token: Option<TokenMark>,
    /// How often the request was sent.
    sent: u32,
    /// How often it was sent again because nothing had become of it.
    unanswered: u32,
    /// How often it was sent again after a pause.
    pauses: u32,
    /// Whether a token was replaced.
    replaced: bool,
}

impl Errand<'_> {
    /// Makes one attempt: builds the head and sends the request.
    pub(crate) async fn send(
        &self,
        obtained: Obtained,
        body: Outbound,
        supply: Supply,
        observation: &mut Observation,
    ) -> Outcome {
        let mask = scrub::mask(&obtained.credential, &self.permit.entry().connector);
        let injected = Injected {
            credential: obtained.credential,
            request_id: observation.request_id_value(),
            via: self.worker.plane().via.line(self.flow.version),
            caller: self.caller,
        };
        let request = rewrite::rewrite((self.flow, self.fields), self.permit, injected, body);
        let now = observation.forwarding();
        let outcome = forward::forward(self.worker, self.permit, (supply, now), request).await;
        observation.attempted(&outcome);
        outcome.map(|answer| Answer { mask, ..answer })
    }

    /// Makes of the first attempt's `outcome` the flow's, by further attempts if need be.
    pub(crate) async fn settle(
        &self,
        outcome: Outcome,
        token: Option<TokenMark>,
        again: Again,
        observation: &mut Observation,
    ) -> Result<Answer, Refusal> {
        let recovery = &self.permit.entry().connector.recovery;
        if recovery.retry.is_some() {
            self.permit.entry().state.retry_budget.earn();
        }
        if self.is_last_word(&outcome, token) {
            return outcome.map_err(|failure| failure.refusal);
        }
        // Boxed: the few requests that come here pay for the room that another attempt takes.
        let outcome = Box::pin(self.go_on(outcome, token, again, observation)).await;
        outcome.map_err(|failure| failure.refusal)
    }

    /// Whether nothing about the outcome could ask for another attempt.
    fn is_last_word(&self, outcome: &Outcome, token: Option<TokenMark>) -> bool {
        let recovery = &self.permit.entry().connector.recovery;
        match outcome {
            Ok(Answer { response, .. }) => {
                let passes = |retry: &Retry| retry.statuses.contains(&response.status());
                let rejects =
                    token.is_some() && expired::may_say_so(response, &recovery.expired_on);
                !rejects && !recovery.retry.as_ref().is_some_and(passes)
            }
            Err(failure) => failure.standing == Standing::Final,
        }
    }

    async fn go_on(
        &self,
        mut outcome: Outcome,
        token: Option<TokenMark>,
        again: Again,
        observation: &mut Observation,
    ) -> Outcome {
        let mut tried = Tried {
            token,
            sent: 1,
            unanswered: 0,
            pauses: 0,
            replaced: false,
        };
        while let Some(next) = self.next(&mut outcome, &mut tried, &again).await {
            if let Ok(answer) = &mut outcome {
                let upload = observation.upload();
                set_aside(answer, upload).await;
            }
            self.pause(next.pause).await;
            let obtained = match self.permit.entry().source.obtain().await {
                Ok(obtained) => obtained,
                Err(unobtained) => {
                    observation.not_sent_again(&unobtained.reason);
                    break;
                }
            };
            let Some(body) = again.body() else { break };
            observation.sends_again(outcome.as_ref().err().map(|failure| &failure.refusal));
            let series = &self.permit.entry().state.series;
            series.retried(self.worker.index, next.cause);
            tried.sent += 1;
            tried.token = obtained.token;
            // Whatever of the answer is still on its way ends here.
            drop(outcome);
            outcome = self.send(obtained, body, next.supply, observation).await;
        }
        outcome
    }

    /// Why there should be another attempt, if there should.
    async fn next(&self, outcome: &mut Outcome, tried: &mut Tried, again: &Again) -> Option<Next> {
        match outcome {
            Ok(answer) => {
                let rejected = self.is_rejected(answer, tried).await;
                if rejected && !tried.replaced {
                    return self.replace_token(tried, again);
                }
                if rejected {
                    self.permit.entry().source.replaced_in_vain();
                }
                self.after_status(answer, tried, again)
            }
            Err(failure) => self.after_failure(failure.standing, tried, again),
        }
    }

    /// Whether the origin rejects the token.
    async fn is_rejected(&self, answer: &mut Answer, tried: &Tried) -> bool {
        let connector = &self.permit.entry().connector;
        let expired_on = &connector.recovery.expired_on;
        let limit = connector.upstream.response_head_timeout;
        tried.token.is_some() && expired::says_so(&mut answer.response, expired_on, limit).await
    }

    /// Drops the rejected token, whether this request can be sent again or only later ones profit.
    fn replace_token(&self, tried: &mut Tried, again: &Again) -> Option<Next> {
        tried.replaced = true;
        let token = tried.token?;
        let another = self.permit.entry().source.reject(token);
        (another && again.is_possible()).then_some(Next {
            cause: RetryCause::Token,
            pause: Duration::ZERO,
            supply: Supply::Any,
        })
    }

    fn after_status(&self, answer: &Answer, tried: &mut Tried, again: &Again) -> Option<Next> {
        let retry = self.may_retry(tried, again)?;
        if !retry.statuses.contains(&answer.response.status()) {
            return None;
        }
        let now = self.worker.clock().wall();
        let asked = retry_after::read(answer.response.headers(), now, Duration::MAX);
        if asked.is_some_and(|asked| asked > retry.wait_max) {
            return None;
        }
        self.spend(retry, asked, tried, RetryCause::Status)
    }

    fn after_failure(&self, standing: Standing, tried: &mut Tried, again: &Again) -> Option<Next> {
        let at_once = |cause, supply| Next {
            cause,
            pause: Duration::ZERO,
            supply,
        };
        // Where two connections have ended, all others that lie idle may have too.
        let after_orphan = match tried.unanswered {
            0 => Supply::Any,
            _ => Supply::New,
        };
        let idempotent = retry::is_idempotent(self.permit.method());
        let at_once = match standing {
            Standing::Untouched => Some(at_once(RetryCause::Unsent, Supply::Any)),
            Standing::Orphaned if idempotent => Some(at_once(RetryCause::Connection, after_orphan)),
            Standing::Orphaned | Standing::Disconnected => None,
            Standing::Final => return None,
        };
        if at_once.is_some() && tried.unanswered < UNSENT_RETRIES_MAX && again.is_possible() {
            tried.unanswered += 1;
            return at_once;
        }
        let retry = self.may_retry(tried, again)?;
        self.spend(retry, None, tried, RetryCause::Connection)
    }

    /// What the connector says of retries, if this request may have another.
    fn may_retry(&self, tried: &Tried, again: &Again) -> Option<&Retry> {
        let retry = self.permit.entry().connector.recovery.retry.as_ref()?;
        let may = retry::is_idempotent(self.permit.method())
            && tried.sent < retry.attempts
            && again.is_possible();
        may.then_some(retry)
    }

    fn spend(
        &self,
        retry: &Retry,
        asked: Option<Duration>,
        tried: &mut Tried,
        cause: RetryCause,
    ) -> Option<Next> {
        let now = self.worker.clock().monotonic();
        let entry = self.permit.entry();
        // The breaker was told of the last attempt.
        let stand = entry.state.vitals(&entry.connector.bulkhead, now).breaker;
        let open = matches!(stand, BreakerStand::Open { .. });
        if open
            || !entry
                .state
                .retry_budget
                .try_spend(retry.budget_percent, now)
        {
            return None;
        }
        let own = || {
            let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
            retry::own_pause(tried.pauses, chance).min(retry.wait_max)
        };
        let pause = asked.unwrap_or_else(own);
        tried.pauses += 1;
        Some(Next {
            cause,
            pause,
            supply: Supply::Any,
        })
    }

    async fn pause(&self, pause: Duration) {
        if !pause.is_zero() {
            let clock = self.worker.clock();
            clock.sleep_until(clock.monotonic() + pause).await;
        }
    }
}

/// Reads what is left of a short answer, so that its connection can carry the next attempt while
/// the answer itself can still be passed on.
async fn set_aside(answer: &mut Answer, upload: Option<&Upload>) {
    // How much there is or why not all of it came in time is told by `is_read`.
    let reading = answer.response.body_mut().read_ahead();
    drop(tokio::time::timeout(LAST_BYTES_LIMIT, reading).await);
    let sent = upload.is_none_or(|upload| upload.state() == UploadState::Whole);
    if sent
        && answer.response.body().is_read()
        && let Some(lease) = answer.lease.take()
    {
        lease.finish();
    }
}
