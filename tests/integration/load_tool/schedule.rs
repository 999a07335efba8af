//! When the requests of an open loop are due.

use std::time::{Duration, Instant};

use super::load::pace::Schedule;

const RATES: [u32; 6] = [1, 3, 7, 1_000, 48_611, 999_983];
const NANOSECOND: Duration = Duration::from_nanos(1);

#[test]
fn a_request_counts_as_due_from_its_own_time_on() {
    let start = Instant::now();

    for per_second in RATES {
        let schedule = Schedule { start, per_second };
        for number in (0..5).chain([per_second.into(), 86_400 * u64::from(per_second) - 1]) {
            let due = schedule.due(number);
            assert_eq!(schedule.due_by(due), number + 1, "{per_second}: {number}");
            let before = due.checked_sub(NANOSECOND).unwrap();
            assert_eq!(schedule.due_by(before), number, "{per_second}: {number}");
        }
    }
}

#[test]
fn a_second_holds_as_many_as_the_rate_says() {
    let start = Instant::now();

    for per_second in RATES {
        let schedule = Schedule { start, per_second };
        for seconds in 1..5 {
            let end = start + Duration::from_secs(seconds);
            let all = u64::from(per_second) * seconds;
            assert_eq!(schedule.due_before(end), all, "{per_second}");
            assert_eq!(
                schedule.due(all),
                end,
                "the next is the next second's first"
            );
        }
        assert_eq!(schedule.due_before(start), 0, "{per_second}");
    }
}
