//! Lines about ends, under a turned clock.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::Level;

use super::*;
use crate::clock::Turned;
use crate::config::{AccessLog, LogFormat, Logs};
use crate::logging::Logging;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const START: SystemTime = SystemTime::UNIX_EPOCH;

/// Keeps what was written.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ends(connector: &str, usage: &'static str, in_days: u32) -> CertificateExpiry {
    CertificateExpiry {
        connector: connector.to_owned(),
        usage,
        at: START + DAY * in_days,
    }
}

/// What is told of publications, each of them on its day, as level, connector, use and end.
fn told(passes: &[(u32, &[CertificateExpiry])]) -> Vec<Vec<String>> {
    let mut told = Told::default();
    let mut all = Vec::new();
    for (day, published) in passes {
        let elapsed = DAY * *day;
        all.push(written(|| told.tell(published, START + elapsed, elapsed)));
    }
    all
}

fn written(say: impl FnOnce()) -> Vec<String> {
    let logs = Logs {
        format: LogFormat::Json,
        level: Level::INFO,
        access: AccessLog::Off,
    };
    let tape = Tape::default();
    let (logging, dispatch) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, say);
    drop(logging);
    let written = tape.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&written).into_owned();
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let of = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let [level, message] = [of("level"), of("message")];
        match line.get("connector") {
            None => format!("{level} {message} {}", line["more"]),
            Some(_) => {
                let (connector, usage, at) = (of("connector"), of("use"), of("ends_at"));
                format!("{level} {message}: {connector} {usage} {}", &at[..10])
            }
        }
    };
    text.lines().map(line).collect()
}

#[test]
fn a_certificate_is_spoken_of_from_thirty_days_before_its_end_and_once_a_day() {
    let crm = [ends("crm", "token", 40)];

    let told = told(&[(9, &crm), (10, &crm), (10, &crm), (11, &crm)]);

    let line = "WARN the certificate ends soon: crm token 1970-02-10";
    assert_eq!(told, [&[][..], &[line.to_owned()], &[], &[line.to_owned()]]);
}

#[test]
fn its_end_is_an_error_at_once_and_every_day_from_then_on() {
    let crm = [ends("crm", "resource", 5)];

    let told = told(&[(4, &crm), (5, &crm), (5, &crm), (6, &crm)]);

    assert_eq!(
        told[0],
        ["WARN the certificate ends soon: crm resource 1970-01-06"]
    );
    let over = ["ERROR the certificate has ended: crm resource 1970-01-06"];
    assert_eq!(
        (&told[1][..], &told[3][..]),
        (&over.map(String::from)[..], &over.map(String::from)[..])
    );
    assert!(told[2].is_empty());
}

#[test]
fn what_was_replaced_is_no_longer_spoken_of_and_what_replaced_it_is() {
    let (old, new) = ([ends("crm", "token", 5)], [ends("crm", "token", 6)]);
    let renewed = [ends("crm", "token", 100)];

    let told = told(&[
        (1, &old),
        (1, &new),
        (1, &renewed),
        (2, &renewed),
        (2, &old),
    ]);

    let counts: Vec<_> = told.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 1, 0, 0, 1]);
}

#[test]
fn lists_and_anchors_are_called_what_they_are() {
    let all = [
        ends("crm", "crl", 1),
        ends("crm", "ca_bundle", 1),
        ends("none", "listener", 1),
        ends("none", "client_crl", 1),
    ];

    let told = told(&[(0, &all), (2, &all)]);

    let soon = [
        "WARN the certificate ends soon: none listener 1970-01-02",
        "WARN a revocation list ends soon: none client_crl 1970-01-02",
        "WARN a revocation list ends soon: crm crl 1970-01-02",
        "WARN a CA's certificate ends soon: crm ca_bundle 1970-01-02",
    ];
    assert_eq!(told[0], soon);
    let over = [
        "ERROR the certificate has ended: none listener 1970-01-02",
        "ERROR a revocation list has ended: none client_crl 1970-01-02",
        "ERROR a revocation list has ended: crm crl 1970-01-02",
        "WARN a CA's certificate has ended: crm ca_bundle 1970-01-02",
    ];
    assert_eq!(told[1], over);
}

