//! Who failed to say who they are, and for how long they are not listened to.
//!
//! # Invariants
//!
//! An address that failed [`FAILURES_MAX`] times within [`WINDOW`] is turned away until the first of
//! these is that long ago. A token's ID at which so many failures were aimed turns away whoever
//! failed themselves before; its holder, at another address, is not locked out. Memory is bounded:
//! at [`KEPT_MAX`] entries the one that failed longest ago goes.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// The failures that are put up with.
pub(super) const FAILURES_MAX: usize = 5;
/// Within this time.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The most addresses and IDs that are remembered.
const KEPT_MAX: usize = 10_000;
/// The most failures that are written into the audit log in one [`WINDOW`]; all others are counted.
const NOTED_MAX: usize = 60;

/// The failures of late.
#[derive(Debug)]
pub(super) struct Throttle {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: HashMap<Key, VecDeque<Duration>>,
    /// When failures were last written down.
    noted: VecDeque<Duration>,
    /// How many were not, since then.
    unnoted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Source(IpAddr),
    Token(String),
}

/// Whether a failure is to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It is; so many before it were not.
    Write { omitted: u64 },
    /// It is counted.
    Count,
}

impl Throttle {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// How long `address` has to wait before it is listened to; `token` is the ID it shows.
    pub(super) fn waits(&self, address: IpAddr, token: Option<&str>) -> Option<Duration> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let source = state.recent(&Key::Source(subnet(address)), now);
        let own = source.len();
        if let Some(wait) = wait(&source, now) {
            return Some(wait);
        }
        let token = token.filter(|_| own > 0)?;
        let aimed = state.recent(&Key::Token(token.to_owned()), now);
        wait(&aimed, now)
    }

    /// Remembers that `address` failed, showing the ID `token`.
    pub(super) fn failed(&self, address: IpAddr, token: Option<&str>) -> Note {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.add(Key::Source(subnet(address)), now);
        if let Some(token) = token {
            state.add(Key::Token(token.to_owned()), now);
        }
        state.note(now)
    }

    /// Whether something that is no failure of the secret, but refused all the same, is written
    /// down.
    pub(super) fn refused(&self) -> Note {
        let now = self.clock.monotonic();
        self.state().note(now)
    }

    /// Counts one that was turned away.
    pub(super) fn turned_away(&self) {
        self.state().unnoted += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The failures of `key` within the window, the first in front.
    fn recent(&mut self, key: &Key, now: Duration) -> VecDeque<Duration> {
        let Some(failures) = self.failures.get_mut(key) else {
            return VecDeque::new();
        };
        forget(failures, now);
        let recent = failures.clone();
        if recent.is_empty() {
            self.failures.remove(key);
        }
        recent
    }

    fn add(&mut self, key: Key, now: Duration) {
        if self.failures.len() >= KEPT_MAX && !self.failures.contains_key(&key) {
            self.make_room(now);
        }
        let failures = self.failures.entry(key).or_default();
        forget(failures, now);
        if failures.len() == FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back(now);
    }

    /// Drops what is past, or else what failed longest ago.
    fn make_room(&mut self, now: Duration) {
        let is_recent = |at: Option<&Duration>| at.is_some_and(|at| now < *at + WINDOW);
        self.failures
            .retain(|_, failures| is_recent(failures.back()));
        if self.failures.len() >= KEPT_MAX {
            let oldest = self
                .failures
                .iter()
                .min_by_key(|(_, failures)| failures.back());
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.failures.remove(&key);
            }
        }
    }

    fn note(&mut self, now: Duration) -> Note {
        forget(&mut self.noted, now);
        if self.noted.len() >= NOTED_MAX {
            self.unnoted += 1;
            return Note::Count;
        }
        self.noted.push_back(now);
        Note::Write {
            omitted: std::mem::take(&mut self.unnoted),
        }
    }
}

