//! Keys about trouble: what is sent again, what one connector may take.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{read, refused, with_auth};
use crate::connector::{Breaker, Bulkhead, Connector, Rate, Recovery, Retry, Scrub};

const TOKEN: &str =
    "{ oauth2: { token_url: https://a.example/t, client_id: a, client_secret: { env: SET } } }";

fn with(line: &str) -> String {
    format!("{}    {line}\n", with_auth(TOKEN))
}

fn connector(line: &str) -> Connector {
    Arc::unwrap_or_clone(read(&with(line)).unwrap().connectors.remove(0))
}

const REFUSED: &[(&str, &str)] = &[
    ("warm: perhaps", "warm: must be one of true, false"),
    ("expired_on: [401]", "expired_on: must be a mapping"),
    ("expired_on: { statuses: 401 }", "statuses: must be a list"),
    (
        "expired_on: { statuses: [200] }",
        "statuses[0]: must be a status from 400 to 599",
    ),
    (
        "expired_on: { statuses: [401, 600] }",
        "statuses[1]: must be a status from 400 to 599",
    ),
    ("expired_on: { pointer: /a }", "equals: is required"),
    ("expired_on: { equals: 190 }", "pointer: is required"),
    (
        "expired_on: { pointer: a, equals: b }",
        "pointer: must be a JSON pointer",
    ),
    (
        "replay_body_bytes_max: 2MiB",
        "must be a size in bytes, KiB, MiB or GiB such as 64KiB, from 0 to 1MiB",
    ),
    (
        "retry: { attempts: 1 }",
        "attempts: must be a whole number, from 2 to 5",
    ),
    (
        "retry: { attempts: 6 }",
        "attempts: must be a whole number, from 2 to 5",
    ),
    ("retry: { statuses: [x] }", "statuses[0]: must be a status"),
    ("retry: { wait_max: 31s }", "from 0s to 30s"),
    ("retry: { budget_percent: 0 }", "from 1 to 100"),
    ("requests_in_flight_max: 0", "from 1 to 1000000"),
    (
        "requests_per_second: 50",
        "requests_per_second: must be a mapping",
    ),
    (
        "requests_per_second: {}",
        "rate: is required: how many requests a second",
    ),
    (
        "requests_per_second: { rate: 0 }",
        "rate: must be a whole number, from 1 to 1000000",
    ),
    (
        "breaker: off",
        "breaker: must be a mapping (failures, window, open), or null for none",
    ),
    (
        "breaker: { failures: 0 }",
        "failures: must be a whole number, from 1",
    ),
    ("breaker: { window: 1ms }", "from 100ms to 10m"),
    ("upgrades: websocket", "upgrades: must be a list"),
    ("upgrades: [h2c]", "upgrades[0]: must be a protocol's name"),
    (
        "upgrades: [WebSocket]",
        "upgrades[0]: must be a protocol's name",
    ),
    ("scrub: bodies", "scrub: must be one of off, fields, all"),
    (
        "upstream: { tunnel_idle: 25h }",
        "tunnel_idle: must be a duration",
    ),
];

#[test]
fn what_is_no_such_thing_is_refused_with_what_is() {
    for (line, said) in REFUSED {
        let answer = refused(&with(line));

        assert!(answer.contains(said), "{line}: {answer}");
    }
}

#[test]
fn only_a_token_can_be_obtained_before_a_flow_asks() {
    let said = refused(&format!("{}    warm: true\n", with_auth("none")));

    assert!(
        said.contains("connectors[a].warm: must be false where there is no token"),
        "{said}"
    );
    assert!(connector("warm: true").warm);
}

#[test]
fn a_sign_of_expiry_where_nothing_can_expire_is_warned_of() {
    let basic = "{ basic: { username: u, password: { env: SET } } }";
    for (auth, line, warned) in [
        (basic, "expired_on: { statuses: [403] }", true),
        (basic, "expired_on: { pointer: /a, equals: b }", true),
        ("none", "expired_on: { statuses: [] }", true),
        (basic, "expired_on: { statuses: [401] }", false),
        (TOKEN, "expired_on: { statuses: [403] }", false),
    ] {
        let config = read(&format!("{}    {line}\n", with_auth(auth))).unwrap();

        let told = config
            .warnings
            .iter()
            .any(|warning| warning.contains("connectors[a].expired_on: changes nothing"));
        assert_eq!(told, warned, "{auth} {line}: {:?}", config.warnings);
    }
}

