//! `--against`: the tool, as whoever loads a gateway with it meets it.

use std::ffi::OsString;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::exchange::Exchange;
use crate::support::origin::{Handler, scripted, whole};
use crate::support::pki::Ca;
use crate::support::stage::Stage;

use super::load::against::{Screen, perform};
use super::scene::Scene;

/// What the tool said.
#[derive(Debug)]
struct Said {
    code: u8,
    out: String,
    err: String,
    progress: String,
}

/// Runs the tool with `words`, which are parted by spaces.
async fn tool(words: &str) -> Said {
    tool_until(words, pending()).await
}

async fn tool_until(words: &str, interrupted: impl Future<Output = ()> + Send + 'static) -> Said {
    let words = ["tool"].into_iter().chain(words.split(' '));
    let words: Vec<OsString> = words.map(OsString::from).collect();
    let running = tokio::task::spawn_blocking(move || {
        let (mut out, mut err, mut progress) = (Vec::new(), Vec::new(), Vec::new());
        let screen = Screen {
            out: &mut out,
            err: &mut err,
            progress: &mut progress,
        };
        let code = perform(words, interrupted, screen);
        let [out, err, progress] =
            [out, err, progress].map(|text| String::from_utf8(text).unwrap());
        Said {
            code,
            out,
            err,
            progress,
        }
    });
    running.await.unwrap()
}

/// A short run of two connections against the gateway, at `path`.
fn shortly(address: SocketAddr, path: &str) -> String {
    format!("--against http://{address}{path} --connections 2 --seconds 0.2 --ramp 1ms")
}

/// The same against the origin, which has a certificate of the stage's CA.
fn past(scene: &Scene, path: &str) -> String {
    let url = scene.origin.url(path);
    let ca = scene.stage.directory().join("ca.pem");
    let ca = ca.display();
    format!("--against {url} --ca {ca} --connections 2 --seconds 0.2 --ramp 1ms")
}

/// Answers the first `count` requests and leaves the others without an answer.
fn falling_silent(count: usize) -> Handler {
    let asked = Arc::new(AtomicUsize::new(0));
    scripted(move |mut exchange: Exchange| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            exchange.finish().await;
            match number < count {
                true => Answer::text("ok"),
                false => pending().await,
            }
        }
    })
}

#[tokio::test]
async fn a_run_says_what_was_measured_to_people_and_as_json() {
    let scene = Scene::set().await;
    let json = scene.stage.directory().join("run.json");
    let words = shortly(scene.gateway.flows(), "/o/b/100");

    let said = tool(&format!("{words} --json {}", json.display())).await;

    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    for part in [
        "answers ",
        "p50 ",
        "p90 ",
        "p99 ",
        "p99.9 ",
        "max ",
        "statuses    200: ",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(said.progress.contains("opening 2 connections"), "{said:?}");
    let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    // Each connection has sent one before the clock started.
    let seen = scene.origin.tally().whole as u64 - 2;
    assert_eq!(json["requests"], seen);
    assert_eq!(json["statuses"]["200"], seen);
    assert_eq!(json["content_bytes"], 100 * seen);
    assert_eq!(json["failures"], 0);
    assert!(
        json["latency_us"]["p99_9"].as_f64().unwrap() > 0.0,
        "{json}"
    );
}

#[tokio::test]
async fn the_request_is_sent_as_it_was_asked_for() {
    let scene = Scene::set().await;
    let path = "/a/%2e%2E/./b//c%2Fd?x=%20&y=/../z";

    for http in ["", " --http2 --streams 3", " --new-connections"] {
        let words = past(&scene, path);
        let words = format!("{words}{http} --method PUT --body-bytes 70000");
        let said = tool(&format!("{words} --header X-One:1 --header x-one:2")).await;
        assert_eq!(said.code, 0, "{said:?}");
    }

    let requests = scene.origin.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("PUT", path)
        );
        let authority = format!("localhost:{}", scene.origin.address().port());
        assert_eq!(request.authority, authority);
        assert_eq!(request.all("x-one"), ["1", "2"]);
        assert_eq!(request.body.len(), 70_000);
    }
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_a_host_may_be_another() {
    let scene = Scene::set().await;
    let file = scene.stage.write("body", "what is sent");
    let words = past(&scene, "/x");

    let said = tool(&format!(
        "{words} --body {} --header Host:other",
        file.display()
    ))
    .await;

    assert_eq!(said.code, 0, "{said:?}");
    let request = scene.origin.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.text().as_str()),
        ("POST", "what is sent")
    );
    assert_eq!(request.authority, "other");
}

