//! What an operator reads.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, Version};
use tracing::Level;

use super::*;
use crate::clock::Turned;
use crate::config::AccessLog as Filter;
use crate::metrics::WorkerCounters;

/// Keeps what was written.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logs(format: LogFormat, level: Level) -> Logs {
    Logs {
        format,
        level,
        access: Filter::All,
    }
}

fn clock() -> Clock {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Clock::turned(&Turned::starting_at(start))
}

/// What `say` writes to a log.
fn written(logs: &Logs, say: impl FnOnce(&Logging)) -> String {
    let tape = Tape::default();
    let (logging, dispatch) = Logging::new(logs, clock(), tape.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || say(&logging));
    drop(logging);
    tape.text()
}

fn record() -> Record {
    Record {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        key: None,
        texts: Texts::of("r-1", "orders", None, "/orders/v1?phone=%2B4930123"),
        method: Method::GET,
        status: StatusCode::OK,
        refusal: None,
        cause: None,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_micros(11_000)),
        request_bytes: 0,
        response_bytes: 17,
        peer: "127.0.0.1:40000".parse().unwrap(),
        protocol: Version::HTTP_2,
    }
}

#[test]
fn hostile_values_cannot_end_their_line_or_reach_the_terminal() {
    let hostile = "x\n2027-01-15T08:00:00.000Z ERROR forged\u{1b}[2J\u{9b}31m";
    for format in [LogFormat::Text, LogFormat::Json] {
        let text = written(&logs(format, Level::INFO), |_| {
            tracing::info!(display = %hostile, debug = ?hostile, text = hostile, "said {hostile}");
        });

        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
    }
}

#[test]
fn a_panic_tells_its_place_and_not_what_it_was_about() {
    let text = written(&logs(LogFormat::Text, Level::TRACE), |_| {
        let log = tracing::dispatcher::get_default(Dispatch::clone);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            tracing::dispatcher::with_default(&log, || tell_panic(panic));
        }));
        // Cut within a character, which the standard library tells with the text itself.
        let secret = "c4nary-s3cret-ä".to_owned();
        let ended = std::thread::spawn(move || secret[..secret.len() - 1].len()).join();
        panic::set_hook(before);
        assert!(ended.is_err());
    });

    assert!(
        text.contains("a defect: a task panicked place=src/logging/tests.rs:"),
        "{text}"
    );
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(!text.contains("c4nary"), "{text}");
}

#[test]
fn an_error_is_shown_with_its_sources() {
    let error = LoggingError::Thread(io::Error::other("no room"));
    let text = written(&logs(LogFormat::Text, Level::INFO), |_| {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(error, attempts = 3, "it failed");
    });

    assert_eq!(
        text,
        "2027-01-15T08:00:00.000Z WARN  attache::logging::tests: it failed \
         error=\"the thread that writes the log could not be started: no room\" attempts=3\n"
    );
}

#[test]
fn a_field_cannot_pose_as_the_level_of_its_line() {
    let text = written(&logs(LogFormat::Json, Level::INFO), |_| {
        tracing::info!(level = "ERROR", "it went well");
    });

    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["field_level"], "ERROR");
}

#[test]
fn foreign_crates_are_not_heard_below_warn_even_at_trace() {
    let text = written(&logs(LogFormat::Text, Level::TRACE), |_| {
        tracing::info!(target: "h2::codec", "a frame with what it carries");
        tracing::warn!(target: "h2::codec", "a frame too many");
        tracing::trace!("our own");
    });

    assert!(!text.contains("what it carries"), "{text}");
    assert!(text.contains("a frame too many"), "{text}");
    assert!(text.contains("our own"), "{text}");
}

#[test]
fn a_reload_changes_level_and_format_of_a_running_log() {
    let text = written(&logs(LogFormat::Text, Level::ERROR), |logging| {
        let say = || tracing::info!("heard");
        say();
        logging.apply(&logs(LogFormat::Json, Level::INFO)).unwrap();
        say();
    });

    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "heard");
}

#[test]
fn an_access_line_tells_no_query() {
    let text = written(&logs(LogFormat::Text, Level::ERROR), |logging| {
        let worker = WorkerCounters::default();
        logging.access_log().write(record(), &worker);
    });

    assert_eq!(
        text,
        "2027-01-15T08:00:00.000Z INFO  access: request answered request_id=r-1 \
         connector=orders method=GET path=/orders/v1 status=200 duration_ms=12.345 \
         upstream_ms=11.000 request_bytes=0 response_bytes=17 peer=127.0.0.1:40000 \
         protocol=HTTP/2\n"
    );
}

#[test]
fn a_refusal_tells_reason_and_cause_on_one_line() {
    let text = written(&logs(LogFormat::Json, Level::ERROR), |logging| {
        let refused = Record {
            status: StatusCode::BAD_GATEWAY,
            refusal: Some("origin-tls"),
            cause: Some("the certificate\nhas expired".into()),
            upstream_duration: None,
            ..record()
        };
        logging
            .access_log()
            .write(refused, &WorkerCounters::default());
    });

    assert_eq!(text.matches('\n').count(), 1);
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "request refused");
    assert_eq!(line["reason"], "origin-tls");
    assert_eq!(line["cause"], "the certificate\nhas expired");
    assert_eq!(line["duration_ms"], 12.345);
    assert_eq!(line.get("upstream_ms"), None);
}

