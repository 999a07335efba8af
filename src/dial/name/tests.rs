use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn found(last: u8) -> io::Result<Vec<IpAddr>> {
    Ok(vec![address(last)])
}

/// `EAI_AGAIN`.
fn unheard() -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("Temporary failure in name resolution"))
}

/// `EAI_NONAME`.
fn denied() -> io::Result<Vec<IpAddr>> {
    Err(io::Error::from(io::ErrorKind::NotFound))
}

/// A name that was looked up at 0.
fn known() -> Name {
    let mut name = Name::default();
    name.settle(found(1), Duration::ZERO).unwrap();
    name
}

/// A look-up from `began` to `ended`.
fn ask(name: &mut Name, found: io::Result<Vec<IpAddr>>, began: Duration, ended: Duration) {
    assert!(name.is_due(began), "no look-up is due at {began:?}");
    let _told = name.begin(began);
    assert!(!name.is_due(began), "one look-up is enough");
    let _ = name.settle(found, ended);
}

#[test]
fn a_good_answer_is_used_and_not_asked_for() {
    let name = known();

    for at in [0, 1, 7] {
        assert!(!name.is_due(seconds(at)), "{at}");
        assert!(matches!(name.step(seconds(at)), Step::Use(_)), "{at}");
    }
}

#[test]
fn an_answer_at_its_end_is_used_while_a_newer_one_is_asked_for() {
    let mut name = known();

    for at in [8, 10, 19] {
        assert!(name.is_due(seconds(at)), "{at}");
    }
    let _told = name.begin(seconds(8));
    for at in [8, 10, 19] {
        assert!(matches!(name.step(seconds(at)), Step::Use(_)), "{at}");
    }
}

#[test]
fn an_older_answer_waits_for_a_newer_one_for_half_a_second() {
    // RFC 8767 §5, the client response timer.
    let mut name = known();
    let _told = name.begin(seconds(20));

    let at_first = name.step(seconds(20));
    let later = name.step(seconds(20) + PATIENCE);

    let Step::Wait(wait) = at_first else {
        panic!("{at_first:?}");
    };
    assert_eq!(wait.stale.unwrap().at, Duration::ZERO);
    assert_eq!(wait.late_at, seconds(20) + PATIENCE);
    assert!(matches!(later, Step::UseStale(_)), "{later:?}");
}

#[test]
fn an_answer_that_cannot_be_renewed_is_used_for_an_hour() {
    // RFC 8767 §5, the maximum stale timer.
    let mut name = known();

    ask(&mut name, unheard(), seconds(9), seconds(12));
    let at_first = name.step(seconds(12));
    ask(&mut name, unheard(), seconds(3590), seconds(3599));
    let at_last = name.step(seconds(3599));
    ask(&mut name, unheard(), seconds(3610), seconds(3611));
    let over = name.step(seconds(3611));

    assert!(matches!(at_first, Step::UseStale(_)), "{at_first:?}");
    assert!(matches!(at_last, Step::UseStale(_)), "{at_last:?}");
    assert!(matches!(over, Step::Fail(_)), "{over:?}");
}

#[test]
fn an_answer_that_is_denied_is_used_for_a_minute_whatever_is_said_after_it() {
    for last in [denied(), unheard()] {
        let mut name = known();

        ask(&mut name, denied(), seconds(30), seconds(30));
        let in_time = name.step(seconds(59));
        ask(&mut name, last, seconds(60), seconds(60));
        let over = name.step(seconds(60));
        ask(&mut name, unheard(), seconds(61), seconds(61));
        let still_over = name.step(seconds(61));

        assert!(matches!(in_time, Step::UseStale(_)), "{in_time:?}");
        assert!(matches!(over, Step::Fail(_)), "{over:?}");
        assert!(matches!(still_over, Step::Fail(_)), "{still_over:?}");
    }
}

#[test]
fn a_name_without_addresses_is_one_that_is_denied() {
    let mut name = known();

    ask(&mut name, Ok(Vec::new()), seconds(61), seconds(61));

    assert!(matches!(name.step(seconds(61)), Step::Fail(_)));
}

#[test]
fn a_new_answer_ends_all_trouble() {
    let mut name = known();

    ask(&mut name, denied(), seconds(9), seconds(9));
    ask(&mut name, found(2), seconds(11), seconds(11));

    assert!(!name.is_failing());
    match name.step(seconds(12)) {
        Step::Use(answer) => assert_eq!(*answer.addresses, [address(2)]),
        other @ (Step::UseStale(_) | Step::Fail(_) | Step::Wait(_)) => panic!("{other:?}"),
    }
}

#[test]
fn failed_look_ups_are_repeated_after_one_two_four_eight_and_then_ten_seconds() {
    let mut name = known();
    let mut now = seconds(100);

    for pause in [1, 2, 4, 8, 10, 10, 10] {
        ask(&mut name, unheard(), now, now);
        assert!(!name.is_due(now + seconds(pause) - PATIENCE), "{pause}");
        now += seconds(pause);
        assert!(name.is_due(now), "{pause}");
    }
}

#[test]
fn that_a_name_has_no_address_is_remembered_for_a_second() {
    for failed in [denied, unheard] {
        let mut name = Name::default();
        let mut now = Duration::ZERO;

        for _ in 0..5 {
            ask(&mut name, failed(), now, now);
            let next = now + seconds(1);
            assert!(!name.is_due(next - PATIENCE));
            assert!(matches!(name.step(next - PATIENCE), Step::Fail(_)));
            assert!(name.is_due(next));
            now = next;
        }
    }
}

#[test]
fn addresses_that_take_no_connection_are_asked_for_again_before_they_are_used() {
    let mut name = known();

    name.doubt(PATIENCE);
    let too_soon = name.is_due(PATIENCE);
    name.doubt(seconds(1));
    let due = name.is_due(seconds(1));
    let _told = name.begin(seconds(1));
    let step = name.step(seconds(1));
    name.settle(found(1), seconds(1)).unwrap();

    assert!(!too_soon);
    assert!(due);
    assert!(matches!(step, Step::Wait(_)), "{step:?}");
    assert!(matches!(name.step(seconds(1)), Step::Use(_)));
}

#[test]
fn of_many_addresses_sixteen_are_remembered_some_of_each_family() {
    let v6 = (1..=40u16).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
    let v4 = (1..=40).map(address);
    let mut name = Name::default();

    let answer = name.settle(Ok(v6.chain(v4).collect()), Duration::ZERO);

    let addresses = answer.unwrap().addresses;
    assert_eq!(addresses.len(), ADDRESSES_MAX);
    let v6 = addresses.iter().filter(|address| address.is_ipv6());
    assert_eq!(v6.count(), ADDRESSES_MAX / 2);
}

#[test]
fn a_look_up_that_ended_with_its_runtime_is_asked_for_again() {
    let mut name = Name::default();

    drop(name.begin(Duration::ZERO));

    assert!(name.is_due(Duration::ZERO));
}
