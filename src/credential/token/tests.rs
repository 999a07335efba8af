//! How long a token counts as good, on either clock.

use super::*;
use crate::clock::Turned;

fn stage(lifetime: Duration) -> (Turned, Clock, Token) {
    let turned = Turned::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let clock = Clock::turned(&turned);
    let token = Token::bearer("abc", lifetime, Moment::of(&clock)).expect("legal");
    (turned, clock, token)
}

#[test]
fn tokens_that_no_field_may_carry_are_refused() {
    // RFC 6750 §2.1; protocol.md, line 48.
    for bad in [
        "", "=", "a b", "a\tb", "a\r\nb", "a\0b", "a\x7f", "é", "a\"b", "a,b", "a=b", " a",
    ] {
        let clock = Clock::system();
        let token = Token::bearer(bad, Duration::from_secs(60), Moment::of(&clock));

        assert!(matches!(token, Err(TokenError::IllegalToken)), "{bad:?}");
    }
}

#[test]
fn tokens_of_every_legal_shape_are_taken() {
    for good in ["mF_9.B5f-4.1JqM", "aGk==", "a+b/c~d", "00D5g!AR8AQ.x_y"] {
        assert!(is_bearer_token(good.as_bytes()), "{good}");
    }
}

#[test]
fn the_margin_is_a_tenth_of_a_short_life_and_thirty_seconds_of_a_long_one() {
    for (lifetime, spent_after) in [(2_000, 1_800), (60_000, 54_000), (3_600_000, 3_570_000)] {
        let (turned, clock, token) = stage(Duration::from_millis(lifetime));

        turned.advance(Duration::from_millis(spent_after - 1));
        assert!(token.is_fresh(Moment::of(&clock)), "{lifetime}");
        turned.advance(Duration::from_millis(1));
        assert!(!token.is_fresh(Moment::of(&clock)), "{lifetime}");
    }
}

#[test]
fn a_clock_set_back_does_not_lengthen_a_life() {
    let (turned, clock, token) = stage(Duration::from_secs(60));

    turned.step_wall_ms(-86_400_000);
    turned.advance(Duration::from_secs(60));

    assert!(!token.is_fresh(Moment::of(&clock)));
    assert_eq!(token.fresh_for(Moment::of(&clock)), Duration::ZERO);
}

#[test]
fn a_clock_set_forward_spends_a_token() {
    let (turned, clock, token) = stage(Duration::from_secs(60));

    turned.step_wall_ms(3_600_000);

    assert!(!token.is_fresh(Moment::of(&clock)));
}

#[test]
fn a_token_without_any_life_is_never_fresh() {
    let (_, clock, token) = stage(Duration::ZERO);

    assert!(!token.is_fresh(Moment::of(&clock)));
}

#[test]
fn a_token_is_renewed_within_a_tenth_of_its_life_after_the_part_that_was_set() {
    for (lifetime_ms, percent, draw, due_ms) in [
        (3_600_000, 80, 0.0, 2_880_000),
        (3_600_000, 80, 1.0, 3_225_000),
        (60_000, 80, 0.0, 48_000),
        (60_000, 80, 1.0, 51_000),
        (2_000, 80, 0.0, 1_600),
        (2_000, 80, 1.0, 1_700),
        (60_000, 50, 1.0, 36_000),
        // 95 % of a short life are beyond its margin.
        (60_000, 95, 0.0, 51_300),
        // No faster than one a second.
        (1_200, 50, 0.0, 1_000),
    ] {
        let (turned, clock, token) = stage(Duration::from_millis(lifetime_ms));
        let token = token.renewed_at(percent, draw);

        turned.advance(Duration::from_millis(due_ms - 1));
        assert!(!token.is_due(Moment::of(&clock)), "{lifetime_ms} {percent}");
        turned.advance(Duration::from_millis(1));
        assert!(token.is_due(Moment::of(&clock)), "{lifetime_ms} {percent}");
        assert!(
            token.is_fresh(Moment::of(&clock)),
            "{lifetime_ms} {percent}"
        );
    }
}

#[test]
fn a_life_too_short_for_it_is_not_renewed_ahead() {
    for lifetime_ms in [0, 1, 500, 1_000, 1_111] {
        let (turned, clock, token) = stage(Duration::from_millis(lifetime_ms));
        let token = token.renewed_at(80, 0.5);

        turned.advance(Duration::from_secs(2));

        assert_eq!(token.renewal(), None, "{lifetime_ms}");
        assert!(!token.is_due(Moment::of(&clock)), "{lifetime_ms}");
    }
}

#[test]
fn a_clock_set_forward_makes_a_token_due_and_one_set_back_puts_nothing_off() {
    let (turned, clock, token) = stage(Duration::from_secs(3600));
    let token = token.renewed_at(80, 0.0);

    turned.step_wall_ms(2_880_000);
    assert!(token.is_due(Moment::of(&clock)));

    turned.step_wall_ms(-86_400_000);
    assert!(!token.is_due(Moment::of(&clock)));
    turned.advance(Duration::from_secs(2880));
    assert!(token.is_due(Moment::of(&clock)));
}

#[test]
fn a_token_that_was_asked_for_before_this_process_began_is_as_old_as_it_is() {
    let turned = Turned::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let clock = Clock::turned(&turned);
    let (lifetime, age) = (Duration::from_secs(3600), Duration::from_secs(3000));
    let had = Moment::of(&clock);

    let token = Token::aged("abc", lifetime, age, had).expect("legal");
    let token = token.renewed_at(90, 0.0);

    assert_eq!(token.expires_at(), had.wall + Duration::from_secs(600));
    assert_eq!(token.fresh_for(had), Duration::from_secs(570));
    assert_eq!(token.renewal(), Some(Duration::from_secs(240)));
    turned.advance(Duration::from_secs(240));
    let now = Moment::of(&clock);
    assert!(token.is_due(now) && token.is_fresh(now));
    assert_eq!(token.age(now), Duration::from_secs(3240));
    turned.advance(Duration::from_secs(330));
    assert!(!token.is_fresh(Moment::of(&clock)));
}

#[test]
fn a_token_older_than_its_life_is_spent_and_one_older_than_the_world_too() {
    let clock = Clock::system();
    for age in [Duration::from_secs(60), Duration::MAX] {
        let had = Moment::of(&clock);
        let token = Token::aged("abc", Duration::from_secs(60), age, had).expect("legal");

        assert!(!token.is_fresh(had), "{age:?}");
        assert!(token.expires_at() <= had.wall, "{age:?}");
    }
}

#[test]
fn a_token_reads_back_as_its_server_wrote_it() {
    let (_, _, token) = stage(Duration::from_secs(60));

    assert_eq!(token.access_token().expose(), "abc");
}

#[test]
fn no_two_tokens_go_by_one_mark() {
    let marks: Vec<_> = (0..3)
        .map(|_| stage(Duration::from_secs(60)).2.mark())
        .collect();

    assert!(marks[0] != marks[1] && marks[1] != marks[2] && marks[0] != marks[2]);
}

#[test]
fn a_life_of_centuries_is_cut() {
    let (_, clock, token) = stage(Duration::MAX);

    assert_eq!(token.expires_at(), Moment::of(&clock).wall + LIFETIME_MAX);
}
