//! What probes, scrapers and strangers get, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;
use crate::clock::{Clock, Turned};
use crate::config::{Hosts, ServerTls};
use crate::connector::{ClientCertificate, Http2};
use crate::secret::Secret;
use crate::tls::client::{ClientTls, TrustAnchors};
use crate::tls::server::{Protocols, Renewable, ServerIdentity};

struct Stage {
    address: SocketAddr,
    health: Arc<Health>,
    shutdown: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Stage {
    fn new(hosts: HostRule) -> Self {
        Self::with(Door {
            tls: None,
            hosts,
            front: None,
        })
    }

    fn admin() -> Self {
        Self::new(HostRule::Ours(Hosts::Listed(Vec::new())))
    }

    fn with(door: Door) -> Self {
        Self::telling(
            door,
            vec![
                report("crm", TokenState::Fresh, Some(SystemTime::UNIX_EPOCH)),
                report("orders", TokenState::Absent, None),
            ],
        )
    }

    fn telling(door: Door, tokens: Vec<TokenReport>) -> Self {
        let clock = Clock::turned(&Turned::starting_at(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        ));
        let health = Health::new(clock, 2);
        health.started();
        let control = Control {
            health: Arc::clone(&health),
            metrics: Metrics::new(1, 10),
            tokens: Box::new(move || tokens.clone()),
            bulkheads: Box::new(Vec::new),
            api: api::Api::without_store(),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, told) = oneshot::channel();
        let served = tokio::spawn(serve(listener, door, Arc::new(control), async {
            let _told = told.await;
        }));
        Self {
            address,
            health,
            shutdown,
            served,
        }
    }

    /// The whole of what `request` is answered with.
    async fn say(&self, request: &str) -> Answer {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        converse(tcp, request).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.say(&request).await
    }
}

fn report(connector: &str, state: TokenState, expires_at: Option<SystemTime>) -> TokenReport {
    TokenReport {
        connector: connector.into(),
        state,
        expires_at,
        failing: None,
    }
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn has(&self, field: &str) -> bool {
        self.head
            .lines()
            .any(|line| line.eq_ignore_ascii_case(field))
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that refused amid a request may reset; what it said before counts.
    let _read = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        head: head.into(),
        body: body.into(),
    }
}

#[tokio::test]
async fn a_foreign_host_gets_a_problem_and_nothing_else() {
    let stage = Stage::admin();
    for (path, host) in [
        ("/metrics", "Host: attacker.example\r\n"),
        ("/readyz?verbose", "Host: attacker.example\r\n"),
        ("/livez", ""),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        let answer = stage.say(&request).await;

        assert_eq!(answer.status(), "400");
        assert!(answer.has("content-type: application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:attache:problem:bad-host");
        assert_eq!(problem["status"], 400);
        assert_eq!(problem["title"], "Bad Request");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(
            problem["request_id"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_the_callers_request_id() {
    let stage = Stage::admin();
    for path in [
        "/",
        "/metrics/",
        "/Metrics",
        "/%6detrics",
        "/livez/../metrics",
    ] {
        let answer = stage
            .say(&format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r-7\r\n\
                 Connection: close\r\n\r\n"
            ))
            .await;

        assert_eq!(answer.status(), "404", "{path}");
        assert_eq!(answer.json()["type"], "urn:attache:problem:not-found");
        assert_eq!(answer.json()["request_id"], "r-7");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let stage = Stage::admin();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = stage
            .say(&format!(
                "{method} /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            ))
            .await;

        assert_eq!(answer.status(), "405", "{method}");
        // RFC 9110 §15.5.6
        assert!(answer.has("allow: GET, HEAD"), "{}", answer.head);
        assert_eq!(answer.json()["type"], "urn:attache:problem:method");
    }
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_refused() {
    let stage = Stage::admin();
    let start = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    // Not a byte more than is read: what is left unread would reset the connection.
    let long = format!("{start}X-Long: {}", "a".repeat(16 * 1024))[..16 * 1024].to_owned();
    let fields: String = (0..100).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = format!("{start}{fields}\r\n");
    for request in [long, many] {
        assert_eq!(stage.say(&request).await.status(), "431");
    }
}

#[tokio::test]
async fn a_gateway_that_is_not_ready_says_why() {
    let stage = Stage::admin();
    assert_eq!(stage.get("/readyz").await.status(), "200");

    stage.health.draining();

    let answer = stage.get("/readyz").await;
    assert_eq!(answer.status(), "503");
    assert_eq!(answer.body, "not ready: draining\n");
    assert_eq!(stage.get("/readyz?verbose").await.status(), "503");
    assert_eq!(stage.get("/livez").await.status(), "200");

    stage.health.worker_died();
    assert_eq!(stage.get("/livez").await.status(), "503");
}

#[tokio::test]
async fn the_verbose_answer_tells_the_state_of_everything() {
    let stage = Stage::admin();
    stage.health.published(3);
    stage
        .health
        .reloaded(Err("attache.yaml:7:3: unknown key".into()));

    let answer = stage.get("/readyz?verbose").await;

    assert!(answer.has("content-type: application/json"));
    let expected = serde_json::json!({
        "ready": true,
        "draining": false,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": 0,
        "workers": 2,
        "workers_alive": 2,
        "connectors": 3,
        "last_reload": {
            "outcome": "failed",
            "at": "2027-01-15T08:00:00.000Z",
            "error": "attache.yaml:7:3: unknown key",
        },
        "tokens": [
            { "connector": "crm", "state": "fresh", "expires_at": "1970-01-01T00:00:00.000Z" },
            { "connector": "orders", "state": "absent", "expires_at": null },
        ],
        "tokens_omitted": 0,
        "bulkheads": [],
        "bulkheads_omitted": 0,
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn the_verbose_answer_lists_so_many_tokens_and_counts_the_others() {
    let tokens = (0..1_003)
        .map(|n| report(&format!("c{n:04}"), TokenState::Absent, None))
        .collect();
    let hosts = HostRule::Ours(Hosts::Listed(Vec::new()));
    let stage = Stage::telling(
        Door {
            tls: None,
            hosts,
            front: None,
        },
        tokens,
    );

    let answer = stage.get("/readyz?verbose").await.json();

    assert_eq!(answer["tokens"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(answer["tokens"][999]["connector"], "c0999");
    assert_eq!(answer["tokens_omitted"], 3);
}

#[tokio::test]
async fn the_metrics_listener_answers_to_any_name_but_tells_no_configuration() {
    let stage = Stage::new(HostRule::Free);
    stage
        .health
        .reloaded(Err("attache.yaml:7:3: unknown key".into()));
    for path in ["/metrics", "/livez", "/readyz", "/readyz?verbose"] {
        let answer = stage
            .say(&format!(
                "GET {path} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n"
            ))
            .await;

        assert_eq!(answer.status(), "200", "{path}");
        assert!(!answer.body.contains("unknown key"), "{path}");
    }
    assert_eq!(
        stage.say("GET /livez HTTP/1.0\r\n\r\n").await.status(),
        "200"
    );
}

#[tokio::test]
async fn metrics_come_as_prometheus_reads_them_and_head_without_a_body() {
    let stage = Stage::admin();

    let answer = stage.get("/metrics").await;
    assert!(answer.has("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(answer.has("cache-control: no-store"));
    assert!(answer.body.contains("attache_build_info{version="));

    let answer = stage
        .say("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!((answer.status(), answer.body.as_str()), ("200", ""));
}

#[tokio::test]
async fn a_shutdown_lets_an_answer_end_and_closes_idle_connections() {
    let stage = Stage::admin();
    let mut idle = TcpStream::connect(stage.address).await.unwrap();
    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request.as_bytes()).await.unwrap();
    idle.readable().await.unwrap();

    stage.shutdown.send(()).unwrap();

    stage.served.await.unwrap().unwrap();
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("alive\n"), "{rest}");
}

#[tokio::test]
async fn over_tls_health_is_told_to_those_who_trust_the_certificate() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = ServerTls {
        certificate_pem: made.cert.pem(),
        private_key_pem: Secret::new(made.signing_key.serialize_pem()),
        client_ca_pem: None,
        client_crl_pem: None,
    };
    let stage = Stage::with(Door {
        tls: Some(Renewable::new(
            ServerIdentity::new(&tls, Protocols::Http11).unwrap(),
        )),
        hosts: HostRule::Ours(Hosts::Listed(Vec::new())),
        front: None,
    });
    let anchors = TrustAnchors::system_and([tls.certificate_pem.as_str()]).unwrap();
    let client = ClientTls::new(&anchors, None, Http2::Off).unwrap();
    let tcp = TcpStream::connect(stage.address).await.unwrap();
    let stream = TlsConnector::from(client.config())
        .connect("localhost".try_into().unwrap(), tcp)
        .await
        .unwrap();

    let request = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(converse(stream, request).await.body, "alive\n");

    let mut plain = TcpStream::connect(stage.address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _read = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"));
}

#[tokio::test]
async fn a_door_that_asks_for_certificates_tells_nothing_to_those_who_show_none() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = ServerTls {
        certificate_pem: certificate_pem.clone(),
        private_key_pem: Secret::new(key_pem.clone()),
        client_ca_pem: Some(certificate_pem.clone()),
        client_crl_pem: None,
    };
    let stage = Stage::with(Door {
        tls: Some(Renewable::new(
            ServerIdentity::new(&tls, Protocols::Http11).unwrap(),
        )),
        hosts: HostRule::Ours(Hosts::Listed(Vec::new())),
        front: None,
    });
    let anchors = TrustAnchors::system_and([certificate_pem.as_str()]).unwrap();
    let own = ClientCertificate {
        certificate_pem,
        private_key_pem: Secret::new(key_pem),
    };
    let ask = async |path: &str, shown: Option<&ClientCertificate>| {
        let client = ClientTls::new(&anchors, shown, Http2::Off).unwrap();
        let tcp = TcpStream::connect(stage.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let connector = TlsConnector::from(client.config());
        let stream = connector.connect(name, tcp).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        converse(stream, &request).await
    };
    for path in ["/metrics", "/readyz?verbose", "/livez", "/nothing"] {
        let refused = ask(path, None).await;

        assert_eq!(refused.status(), "401", "{path}");
        // RFC 9110 §15.5.2
        assert!(
            refused.has("www-authenticate: Client-Certificate"),
            "{path}"
        );
        let reason = "urn:attache:problem:caller-unknown";
        assert_eq!(refused.json()["type"], reason);
    }

    assert_eq!(ask("/livez", Some(&own)).await.body, "alive\n");
}

#[tokio::test]
async fn without_a_store_the_api_says_how_to_get_one() {
    let stage = Stage::admin();

    for path in ["/api", "/api/v1/connectors", "/api/v1/whoami", "/api/v2"] {
        let answer = stage.get(path).await;

        assert_eq!(answer.status(), "404", "{path}");
        assert!(answer.has("content-type: application/problem+json"));
        assert!(answer.has("cache-control: no-store"));
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:attache:problem:no-store");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("`store`") && detail.contains("master_keys"));
    }
}

#[tokio::test]
async fn the_description_of_the_api_is_there_without_a_store_and_without_a_token() {
    let stage = Stage::admin();

    let answer = stage.get("/openapi.json").await;

    assert_eq!(answer.status(), "200");
    let version = answer.json()["openapi"].as_str().unwrap().to_owned();
    assert!(version.starts_with("3.1"), "{version}");
    let request = "POST /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let refused = stage.say(request).await;
    assert_eq!(refused.status(), "405");
    assert!(refused.has("allow: GET, HEAD"));
}

#[tokio::test]
async fn the_metrics_listener_has_no_api() {
    let stage = Stage::new(HostRule::Free);

    for path in ["/api/v1/connectors", "/openapi.json"] {
        let answer = stage.get(path).await;

        assert_eq!(answer.status(), "404");
        assert_eq!(answer.json()["type"], "urn:attache:problem:not-found");
    }
}

#[tokio::test]
async fn the_host_rule_comes_before_the_api() {
    let stage = Stage::admin();

    let request =
        "GET /openapi.json HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n";
    let answer = stage.say(request).await;

    assert_eq!(answer.status(), "400");
    assert_eq!(answer.json()["type"], "urn:attache:problem:bad-host");
}
