//! How many requests of which method got which status: one worker's small open table.
//!
//! An origin chooses the statuses and a flow the method, so both are bounded here: a method that is
//! not one of RFC 9110's or PATCH is `other`, and once the slots are used up a status that has none
//! is counted under `code="other"`, so that no request goes uncounted.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::{Method, StatusCode};

/// The methods with a name of their own (RFC 9110 §9.3, RFC 5789), then all the others.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "other",
];
const OTHER: usize = METHODS.len() - 1;

/// Pairs of method and status that one worker counts apart for one connector.
const SLOTS: usize = 32;

/// Keys and counts of one worker. A slot is claimed once and never changes its key.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Row + 1 in the upper half and status in the lower; 0 is free.
    keys: [AtomicU32; SLOTS],
    counts: [AtomicU64; SLOTS],
    /// Per method, what found no slot.
    spilt: [AtomicU64; METHODS.len()],
}

/// A pair of method and status as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answered {
    pub(super) method: &'static str,
    /// `None` is `other`.
    pub(super) code: Option<u16>,
}

impl Requests {
    pub(super) fn count(&self, method: &Method, code: StatusCode) {
        let row = row(method);
        let counter = self.slot(row, code.as_u16()).unwrap_or(&self.spilt[row]);
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn slot(&self, row: usize, code: u16) -> Option<&AtomicU64> {
        let key = ((row as u32 + 1) << 16) | u32::from(code);
        // Statuses of one method lie close together; the factor keeps the methods apart.
        let start = row * 7 + usize::from(code);
        (0..SLOTS)
            .map(|step| (start + step) % SLOTS)
            .find(|slot| self.holds(*slot, key))
            .map(|slot| &self.counts[slot])
    }

    /// Whether this slot is `key`'s, claiming it if it is free.
    fn holds(&self, slot: usize, key: u32) -> bool {
        let held = match self.keys[slot].load(Ordering::Relaxed) {
            0 => self.keys[slot]
                .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|other| other, |_| key),
            held => held,
        };
        held == key
    }

    /// Hands every count above zero to `each`.
    pub(super) fn read(&self, mut each: impl FnMut(Answered, u64)) {
        for (key, count) in self.keys.iter().zip(&self.counts) {
            let (key, count) = (key.load(Ordering::Relaxed), count.load(Ordering::Relaxed));
            let row = (key >> 16) as usize;
            if count > 0 && row > 0 {
                let answered = Answered {
                    method: METHODS[row - 1],
                    code: Some((key & 0xFFFF) as u16),
                };
                each(answered, count);
            }
        }
        for (method, count) in METHODS.iter().zip(&self.spilt) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                each(Answered { method, code: None }, count);
            }
        }
    }
}

fn row(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::OPTIONS => 5,
        Method::PATCH => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counts(requests: &Requests) -> BTreeMap<Answered, u64> {
        let mut counts = BTreeMap::new();
        requests.read(|answered, count| *counts.entry(answered).or_default() += count);
        counts
    }

    #[test]
    fn every_method_keeps_its_name_and_an_unknown_one_is_other() {
        let requests = Requests::default();
        for name in METHODS {
            requests.count(
                &Method::from_bytes(name.as_bytes()).unwrap(),
                StatusCode::OK,
            );
        }
        requests.count(&Method::from_bytes(b"BREW").unwrap(), StatusCode::OK);

        let counts = counts(&requests);

        assert_eq!(counts.len(), METHODS.len());
        let other = Answered {
            method: "other",
            code: Some(200),
        };
        assert_eq!(counts.get(&other), Some(&2));
    }

    #[test]
    fn an_origin_that_invents_statuses_costs_no_count_and_no_room() {
        let requests = Requests::default();
        for code in 100..1000 {
            requests.count(&Method::GET, StatusCode::from_u16(code).unwrap());
        }

        let counts = counts(&requests);

        assert_eq!(counts.len(), SLOTS + 1);
        assert_eq!(counts.values().sum::<u64>(), 900);
        let spilt = Answered {
            method: "GET",
            code: None,
        };
        assert_eq!(counts.get(&spilt), Some(&(900 - SLOTS as u64)));
    }

    #[test]
    fn a_pair_that_has_its_slot_keeps_it_when_the_table_is_full() {
        let requests = Requests::default();
        for code in 200..200 + SLOTS as u16 {
            requests.count(&Method::POST, StatusCode::from_u16(code).unwrap());
        }
        requests.count(&Method::POST, StatusCode::CREATED);

        let created = Answered {
            method: "POST",
            code: Some(201),
        };
        assert_eq!(counts(&requests).get(&created), Some(&2));
    }
}