#[test]
fn parts_of_a_life_have_bounds() {
    for bad in ["0.96", "0.05", "1", "80%", "-0.8", "0.801"] {
        let said = refused(&format!("tokens: {{ renew_at: {bad} }}\n"));

        assert!(
            said.contains("tokens.renew_at: must be a part such as 0.8"),
            "{bad}: {said}"
        );
        assert!(said.contains("from 0.1 to 0.95"), "{bad}: {said}");
    }
    assert_eq!(
        read("tokens: { renew_at: 0.5 }")
            .unwrap()
            .tokens
            .renew_at_percent,
        50
    );
}

#[test]
fn a_connector_that_says_nothing_has_the_defaults() {
    let connector = connector("");

    assert!(!connector.warm && connector.requests.upgrades.is_empty());
    assert_eq!(*connector.recovery, Recovery::default());
    assert_eq!(*connector.bulkhead, Bulkhead::default());
    assert_eq!(connector.scrub, Scrub::Fields);
}

#[test]
fn what_says_that_a_token_expired_may_be_a_status_or_stand_in_a_body() {
    let said = connector("expired_on: { statuses: [], pointer: /error/code, equals: 190 }");
    let sign = said.recovery.expired_on.body.as_ref().unwrap();
    assert!(said.recovery.expired_on.statuses.is_empty());
    assert_eq!(
        (sign.pointer.as_str(), sign.equals.as_str()),
        ("/error/code", "190")
    );

    let said = connector("expired_on: { statuses: [401, 403] }").recovery;
    let statuses = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    assert_eq!(said.expired_on.statuses, statuses);
    assert_eq!(said.expired_on.body, None);
}

#[test]
fn limits_are_as_they_are_written_and_null_takes_one_away() {
    let said = connector("requests_per_second: { rate: 5 }").bulkhead.rate;
    let rate = Rate {
        per_second: 5,
        burst: 5,
    };
    assert_eq!(said, Some(rate));
    let said = connector("requests_per_second: { rate: 5, burst: 1 }")
        .bulkhead
        .rate;
    assert_eq!(said, Some(Rate { burst: 1, ..rate }));
    assert_eq!(connector("breaker: null").bulkhead.breaker, None);
    let said = connector("breaker: { failures: 3 }").bulkhead.breaker;
    assert_eq!(
        said,
        Some(Breaker {
            failures: 3,
            ..Breaker::default()
        })
    );
    let said = connector("request_body_bytes_max: 1MiB").bulkhead;
    assert_eq!(said.request_body_bytes_max, Some(1 << 20));
    assert_eq!(said.response_body_bytes_max, None);
}

#[test]
fn retries_are_off_until_they_are_asked_for() {
    assert_eq!(connector("retry: null").recovery.retry, None);
    assert_eq!(
        connector("retry: {}").recovery.retry,
        Some(Retry::default())
    );
    let said = connector("retry: { statuses: [503], attempts: 3, wait_max: 0s }")
        .recovery
        .retry
        .clone();
    let retry = Retry {
        statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
        attempts: 3,
        wait_max: Duration::ZERO,
        ..Retry::default()
    };
    assert_eq!(said, Some(retry));
}

#[test]
fn scrubbing_and_upgrades_are_what_they_say() {
    for (word, scrub) in [
        ("off", Scrub::Off),
        ("fields", Scrub::Fields),
        ("all", Scrub::All),
    ] {
        assert_eq!(connector(&format!("scrub: {word}")).scrub, scrub);
    }
    assert_eq!(
        connector("upgrades: [websocket, x-chat]")
            .requests
            .upgrades
            .as_ref(),
        ["websocket", "x-chat"]
    );
    let idle = connector("upstream: { tunnel_idle: 5s }")
        .upstream
        .tunnel_idle_timeout;
    assert_eq!(idle, Duration::from_secs(5));
}