#[tokio::test]
async fn refusals_are_told_by_reason_and_break_the_bound_on_failures() {
    let scene = Scene::set().await;
    let words = shortly(scene.gateway.flows(), "/nobody/x");

    let unbound = tool(&words).await;
    let bound = tool(&format!("{words} --max-failures 99.9%")).await;

    assert_eq!(unbound.code, 0, "{unbound:?}");
    for said in [&unbound, &bound] {
        assert!(
            said.out
                .contains("refused     attache: no-such-connector: "),
            "{said:?}"
        );
        assert!(said.out.contains("statuses    404: "), "{said:?}");
    }
    assert_eq!(bound.code, 1, "{bound:?}");
    let told = "failures 100.000 %, at most 99.900 %: BROKEN";
    assert!(bound.out.contains(told), "{bound:?}");
}

#[tokio::test]
async fn what_the_origin_answers_is_a_failure_and_no_refusal() {
    let handler = whole(|_| Answer::status(503));
    let scene = Scene::with(Stage::new(), handler, "").await;
    let words = shortly(scene.gateway.flows(), "/o/x");

    let said = tool(&format!("{words} --max-failures 0%")).await;

    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("statuses    503: "), "{said:?}");
    // The breaker may refuse after so many of them, which is a refusal then.
    let refused = said.out.lines().find(|line| line.starts_with("refused"));
    let breaker = "refused     attache: breaker-open: ";
    assert!(
        refused.is_none_or(|line| line.starts_with(breaker)),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_bound_on_the_99th_percentile_holds_or_is_broken() {
    let scene = Scene::set().await;
    let words = shortly(scene.gateway.flows(), "/o/b/1");

    let held = tool(&format!("{words} --max-p99 60m --max-failures 0%")).await;
    let broken = tool(&format!("{words} --max-p99 1us --max-failures 0%")).await;

    assert_eq!(held.code, 0, "{held:?}");
    assert_eq!(held.out.matches(": holds").count(), 2, "{held:?}");
    assert_eq!(broken.code, 1, "{broken:?}");
    assert_eq!(broken.out.matches(": BROKEN").count(), 1, "{broken:?}");
}

#[tokio::test]
async fn an_interrupted_run_tells_what_was_measured() {
    let scene = Arc::new(Scene::set().await);
    let url = format!("http://{}/o/b/100", scene.gateway.flows());
    let words = format!("--against {url} --connections 2 --seconds 3600 --ramp 1ms");
    let watched = Arc::clone(&scene);
    let enough = async move {
        watched.origin.until(|tally| tally.whole >= 20).await;
    };

    let said = tool_until(&words, enough).await;

    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(", cut short"), "{said:?}");
    assert!(said.out.contains("failures    0 of "), "{said:?}");
}

#[tokio::test]
async fn an_interrupt_before_the_clock_starts_ends_it_too() {
    let scene = Arc::new(Scene::set().await);
    let words = shortly(scene.gateway.flows(), "/o/x");
    let words = words.replace("--ramp 1ms", "--ramp 60m");
    let watched = Arc::clone(&scene);
    // The second connection's turn comes half an hour later, and not while others are served.
    let first = async move {
        watched.origin.until(|tally| tally.whole >= 1).await;
        for _ in 0..3 {
            watched.gateway.get("/o/x").await;
        }
    };

    let said = tool_until(&words, first).await;

    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert_eq!(scene.origin.tally().whole, 1 + 3);
    assert!(said.err.contains("interrupted"), "{said:?}");
}