/// A record with all that a record can have, from a caller that means no good.
fn hostile_record() -> Record {
    Record {
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_001_007_999_999),
        key: Some([0, 0xc0, 0xff, 0xee]),
        texts: Texts::of(
            "r=\u{1b}[2J\"\\",
            "none",
            Some("ivr\n\u{1b}[2J"),
            "/ä\u{202e}\n b\u{7f}\u{9b}🔒",
        ),
        method: Method::from_bytes(b"M-SEARCH").unwrap(),
        status: StatusCode::BAD_GATEWAY,
        refusal: Some("origin-tls"),
        cause: Some("the certificate\thas\r expired".into()),
        duration: Duration::from_nanos(1_234_000_056_999),
        upstream_duration: Some(Duration::from_micros(7)),
        request_bytes: u64::MAX,
        response_bytes: 10,
        peer: "[2001:db8::1]:65535".parse().unwrap(),
        protocol: Version::HTTP_10,
    }
}

#[test]
fn a_line_of_the_access_log_is_spelt_so_to_the_letter() {
    let written_as = |format| {
        written(&logs(format, Level::ERROR), |logging| {
            for record in [record(), hostile_record(), record()] {
                logging
                    .access_log()
                    .write(record, &WorkerCounters::default());
            }
        })
    };
    let plain = "2027-01-15T08:00:00.000Z INFO  access: request answered request_id=r-1 \
        connector=orders method=GET path=/orders/v1 status=200 duration_ms=12.345 \
        upstream_ms=11.000 request_bytes=0 response_bytes=17 peer=127.0.0.1:40000 \
        protocol=HTTP/2\n";
    let hostile = concat!(
        r#"2027-01-15T08:00:01.007Z INFO  access: request refused "#,
        r#"request_id="r=\u{1b}[2J\"\\" connector=none principal="ivr\n\u{1b}[2J" "#,
        r#"key=00c0ffee method=M-SEARCH "#,
        r#"path="/ä\u{202e}\n b\u{7f}\u{9b}🔒" status=502 reason=origin-tls "#,
        r#"cause="the certificate\thas\r expired" duration_ms=1234000.056 upstream_ms=0.007 "#,
        r#"request_bytes=18446744073709551615 response_bytes=10 peer=[2001:db8::1]:65535 "#,
        "protocol=HTTP/1.0\n",
    );
    assert_eq!(
        written_as(LogFormat::Text),
        [plain, hostile, plain].concat()
    );

    let plain = concat!(
        r#"{"timestamp":"2027-01-15T08:00:00.000Z","level":"INFO","target":"access","#,
        r#""message":"request answered","request_id":"r-1","connector":"orders","#,
        r#""method":"GET","path":"/orders/v1","status":200,"duration_ms":12.345,"#,
        r#""upstream_ms":11.000,"request_bytes":0,"response_bytes":17,"#,
        r#""peer":"127.0.0.1:40000","protocol":"HTTP/2"}"#,
        "\n",
    );
    let hostile = concat!(
        r#"{"timestamp":"2027-01-15T08:00:01.007Z","level":"INFO","target":"access","#,
        r#""message":"request refused","request_id":"r=\u001b[2J\"\\","connector":"none","#,
        r#""principal":"ivr\n\u001b[2J","key":"00c0ffee","#,
        r#""method":"M-SEARCH","path":"/ä\u202e\n b\u007f\u009b🔒","status":502,"#,
        r#""reason":"origin-tls","cause":"the certificate\thas\r expired","#,
        r#""duration_ms":1234000.056,"upstream_ms":0.007,"#,
        r#""request_bytes":18446744073709551615,"response_bytes":10,"#,
        r#""peer":"[2001:db8::1]:65535","protocol":"HTTP/1.0"}"#,
        "\n",
    );
    assert_eq!(
        written_as(LogFormat::Json),
        [plain, hostile, plain].concat()
    );
}

#[test]
fn the_filter_decides_before_a_record_is_made() {
    let (ok, missing, broken) = (
        StatusCode::OK,
        StatusCode::NOT_FOUND,
        StatusCode::BAD_GATEWAY,
    );
    for (filter, status, refusal, wanted) in [
        (Filter::Off, broken, Some("origin-tls"), false),
        (Filter::Errors, ok, None, false),
        (Filter::Errors, missing, None, false),
        (Filter::Errors, missing, Some("no-such-connector"), true),
        (Filter::Errors, broken, None, true),
        (Filter::All, ok, None, true),
    ] {
        assert_eq!(
            wants(filter, status, refusal),
            wanted,
            "{filter:?} {status}"
        );
    }
}
