//! The access log: which requests get a line, what a line tells, and what it keeps to itself.

use attache::clock::Clock;
use attache::config::{AccessLog, LogFormat, Logs};
use attache::gateway::Environment;
use attache::logging::Logging;
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::origin::{Origin, Setup, whole};
use crate::support::stage::Stage;
use crate::support::tape::Tape;
use crate::support::wire::Wire;

/// A gateway whose access log is kept.
struct Logged {
    gateway: Running,
    logging: Logging,
    tape: Tape,
}

impl Logged {
    async fn start(stage: &Stage, own: &str, format: LogFormat) -> Self {
        let logs = Logs {
            format,
            level: tracing::Level::INFO,
            // What is written is decided by the configuration, request by request.
            access: AccessLog::All,
        };
        let tape = Tape::default();
        let (logging, _) = Logging::new(&logs, Clock::system(), tape.clone()).unwrap();
        let environment = Environment {
            access_log: logging.access_log(),
            ..Environment::system()
        };
        let gateway = Running::start_in(stage, own, environment).await;
        Self {
            gateway,
            logging,
            tape,
        }
    }

    /// Every line, once the gateway has ended.
    async fn lines(self) -> Vec<String> {
        self.gateway.drain().await;
        drop(self.logging);
        self.tape.lines()
    }

    /// Every line as JSON, which each of them must be.
    async fn records(self) -> Vec<Value> {
        let lines = self.lines().await;
        let read = lines.iter().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        read.collect()
    }
}

fn configured(access: &str, origin: &Origin) -> String {
    let url = origin.url("/");
    format!(
        "logs: {{ access: {access} }}\nconnectors:\n  - {{ id: orders, name: Orders, \
         resource_domain: \"{url}\", auth: none }}\n"
    )
}

/// An origin that answers with the status its path names.
async fn of_statuses(stage: &Stage) -> Origin {
    let answer = whole(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        let status = path.trim_start_matches('/').parse().unwrap_or(200);
        Answer::status(status).body("12345")
    });
    Origin::start(Setup::new(&stage.server()), answer).await
}

#[tokio::test]
async fn all_is_a_line_for_every_request_with_what_an_operator_needs() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let logged = Logged::start(&stage, &configured("all", &origin), LogFormat::Json).await;
    let mut client = Client::http1(logged.gateway.flows()).await;
    let id = [("x-request-id", "r-1")];
    client
        .call("POST", "/orders/201?phone=%2B4912345", &id, "body")
        .await;
    let refused = client.get("/unknown/x?phone=%2B4912345").await;
    let mut over_http2 = Client::http2(logged.gateway.flows()).await;
    over_http2.get("/orders/500").await;

    let records = logged.records().await;

    assert_eq!(records.len(), 3, "{records:#?}");
    let one = &records[0];
    for (name, value) in [
        ("request_id", Value::from("r-1")),
        ("connector", "orders".into()),
        ("method", "POST".into()),
        ("path", "/orders/201".into()),
        ("status", 201.into()),
        ("request_bytes", 4.into()),
        ("response_bytes", 5.into()),
        ("protocol", "HTTP/1.1".into()),
        ("target", "access".into()),
        ("level", "INFO".into()),
    ] {
        assert_eq!(one[name], value, "{name} of {one:#?}");
    }
    assert!(one["duration_ms"].is_number() && one["upstream_ms"].is_number());
    assert!(one["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(one["timestamp"].as_str().unwrap().ends_with('Z'));

    let two = &records[1];
    assert_eq!(two["connector"], "none");
    assert_eq!(
        (&two["status"], &two["reason"]),
        (&404.into(), &"no-such-connector".into())
    );
    assert_eq!(two["request_id"], refused.json()["request_id"]);
    assert!(two["cause"].is_string() && two["upstream_ms"].is_null());
    assert_eq!(records[2]["protocol"], "HTTP/2");
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("4912345"), "{text}");
}

#[tokio::test]
async fn errors_is_a_line_for_refusals_and_for_what_the_origin_failed_at() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let logged = Logged::start(&stage, &configured("errors", &origin), LogFormat::Json).await;
    for target in [
        "/orders/200",
        "/orders/404",
        "/orders/503",
        "/unknown",
        "/orders/%2e%2e",
    ] {
        logged.gateway.get(target).await;
    }

    let records = logged.records().await;

    let statuses: Vec<_> = records
        .iter()
        .map(|record| record["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [503, 404, 400], "{records:#?}");
    assert!(records[0]["reason"].is_null());
    assert_eq!(records[2]["reason"], "bad-path");
}

#[tokio::test]
async fn off_is_no_line_at_all_until_a_reload_says_otherwise() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let logged = Logged::start(&stage, &configured("off", &origin), LogFormat::Text).await;
    let mut wire = Wire::plain(logged.gateway.flows()).await;
    wire.write("GET / HTTP/1.1\r\nno field\r\n\r\n").await;
    wire.rest().await;
    for target in ["/orders/200", "/orders/503", "/unknown", "/orders/%2e%2e"] {
        logged.gateway.get(target).await;
    }

    let next = stage.config(&configured("all", &origin));
    logged.gateway.reload(next).unwrap();
    logged.gateway.get("/orders/200").await;

    let lines = logged.lines().await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains(" path=/orders/200 status=200 "),
        "{lines:#?}"
    );
}