#[tokio::test]
async fn what_is_under_way_when_a_run_is_interrupted_is_no_failure() {
    let scene = Scene::with(Stage::new(), falling_silent(2), "").await;
    let scene = Arc::new(scene);
    let words = format!("{} --timeout 60m", past(&scene, "/x"));
    let words = words.replace("--seconds 0.2", "--seconds 3600");
    let watched = Arc::clone(&scene);
    let waiting = async move {
        watched.origin.until(|tally| tally.whole >= 4).await;
    };

    let said = tool_until(&words, waiting).await;

    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("failures    0 of 0"), "{said:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_failure_and_counts_with_the_time_it_was_waited_for() {
    for http in ["", " --http2 --streams 1"] {
        let scene = Scene::with(Stage::new(), falling_silent(2), "").await;
        let json = scene.stage.directory().join("run.json");
        let words = past(&scene, "/x");

        let said = tool(&format!(
            "{words}{http} --timeout 50ms --rate 100 --json {}",
            json.display()
        ))
        .await;

        assert_eq!(said.code, 0, "no bound was asked for: {said:?}");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        // A hundred a second for 0.2 s; what was never sent is among them.
        assert_eq!(json["failures"], 20, "{json}");
        assert!(
            json["latency_us"]["p50"].as_f64().unwrap() >= 50_000.0,
            "{json}"
        );
        assert!(
            said.out.contains("unanswered  no answer within 50ms: "),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_told_plainly() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);

    let said = tool(&shortly(address, "/o/x")).await;

    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    let told = format!("{address} (127.0.0.1) is not reached: ");
    assert!(said.err.starts_with(&told), "{said:?}");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_told_plainly() {
    let scene = Scene::set().await;
    scene.stage.write("ca.pem", &Ca::new("another").pem());

    let said = tool(&past(&scene, "/x")).await;

    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("nothing was answered"), "{said:?}");
    assert!(said.err.contains("certificate"), "{said:?}");
}

#[tokio::test]
async fn help_is_printed_for_whoever_asks_for_it() {
    for words in ["--against --help", "--against --help --bench"] {
        let said = tool(words).await;

        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        assert!(said.out.contains("--max-p99"), "{said:?}");
    }
}

#[tokio::test]
async fn wrong_usage_answers_2_and_says_what_is_wrong() {
    let url = "--against http://127.0.0.1:1/x";
    for (words, told) in [
        ("--against ftp://a/x", "neither http:// nor https://"),
        ("--against /x", "neither http:// nor https://"),
        ("--against http://me:secret@a/x", "--header"),
        ("--against", "a value is required"),
        ("--seconds 3", "--against"),
        (&format!("{url} --seconds 0"), "between 0.1 and 86400"),
        (&format!("{url} --connections 0"), "1..=65536"),
        (&format!("{url} --rate 0"), "1..=10000000"),
        (&format!("{url} --max-p99 50"), "us, ms, s or m"),
        (&format!("{url} --max-p99 ms"), "no number"),
        (&format!("{url} --max-failures 0.1"), "in percent"),
        (&format!("{url} --max-failures 101%"), "between 0% and 100%"),
        (&format!("{url} --header Name"), "a colon"),
        (&format!("{url} --header Content-Length:1"), "other options"),
        (&format!("{url} --method CONNECT"), "tunnels"),
        (&format!("{url} --streams 2"), "--http2"),
        (
            &format!("{url} --http2 --new-connections"),
            "cannot be used with",
        ),
        (
            &format!("{url} --body /nowhere --body-bytes 1"),
            "cannot be used with",
        ),
        (&format!("{url} --rat 3"), "--rate"),
        (&format!("{url} --ca /nowhere"), "is for https"),
        ("--against https://127.0.0.1:1/x --ca /nowhere", "/nowhere"),
    ] {
        let said = tool(words).await;

        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words}: {said:?}");
        assert!(said.err.contains(told), "{words}: {said:?}");
    }
}
