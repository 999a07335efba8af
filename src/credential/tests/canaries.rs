//! What must never be seen, looked for wherever this room writes.

use std::io;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracing::Level;
use tracing::dispatcher::DefaultGuard;
use url::form_urlencoded;

use super::server::json;
use super::*;
use crate::config::{AccessLog, LogFormat, Logs};
use crate::logging::Logging;

/// Everything that is logged on this thread while the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives this thread's events.
struct Guard {
    logging: Logging,
    _guard: DefaultGuard,
}

impl Log {
    fn start() -> (Self, Guard) {
        let log = Self::default();
        let writer = log.clone();
        let logs = Logs {
            format: LogFormat::Text,
            level: Level::TRACE,
            access: AccessLog::All,
        };
        let (logging, dispatch) = Logging::new(&logs, Clock::system(), writer).expect("a log");
        let guard = tracing::dispatcher::set_default(&dispatch);
        (
            log,
            Guard {
                logging,
                _guard: guard,
            },
        )
    }

    fn text(&self, guard: &Guard) -> String {
        guard.logging.flush();
        String::from_utf8(self.0.lock().expect("whole").clone()).expect("UTF-8")
    }
}

fn assert_clean(text: &str, canaries: &[&str]) {
    for canary in canaries {
        let form: String = form_urlencoded::byte_serialize(canary.as_bytes()).collect();
        let base64 = STANDARD.encode(canary);
        for shape in [canary, form.as_str(), base64.trim_end_matches('=')] {
            assert!(!text.contains(shape), "{shape} is in {text}");
        }
    }
}

#[tokio::test]
async fn neither_a_token_nor_a_secret_is_shown_by_debug_or_the_metrics() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.password()));
    let obtained = source.obtain().await.expect("a token");

    let shown = format!(
        "{source:?} {obtained:?} {:?} {:?}",
        stage.credentials, stage.settings
    );

    assert_clean(&shown, &["token-1", SECRET, "pass word&="]);
}

#[tokio::test]
async fn a_failed_fetch_is_logged_once_and_shows_no_secret_that_the_server_echoes() {
    let stage = Stage::new().await;
    let (log, guard) = Log::start();
    let source = stage.source(&connector("crm", stage.password()));
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"not {SECRET}","access_token":"t-9"}}"#
    );
    stage.server.will_answer(json(401, &body));

    source.obtain().await.expect_err("refused");

    let text = log.text(&guard);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    for told in [
        "connector=crm",
        "https://login.example",
        "rejected",
        "invalid_client",
    ] {
        assert!(lines[0].contains(told), "{told} is not in {text}");
    }
    assert_clean(&text, &["t-9", SECRET, "pass word&="]);
}

#[tokio::test]
async fn a_failure_is_one_warning_however_often_it_repeats_and_its_end_one_line() {
    let stage = Stage::new().await;
    let (log, guard) = Log::start();
    let source = stage.source(&connector("crm", stage.oauth2()));
    for status in [503, 500, 429, 503] {
        stage.server.will_answer(json(status, "{}"));
    }
    stage.server.will_answer(json(200, "[]"));

    source.obtain().await.expect_err("it fails");
    for attempts in 2..=5 {
        stage.turned.advance(Duration::from_secs(2));
        stage.failed(&source, attempts).await;
        source.obtain().await.expect_err("it still fails");
    }
    stage.recovered(&source).await;

    let text = log.text(&guard);
    let lines = |level: &str| {
        let lines = text.lines().filter(|line| line.contains(level));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let warned = lines("WARN");
    assert_eq!(warned.len(), 2, "{text}");
    assert!(warned[0].contains("rejected"), "{text}");
    assert!(warned[1].contains("malformed"), "{text}");
    let told = lines("INFO");
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("failed_attempts=5"), "{text}");
}

#[tokio::test]
async fn a_warning_says_what_becomes_of_requests_and_when_the_next_attempt_is() {
    for (held, meanwhile) in [
        (false, "requests are refused until one is"),
        (true, "the one held is used until it is spent"),
    ] {
        let stage = Stage::new().await;
        let (log, guard) = Log::start();
        let source = stage.source(&connector("crm", stage.oauth2()));
        if held {
            source.obtain().await.expect("a token");
        }
        let busy = b"HTTP/1.1 429 x\r\nRetry-After: 45\r\nContent-Length: 0\r\n\r\n";
        stage.server.will_answer(busy.to_vec());

        stage.turned.advance(Duration::from_secs(3250));
        let _ = source.obtain().await;
        stage.failed(&source, 1).await;

        let text = log.text(&guard);
        assert!(text.contains(meanwhile), "{text}");
        assert_eq!(text.contains("token_left_s=0"), !held, "{text}");
        assert!(text.contains("next_attempt_s=45"), "{text}");
    }
}

#[tokio::test]
async fn what_a_server_says_about_its_refusal_is_logged() {
    let stage = Stage::new().await;
    let (log, guard) = Log::start();
    let body =
        r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired\r\nWARN x"}"#;
    stage.server.will_answer(json(401, body));

    stage.obtain(stage.oauth2()).await.expect_err("refused");

    let text = log.text(&guard);
    assert!(text.contains("AADSTS7000222: expired??WARN x"), "{text}");
}

#[tokio::test]
async fn a_token_is_not_logged_when_it_comes() {
    let stage = Stage::new().await;
    let (log, guard) = Log::start();

    stage.obtain(stage.password()).await.expect("a token");

    let text = log.text(&guard);
    assert!(text.contains("obtained a token"), "{text}");
    assert_clean(&text, &["token-1", SECRET, "pass word&="]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_quoted() {
    let stage = Stage::new().await;
    let (log, guard) = Log::start();
    for body in [
        r#"{"access_token":"canary-1","expires_in":"canary-1"}"#,
        r#"{"access_token":"canary-1","token_type":"canary-1"}"#,
        r#"{"access_token":"canary-1","canary-1"}"#,
        r#"{"access_token":["canary-1"]}"#,
        r#"{"access_token":"canary-1 x"}"#,
        "canary-1",
    ] {
        stage
            .answered(json(200, body))
            .await
            .expect_err("unreadable");
    }

    assert_clean(&log.text(&guard), &["canary-1"]);
}