/// protocol.md, row 50 and point 16.
#[tokio::test]
async fn hostile_requests_are_one_line_each_and_valid_json() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let logged = Logged::start(&stage, &configured("all", &origin), LogFormat::Json).await;
    let targets: [&[u8]; 10] = [
        b"/orders/%0a%7b%22level%22:%22ERROR%22%7d",
        b"/orders/%1b[2J%1b[31m",
        b"/orders/\"},{\"level\":\"ERROR",
        b"/orders/\x1b[2J",
        b"/orders/\xe2\x80\xae\xc2\x9b",
        b"/orders/\xff\xfe",
        b"/orders/\\",
        b"/orders/a\tb",
        b"/orders/\x00",
        b"/\",\"connector\":\"admin/x",
    ];
    let fields: [&[u8]; 4] = [
        b"x-request-id: a\"b\x1b[2J",
        b"x-request-id: {\"a\":1}",
        b"user-agent: \x1b[2J\"\xff",
        b"bad name: x",
    ];
    let lines =
        targets.map(|target| [b"GET ", target, b" HTTP/1.1\r\nhost: localhost\r\n\r\n"].concat());
    let heads = fields.map(|field| {
        [
            b"GET /orders/200 HTTP/1.1\r\nhost: localhost\r\n",
            field,
            b"\r\n\r\n",
        ]
        .concat()
    });
    for request in lines.iter().chain(&heads) {
        let mut wire = Wire::plain(logged.gateway.flows()).await;
        wire.write(request).await;
        assert!(wire.answer().await.status() >= 200);
    }

    let records = logged.records().await;

    assert_eq!(records.len(), lines.len() + heads.len(), "{records:#?}");
    for record in &records {
        assert_eq!(record["level"], "INFO");
        assert!(["orders", "none"].contains(&record["connector"].as_str().unwrap()));
        let id = record["request_id"].as_str().unwrap();
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "{id}"
        );
    }
}

#[tokio::test]
async fn text_lines_hold_no_control_character_whatever_was_sent() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let logged = Logged::start(&stage, &configured("all", &origin), LogFormat::Text).await;
    for target in [
        "/orders/\u{9b}2J",
        "/orders/\u{202e}",
        "/orders/\u{85}",
        "/orders/%0d%0a",
    ] {
        let mut wire = Wire::plain(logged.gateway.flows()).await;
        wire.write(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
        wire.answer().await;
    }

    let lines = logged.lines().await;

    assert_eq!(lines.len(), 4, "{lines:#?}");
    let hostile = |c: char| c.is_control() || c == '\u{202e}';
    assert!(
        lines.iter().all(|line| !line.contains(hostile)),
        "{lines:#?}"
    );
}

/// protocol.md row 50: what an authorization server writes is text from outside, too.
#[tokio::test]
async fn what_a_token_endpoint_says_cannot_write_lines_of_its_own() {
    let stage = Stage::new();
    let origin = of_statuses(&stage).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.answer_with(|_, _| {
        let hostile = "\n{\"level\":\"ERROR\"}\u{1b}[2J\"\u{202e}";
        let error = serde_json::json!({ "error": hostile, "error_description": hostile });
        Answer::json(&error).with_status(400)
    });
    let (url, token_url) = (origin.url("/"), authority.token_url());
    let own = format!(
        "logs: {{ access: errors }}\nconnectors:\n  - {{ id: crm, name: CRM, resource_domain: \
         \"{url}\", auth: {{ oauth2: {{ grant: client_credentials, token_url: \"{token_url}\", \
         client_id: a, client_secret: b, client_authentication: client_secret_post }} }} }}\n"
    );
    let logged = Logged::start(&stage, &own, LogFormat::Json).await;

    let refused = logged.gateway.get("/crm/x").await;

    assert_eq!(refused.status, 503);
    let tape = logged.tape.clone();
    let records = logged.records().await;
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["reason"], "no-credential");
    assert!(!tape.text().trim_end().contains(char::is_control));
}

#[tokio::test]
async fn a_flow_that_hangs_up_before_its_answer_has_a_line() {
    let stage = Stage::new();
    let never = crate::support::origin::scripted(|_| std::future::pending());
    let origin = Origin::start(Setup::new(&stage.server()), never).await;
    let logged = Logged::start(&stage, &configured("all", &origin), LogFormat::Json).await;
    let mut client = Client::http2(logged.gateway.flows()).await;
    {
        let sending = client.send("GET", "/orders/x", &[], "");
        let arrived = origin.until(|tally| tally.heads == 1);
        tokio::select! {
            _ = sending => panic!("it was answered"),
            _ = arrived => {}
        }
    }
    drop(client);

    let records = logged.records().await;

    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["status"], 499);
    assert!(records[0]["upstream_ms"].is_null());
}

#[tokio::test]
async fn an_answer_that_grew_too_large_says_so_although_its_status_is_good() {
    let stage = Stage::new();
    let handler = whole(|_| {
        let (pen, answer) = Answer::streamed();
        tokio::spawn(async move { pen.write(vec![7; 2000]).await });
        answer
    });
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    let own = configured("errors", &origin)
        .replace("auth: none", "auth: none, response_body_bytes_max: 1000");
    let logged = Logged::start(&stage, &own, LogFormat::Json).await;
    let mut client = Client::http1(logged.gateway.flows()).await;

    // Whether the head got out before it broke off is a matter of chance.
    if let Ok(answer) = client.send("GET", "/orders/x", &[], "").await {
        assert!(Answered::read(answer).await.is_err());
    }

    let records = logged.records().await;
    assert_eq!(records.len(), 1, "{records:#?}");
    assert_eq!(records[0]["status"], 200);
    let cause = records[0]["cause"].as_str().unwrap();
    assert!(cause.contains("response_body_bytes_max"), "{cause}");
}