fn forget(failures: &mut VecDeque<Duration>, now: Duration) {
    while failures.front().is_some_and(|at| now >= *at + WINDOW) {
        failures.pop_front();
    }
}

fn wait(failures: &VecDeque<Duration>, now: Duration) -> Option<Duration> {
    let first = failures
        .front()
        .filter(|_| failures.len() >= FAILURES_MAX)?;
    Some((*first + WINDOW).saturating_sub(now))
}

/// One that moves among the addresses of its own network is one: a /64 is the least that anybody
/// is given (RFC 6177 §2).
fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Turned;

    fn throttle() -> (Throttle, Turned) {
        let turned = Turned::starting_at(SystemTime::UNIX_EPOCH);
        (Throttle::new(Clock::turned(&turned)), turned)
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(throttle: &Throttle, address: &str, token: Option<&str>, times: usize) {
        for _ in 0..times {
            throttle.failed(at(address), token);
        }
    }

    #[test]
    fn the_fifth_failure_within_a_minute_is_the_last_that_is_listened_to() {
        let (throttle, turned) = throttle();

        fail(&throttle, "192.0.2.1", None, 4);
        assert_eq!(throttle.waits(at("192.0.2.1"), None), None);
        turned.advance(Duration::from_secs(20));
        fail(&throttle, "192.0.2.1", None, 1);

        let wait = throttle.waits(at("192.0.2.1"), None);
        assert_eq!(wait, Some(Duration::from_secs(40)));
        assert_eq!(throttle.waits(at("192.0.2.2"), None), None);
        turned.advance(Duration::from_secs(40));
        assert_eq!(throttle.waits(at("192.0.2.1"), None), None);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let (throttle, _turned) = throttle();

        for last in 1..=5 {
            fail(&throttle, &format!("2001:db8:0:1::{last}"), None, 1);
            fail(&throttle, &format!("::ffff:192.0.2.{last}"), None, 1);
        }

        assert!(throttle.waits(at("2001:db8:0:1:ffff::"), None).is_some());
        assert!(throttle.waits(at("2001:db8:0:2::1"), None).is_none());
        // Those are IPv4 addresses, each of its own.
        assert!(throttle.waits(at("192.0.2.1"), None).is_none());
    }

    #[test]
    fn failures_aimed_at_one_token_from_many_places_are_seen_but_do_not_lock_its_holder_out() {
        let (throttle, _turned) = throttle();

        for last in 1..=5 {
            fail(&throttle, &format!("192.0.2.{last}"), Some("abc"), 1);
        }

        assert!(throttle.waits(at("192.0.2.1"), Some("abc")).is_some());
        assert_eq!(throttle.waits(at("192.0.2.1"), Some("other")), None);
        assert_eq!(throttle.waits(at("198.51.100.1"), Some("abc")), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let (throttle, turned) = throttle();
        fail(&throttle, "198.51.100.1", None, 5);
        turned.advance(Duration::from_secs(1));

        for number in 0..u32::try_from(KEPT_MAX).unwrap() {
            let address = IpAddr::V4((0x0a00_0000 + number).into());
            throttle.failed(address, None);
        }

        assert_eq!(throttle.state().failures.len(), KEPT_MAX);
        assert_eq!(throttle.waits(at("198.51.100.1"), None), None);
    }

    #[test]
    fn so_many_failures_are_written_down_and_the_rest_are_counted() {
        let (throttle, turned) = throttle();

        let notes: Vec<_> = (0..NOTED_MAX + 2).map(|_| throttle.refused()).collect();
        throttle.turned_away();
        turned.advance(WINDOW);

        assert!(
            notes[..NOTED_MAX]
                .iter()
                .all(|note| *note == Note::Write { omitted: 0 })
        );
        assert!(notes[NOTED_MAX..].iter().all(|note| *note == Note::Count));
        assert_eq!(throttle.refused(), Note::Write { omitted: 3 });
        assert_eq!(throttle.refused(), Note::Write { omitted: 0 });
    }
}
