//! Every secret and token of a whole run, failures included, looked for wherever the gateway
//! writes: log, access log, metrics, health, problems, `Debug`. None is there.

use std::net::SocketAddr;

use crate::support::child::Child;
use crate::support::client::Answered;
use crate::support::gateway::{self, Running};
use crate::support::whole_run::WholeRun;

/// Where this process serves `whom`, once it says so.
async fn address(child: &Child, whom: &str) -> SocketAddr {
    let line = child.stderr.line(whom, |line| line.contains(whom)).await;
    let digits = line.split("127.0.0.1:").nth(1).unwrap();
    let port: String = digits.chars().take_while(char::is_ascii_digit).collect();
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
}

fn whole_answer(answered: &Answered) -> String {
    format!("{:?}\n{}", answered.fields, answered.text())
}

/// A run of the program itself, its log in `format`.
async fn a_whole_run(format: &str) {
    let mut run = WholeRun::new().await;
    let logs = format!("logs: {{ format: {format}, level: trace, access: all }}\n");
    let own = run.own();
    let child = gateway::process(&run.stage.config_file(&format!("{logs}{own}")));
    let flows = address(&child, "flows are served").await;
    let admin = address(&child, "served to administrators").await;

    let problems = run.run(flows).await;
    // Secrets where no secret belongs: the new configuration is refused and the old one stays.
    let wrong = own.replace("client_secret: ", "client_secert: ");
    let wrong = wrong.replace("password: ", "passwort: ");
    run.stage.config_file(&format!("{logs}{wrong}"));
    child.signal("HUP");
    let refused = |line: &str| line.contains("the configuration was not reloaded");
    child.stderr.line("a refused reload", refused).await;
    let metrics = whole_answer(&gateway::get(admin, "/metrics").await);
    let health = whole_answer(&gateway::get(admin, "/readyz?verbose").await);
    child.signal("TERM");
    let ended = child.exited().await;

    run.watch_assertions();
    run.claim_in_play();
    let canaries = &run.canaries;
    canaries.assert_absent("a problem", &problems);
    canaries.assert_absent("/metrics", &metrics);
    canaries.assert_absent("/readyz?verbose", &health);
    canaries.assert_absent("standard output", &ended.stdout);
    canaries.assert_absent("the log", &ended.stderr);
    assert!(health.contains("failed"), "{health}");
    assert!(metrics.contains("attache_token_requests_total"));
    for told in [
        "no token could be obtained",
        "obtained a token",
        "request answered",
        "request refused",
        "client_secert",
        "RFC 9700",
    ] {
        assert!(ended.stderr.contains(told), "{told} is not in the log");
    }
    let accesses = ended
        .stderr
        .lines()
        .filter(|it| it.contains("request_id"))
        .count();
    assert!(accesses >= 2 * run.connectors.len(), "{accesses} lines");
}

#[tokio::test]
async fn no_secret_of_a_whole_run_shows_where_lines_are_text() {
    // protocol.md rows 54, 55, 59; RFC 9700 §4.
    a_whole_run("text").await;
}

#[tokio::test]
async fn no_secret_of_a_whole_run_shows_where_lines_are_json() {
    a_whole_run("json").await;
}

#[tokio::test]
async fn no_secret_shows_in_debug_output() {
    let mut run = WholeRun::new().await;
    let config = run.stage.config(&run.own()).unwrap();
    let wrong = run.own().replace("client_secret: ", "client_secert: ");
    let error = run.stage.config(&wrong).unwrap_err();
    let gateway = Running::start(&run.stage, &run.own()).await;

    run.run(gateway.flows()).await;
    let shown = gateway.shown();
    let reloading = gateway.reload(run.stage.config(&wrong)).unwrap_err();

    run.watch_assertions();
    run.claim_in_play();
    for (place, text) in [
        ("a configuration", format!("{config:?}\n{config:#?}")),
        (
            "a configuration's error",
            format!("{error}\n{error:?}\n{error:#?}"),
        ),
        ("a reload's error", format!("{reloading}\n{reloading:?}")),
        ("the gateway", shown),
    ] {
        assert!(
            text.contains("connector") || text.contains("onnector"),
            "{place}: {text}"
        );
        run.canaries.assert_absent(place, &text);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn no_secret_shows_in_what_check_says() {
    let mut run = WholeRun::new().await;
    let file = run.stage.config_file(&run.own());
    let arguments = ["check", "--config", file.to_str().unwrap(), "--connect"];

    let ended = Child::attache(&arguments).exited().await;

    run.watch_assertions();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stdout.contains("echo: token: failed: "), "{ended:?}");
    run.canaries.assert_absent("standard output", &ended.stdout);
    run.canaries.assert_absent("standard error", &ended.stderr);
}
