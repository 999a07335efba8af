//! `attache demo`, in process: its four requests come back, and only through the gateway.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use attache::cli::demo::Demo;
use serde_json::Value;

use crate::support::client::{Answered, Client};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Starting and stopping block, so neither is done on the test's own runtime.
async fn started() -> Demo {
    tokio::task::spawn_blocking(|| Demo::start(ANY, ANY).unwrap())
        .await
        .unwrap()
}

async fn stopped(demo: Demo) {
    tokio::task::spawn_blocking(|| demo.stop()).await.unwrap();
}

/// What a printed line asks for.
struct Command {
    method: &'static str,
    target: String,
    body: &'static str,
}

/// The commands among the printed lines.
fn commands(demo: &Demo) -> Vec<Command> {
    let base = format!("http://{}", demo.flow_address());
    demo.lines()
        .iter()
        .filter(|line| line.starts_with("curl "))
        .map(|line| {
            let url = line
                .split('\'')
                .find(|part| part.starts_with(&base))
                .unwrap();
            let patches = line.contains("-X PATCH");
            Command {
                method: if patches { "PATCH" } else { "GET" },
                target: url[base.len()..].to_owned(),
                body: if patches {
                    r#"{"Comments":"Called back"}"#
                } else {
                    ""
                },
            }
        })
        .collect()
}

async fn asked(client: &mut Client, command: &Command) -> Answered {
    let fields = [("content-type", "application/json")];
    client
        .call(
            command.method,
            &command.target,
            &fields,
            command.body.as_bytes().to_vec(),
        )
        .await
}

fn json(answered: &Answered) -> Value {
    serde_json::from_slice(&answered.body).unwrap()
}

#[test]
fn an_address_that_others_reach_is_refused() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    for (listen, admin, option) in [
        (everywhere, ANY, "--listen"),
        (ANY, everywhere, "--admin-listen"),
    ] {
        let refused = Demo::start(listen, admin).map(drop).unwrap_err();

        assert!(refused.to_string().contains(option), "{refused:#}");
    }
}

#[test]
fn a_port_in_use_is_one_sentence_that_says_what_to_do() {
    let taken = TcpListener::bind(ANY).unwrap();

    let refused = Demo::start(taken.local_addr().unwrap(), ANY)
        .map(drop)
        .unwrap_err();

    let sentence = format!("{refused:#}");
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(sentence.contains(&port), "{sentence}");
    assert!(sentence.contains("--listen"), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

#[tokio::test]
async fn a_no_of_the_gateway_and_one_of_the_resource_domain_can_be_told_apart() {
    let demo = started().await;
    let mut client = Client::http1(demo.flow_address()).await;

    let unknown = client.get("/demo-nobody/echo").await;
    let own = client.get("/demo-basic/services/data/v52.0/nothing").await;

    assert_eq!(unknown.status, 404);
    assert_eq!(
        json(&unknown)["type"],
        "urn:attache:problem:no-such-connector"
    );
    // The resource domain's own 404 keeps its own body.
    assert_eq!(own.status, 404);
    assert_eq!(json(&own)[0]["errorCode"], "NOT_FOUND");
    stopped(demo).await;
}

#[tokio::test]
async fn each_of_the_four_printed_requests_is_answered() {
    let demo = started().await;
    let mut client = Client::http1(demo.flow_address()).await;
    let commands = commands(&demo);

    let mut answers = Vec::new();
    for command in &commands {
        answers.push(asked(&mut client, command).await);
    }

    let statuses: Vec<_> = answers.iter().map(|one| one.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 204]);
    let first = |at: usize, field: &str| json(&answers[at])["records"][0][field].clone();
    assert_eq!(first(0, "Name"), "Northwind Traders");
    assert_eq!(first(1, "Name"), "Ada Example");
    assert_eq!(first(2, "CaseNumber"), "00001026");
    stopped(demo).await;
}

#[tokio::test]
async fn a_token_is_fetched_once_for_any_number_of_requests() {
    let demo = started().await;
    let mut client = Client::http1(demo.flow_address()).await;
    let commands = commands(&demo);

    for command in commands.iter().cycle().take(3 * commands.len()) {
        let answer = asked(&mut client, command).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    // Three connectors with a token; Basic needs none.
    assert_eq!(demo.token_requests(), 3);
    stopped(demo).await;
}

#[tokio::test]
async fn what_the_flow_sent_as_a_credential_never_arrives() {
    let demo = started().await;
    let mut client = Client::http1(demo.flow_address()).await;

    let answer = client
        .call(
            "GET",
            "/demo-certificate/echo?a=%27b%27",
            &[("authorization", "Digest forged"), ("x-colour", "blue")],
            Vec::new(),
        )
        .await;

    let echo = json(&answer);
    assert_eq!(echo["target"], "/certificate/echo?a=%27b%27");
    assert_eq!(echo["client_certificate"], true);
    let values = |name: &str| -> Vec<_> {
        let fields = echo["fields"].as_array().unwrap().iter();
        fields
            .filter(|field| field[0] == name)
            .map(|field| field[1].clone())
            .collect()
    };
    assert_eq!(values("authorization"), ["Bearer (not shown)"]);
    assert_eq!(values("x-colour"), ["blue"]);
    stopped(demo).await;
}
