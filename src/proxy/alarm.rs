//! A time limit that is set anew for each request on a connection.
//!
//! A timer of tokio's own for each request is put into a list and taken out again, under a lock.
//! One that stays and is only ever set to a later time is neither: tokio looks at what it says by
//! then when its old time has come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::clock;

/// A timer that stays with its connection. It is its worker's: the runtime that made it has it go
/// off, and one that has stopped never does.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    worker: usize,
}

impl Alarm {
    /// `kept` if it is `worker`'s, on whose runtime this is asked; otherwise one that goes off at
    /// once, if nobody sets it.
    pub(super) fn of(worker: usize, kept: Option<Self>) -> Self {
        let own = kept.filter(|kept| kept.worker == worker);
        own.unwrap_or_else(|| Self {
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            worker,
        })
    }

    /// Has it go off after `limit`.
    pub(super) fn set(&mut self, limit: Duration) {
        self.timer.as_mut().reset(clock::in_real_time(limit));
    }

    /// Ready once it has gone off.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn an_alarm_is_kept_by_its_worker_and_no_other_depends_on_that_workers_runtime() {
        let (borrower, owner) = (runtime(), runtime());
        let first = borrower.block_on(async { Alarm::of(1, None) });
        let at = &raw const *first.timer;
        let kept = borrower.block_on(async { Alarm::of(1, Some(first)) });
        assert_eq!(&raw const *kept.timer, at);
        drop(borrower);

        let mut alarm = owner.block_on(async { Alarm::of(0, Some(kept)) });

        owner.block_on(async {
            alarm.set(HOUR);
            let polled = poll_fn(|cx| Poll::Ready(alarm.poll_over(cx))).await;
            assert!(polled.is_pending());
        });
    }

    #[tokio::test]
    async fn a_shorter_limit_than_the_last_one_is_kept() {
        let mut alarm = Alarm::of(0, None);
        alarm.set(HOUR);
        let polled = poll_fn(|cx| Poll::Ready(alarm.poll_over(cx))).await;
        assert!(polled.is_pending());

        alarm.set(Duration::from_millis(1));

        poll_fn(|cx| alarm.poll_over(cx)).await;
    }
}
