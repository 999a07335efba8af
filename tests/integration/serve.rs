//! `attache serve` as an operator meets it: exit codes, sentences, signals and files.

use std::net::{SocketAddr, TcpListener};

use crate::support::child::Child;
use crate::support::gateway::{get, process};
use crate::support::stage::Stage;

/// A connector that nobody calls.
const ORDERS: &str = "connectors:
  - id: orders
    name: Orders
    resource_domain: https://orders.example
    auth: { basic: { username: svc, password: { file: password } } }
";

/// A stage with the files that [`ORDERS`] names.
fn stage() -> Stage {
    let stage = Stage::new();
    stage.write("password", "c4nary-s3cret");
    stage
}

/// Where this process serves `whom`, once it says so.
async fn address(child: &Child, whom: &str) -> SocketAddr {
    let line = child.stderr.line(whom, |line| line.contains(whom)).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

/// The address of the admin listener, once the gateway is ready.
async fn admin(child: &Child) -> SocketAddr {
    address(child, "served to administrators").await
}

async fn last_reload(admin: SocketAddr) -> serde_json::Value {
    let answered = get(admin, "/readyz?verbose").await;
    let body: serde_json::Value = serde_json::from_str(&answered.text()).unwrap();
    body["last_reload"].clone()
}

#[tokio::test]
async fn a_bad_configuration_answers_2_names_the_place_and_shows_no_secret() {
    let stage = stage();
    let config = stage.config_file(&ORDERS.replace("auth:", "auht:"));

    let ended = process(&config).exited().await;

    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("attache.yaml:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("auht"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("c4nary"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_port_in_use_is_one_sentence_and_answers_1() {
    let stage = stage();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = stage.config_file(&format!("listen: {address}\n{ORDERS}"));

    let ended = process(&config).exited().await;

    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    let sentence = format!("attache: cannot listen on {address} (listen): ");
    assert!(ended.stderr.starts_with(&sentence), "{}", ended.stderr);
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_so_in_the_log_and_to_administrators() {
    // protocol.md, point 17.
    let stage = stage();
    let child = process(&stage.config_file(ORDERS));
    let admin = admin(&child).await;

    stage.config_file(&format!("{ORDERS}bogus: 1\n"));
    let refused = |line: &str| line.contains("the configuration was not reloaded");
    let line = child.stderr.line("a refused reload", refused).await;

    assert!(line.contains("bogus"), "{line}");
    let reload = last_reload(admin).await;
    assert_eq!(reload["outcome"], "failed");
    assert!(reload["error"].as_str().unwrap().contains("bogus"));
    assert_eq!(get(admin, "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_the_drain() {
    let stage = stage();
    let config = stage.config_file(&format!("timeouts: {{ drain_delay: 1m }}\n{ORDERS}"));
    let child = process(&config);
    let admin = admin(&child).await;

    child.signal("TERM");
    while get(admin, "/readyz").await.status != 503 {}
    child.signal("INT");

    assert_eq!(child.exited().await.status.code(), Some(1));
}

#[tokio::test]
async fn sigterm_and_sigint_end_it_well() {
    for signal in ["TERM", "INT"] {
        let stage = stage();
        let child = process(&stage.config_file(ORDERS));
        admin(&child).await;

        child.signal(signal);

        assert_eq!(child.exited().await.status.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn sighup_reads_the_configuration_again() {
    let stage = stage();
    let child = process(&stage.config_file(ORDERS));
    let admin = admin(&child).await;
    assert!(last_reload(admin).await.is_null());

    child.signal("HUP");
    let reloaded = |line: &str| line.contains("the configuration was reloaded");
    child.stderr.line("a reload", reloaded).await;

    assert_eq!(last_reload(admin).await["outcome"], "ok");
}

#[tokio::test]
async fn a_secret_that_is_replaced_and_a_format_that_is_changed_take_effect() {
    let stage = stage();
    let own = |format| format!("logs: {{ format: {format} }}\n{ORDERS}");
    let child = process(&stage.config_file(&own("text")));
    admin(&child).await;
    let reloaded = |line: &str| line.contains("the configuration was reloaded");

    stage.write("password.new", "another");
    std::fs::rename(
        stage.directory().join("password.new"),
        stage.directory().join("password"),
    )
    .unwrap();
    assert_eq!(child.stderr.until(1, reloaded).await, 1);

    stage.config_file(&own("json"));
    assert_eq!(child.stderr.until(2, reloaded).await, 2);
    child.signal("HUP");
    assert_eq!(child.stderr.until(3, reloaded).await, 3);

    let text = child.stderr.text();
    let last = text.lines().rfind(|line| reloaded(line)).unwrap();
    assert!(last.starts_with('{'), "{text}");
}