#[test]
fn a_thousand_ends_are_a_hundred_lines_and_a_count() {
    let many: Vec<_> = (0..1_000)
        .map(|n| ends(&format!("c{n}"), "token", 1))
        .collect();

    let told = told(&[(0, &many)]);

    assert_eq!(told[0].len(), LINES_MAX + 1);
    let last = "WARN more certificates end soon, or have ended 900";
    assert_eq!(told[0].last().map(String::as_str), Some(last));
}

/// Whoever may make connectors could else bring so many that the gateway's own end unsaid.
#[test]
fn the_gateways_own_are_told_however_many_of_connectors_end_before() {
    let mut many: Vec<_> = (0..1_000)
        .map(|n| ends(&format!("c{n}"), "crl", 1))
        .collect();
    many.push(ends("none", "listener", 20));

    let told = told(&[(0, &many), (0, &many), (1, &many), (20, &many)]);

    let named = |lines: &[String], what: &str| lines.iter().filter(|l| l.contains(what)).count();
    let own: Vec<_> = told.iter().map(|lines| named(lines, "listener")).collect();
    assert_eq!(own, [1, 0, 1, 1]);
    assert!(told[0][0].starts_with("WARN the certificate ends soon: none listener"));
    assert!(told[3][0].starts_with("ERROR the certificate has ended: none listener"));
}

#[test]
fn what_found_no_room_among_the_lines_is_told_next_time_and_not_taken_for_told() {
    let many: Vec<_> = (0..250)
        .map(|n| ends(&format!("c{n}"), "token", 20))
        .collect();

    let mut told = told(&[(0, &many), (0, &many), (0, &many), (0, &many), (1, &many)]);

    let last = |n: usize| format!("WARN more certificates end soon, or have ended {n}");
    assert_eq!(told[0].pop(), Some(last(150)));
    assert_eq!(told[1].pop(), Some(last(50)));
    assert_eq!(told[3], Vec::<String>::new());
    let mut said = told[..3].concat();
    said.sort();
    said.dedup();
    assert_eq!(said.len(), 250, "each of them once");
    assert_eq!(told[4].len(), LINES_MAX + 1, "and again the next day");
}

#[test]
fn nothing_is_looked_at_before_something_can_have_changed() {
    let day = |day: u32| START + DAY * day;
    let until = |in_days, on| until_next(&[ends("crm", "token", in_days)], day(on));

    assert_eq!(until_next(&[], day(0)), DAY);
    // 30 days before its end, at its end, and else once a day.
    assert_eq!(
        until_next(&[ends("a", "token", 40)], day(10) - DAY / 4),
        DAY / 4
    );
    assert_eq!(
        until_next(&[ends("a", "token", 40)], day(40) - DAY / 2),
        DAY / 2
    );
    assert_eq!(until(40, 40), DAY);
    assert_eq!(until(40, 0), DAY);
}

#[tokio::test]
async fn the_watch_wakes_with_the_clock_and_with_a_publication() {
    let turned = Turned::starting_at(START);
    let published: watch::Sender<Published> = watch::Sender::new([ends("crm", "token", 31)].into());
    let logs = Logs {
        format: LogFormat::Text,
        level: Level::INFO,
        access: AccessLog::Off,
    };
    let tape = Tape::default();
    let (logging, dispatch) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
    let _default = tracing::dispatcher::set_default(&dispatch);
    let lines = async |count: usize| {
        while {
            logging.flush();
            let written = tape.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&written).lines().count() < count
        } {
            tokio::task::yield_now().await;
        }
    };
    let watching = tokio::spawn(watch(published.subscribe(), Clock::turned(&turned)));

    published.send_replace([ends("crm", "token", 31), ends("orders", "crl", 3)].into());
    lines(1).await;
    turned.advance(DAY);
    lines(3).await;
    turned.advance(DAY);
    lines(5).await;
    drop(published);
    watching.await.unwrap();

    let written = tape.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&written).into_owned();
    assert_eq!(text.matches("connector=orders").count(), 3, "{text}");
    assert_eq!(text.matches("connector=crm").count(), 2, "{text}");
}
