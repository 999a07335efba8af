//! What the gateway itself answers: every row of its table, provoked from outside.

use attache::proxy::error::TABLE;
use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, rejection};
use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::{self, Origin, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

/// The connector that the problem has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Orders,
    None,
}

/// What exact bytes are answered with.
async fn raw(address: std::net::SocketAddr, bytes: &str) -> Answered {
    let mut wire = Wire::plain(address).await;
    wire.write(bytes).await;
    wire.answer().await.into()
}

/// An answer, and how often the gateway counts to have refused for its reason.
pub(crate) struct Provoked {
    pub(crate) answered: Answered,
    counted: f64,
}

/// Takes down what a gateway counts of a refusal, which it does when the answer is out.
async fn provoked(gateway: &Running, answered: Answered) -> Provoked {
    let reason = answered.reason();
    let labels = [("reason", &*reason)];
    let counting = async {
        loop {
            let counted = gateway.sample("attache_refused_total", &labels).await;
            if counted > 0.0 {
                return counted;
            }
        }
    };
    Provoked {
        counted: within("a refusal to be counted", counting).await,
        answered,
    }
}

/// What a plain scene answers to exact bytes.
async fn by_bytes(settings: &'static str, bytes: &str) -> Provoked {
    let scene = Scene::start(Plan {
        settings,
        ..Plan::new()
    })
    .await;
    let answered = raw(scene.gateway.flows(), bytes).await;
    assert_eq!(scene.origin.tally().heads, 0);
    provoked(&scene.gateway, answered).await
}

/// What `orders` with these lines answers to a GET.
async fn by_connector(connector: &'static [&'static str]) -> Provoked {
    let scene = Scene::start(Plan {
        connector,
        ..Plan::answering(origin::scripted(|_| std::future::pending::<Answer>()))
    })
    .await;
    let answered = scene.gateway.get("/orders/x").await;
    provoked(&scene.gateway, answered).await
}

/// What `orders` with this resource domain answers to a GET.
async fn by_domain(stage: &Stage, resource_domain: &str, own: &str) -> Provoked {
    let yaml = orders(resource_domain, &[]) + own;
    let gateway = Running::start(stage, &yaml).await;
    let answered = gateway.get("/orders/x").await;
    let provoked = provoked(&gateway, answered).await;
    gateway.drain().await;
    provoked
}

async fn caller_unknown() -> Provoked {
    let scene = Scene::start_with(
        Plan {
            settings: "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key }, \
                       client_ca: { file: ca.pem } }\n",
            ..Plan::new()
        },
        |stage| {
            stage.server().write(stage.directory(), "gw");
        },
    )
    .await;
    let config = tls::client(&scene.stage.ca, None, Protocols::Both);
    let answered = Client::tls(scene.gateway.flows(), config)
        .await
        .get("/orders/x")
        .await;
    assert!(answered.field("www-authenticate").is_some());
    provoked(&scene.gateway, answered).await
}

async fn client_timeout() -> Provoked {
    let scene = Scene::start(Plan {
        settings: "timeouts: { body: 100ms, drain_delay: 0s }\n",
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let (_pen, body) = Outgoing::streamed();
    let answered = client.call("POST", "/orders/x", &[], body).await;
    provoked(&scene.gateway, answered).await
}

async fn origin_unreachable() -> Provoked {
    let stage = Stage::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", gone.local_addr().unwrap().port());
    drop(gone);
    by_domain(&stage, &url, "").await
}

async fn origin_tls() -> Provoked {
    let stage = Stage::new();
    let untrusted = crate::support::pki::Ca::new("untrusted");
    let origin = Origin::plain(&untrusted.server(&[])).await;
    by_domain(&stage, &origin.url(""), "").await
}

/// What a GET is answered with where the origin writes `bytes`, and hangs up.
pub(crate) async fn by_origin_bytes(bytes: &str) -> Provoked {
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let answering = async {
        let mut origin = raw.accept().await;
        origin.message(Kind::Request).await.unwrap();
        origin.write(bytes).await;
        origin.half_close().await;
    };
    let (answered, ()) = tokio::join!(gateway.get("/orders/x"), answering);
    let provoked = provoked(&gateway, answered).await;
    gateway.drain().await;
    provoked
}

async fn address_refused() -> Provoked {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let provoked = by_domain(&stage, &origin.url(""), "trust: {}\n").await;
    assert_eq!(origin.tally().accepted, 0);
    provoked
}

async fn no_credential() -> Provoked {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.answer_with(|_, _| rejection(400, "invalid_client"));
    let auth = format!(
        "auth: {{ oauth2: {{ token_url: \"{}\", client_id: abc, client_secret: s-1 }} }}",
        authority.token_url()
    );
    let yaml = orders(&origin.url(""), &[&auth]);
    let gateway = Running::start(&stage, &yaml).await;
    let answered = gateway.get("/orders/x").await;
    assert_eq!(origin.tally().heads, 0);
    let provoked = provoked(&gateway, answered).await;
    gateway.drain().await;
    provoked
}

async fn busy() -> Provoked {
    let scene = Scene::start(Plan {
        settings: "limits: { requests_in_flight_max: 1 }\n",
        ..Plan::answering(origin::scripted(|_| std::future::pending::<Answer>()))
    })
    .await;
    let mut first = Client::http1(scene.gateway.flows()).await;
    let held = tokio::spawn(async move { first.get("/orders/x").await });
    scene.origin.until(|tally| tally.heads == 1).await;
    let answered = scene.gateway.get("/orders/x").await;
    held.abort();
    provoked(&scene.gateway, answered).await
}

/// What the second of two GETs is answered where `orders` has this line and its origin answers with
/// `status`.
async fn by_second(connector: &'static [&'static str], status: u16) -> Provoked {
    let scene = Scene::start(Plan {
        connector,
        ..Plan::answering(origin::whole(move |_| Answer::status(status)))
    })
    .await;
    let first = scene.gateway.get("/orders/x").await;
    assert_eq!(first.status, status);
    let answered = scene.gateway.get("/orders/x").await;
    assert_eq!(scene.origin.tally().heads, 1);
    provoked(&scene.gateway, answered).await
}

async fn response_too_large() -> Provoked {
    let scene = Scene::start(Plan {
        connector: &["response_body_bytes_max: 1"],
        ..Plan::new()
    })
    .await;
    let answered = scene.gateway.get("/orders/x").await;
    provoked(&scene.gateway, answered).await
}

async fn request_loop() -> Provoked {
    let scene = Scene::plain().await;
    scene.gateway.get("/orders/x").await;
    let via = scene.origin.wire()[0].field("via").unwrap().to_owned();
    let mut client = Client::http1(scene.gateway.flows()).await;
    let fields = [("via", "1.0 fred"), ("via", &*format!("1.1 p, {via}"))];
    let answered = client.call("GET", "/orders/x", &fields, "").await;
    assert_eq!(scene.origin.tally().heads, 1);
    provoked(&scene.gateway, answered).await
}

const HOST: &str = "Host: localhost\r\n";

/// Every refusal that can be provoked at will, in the order of the table.
async fn provoke_all() -> Vec<(Provoked, Named)> {
    let mut all = provoke_before_an_origin().await;
    all.extend(provoke_behind_one().await);
    all
}

async fn provoke_before_an_origin() -> Vec<(Provoked, Named)> {
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
    let long = "a".repeat(9000);
    vec![
        (by_bytes("", "GET / x HTTP/1.1\r\n\r\n").await, Named::None),
        (by_bytes("", &get("/orders/../x", HOST)).await, Named::None),
        (
            by_bytes("", &get("/orders/x", "Host: evil.example\r\n")).await,
            Named::None,
        ),
        (caller_unknown().await, Named::None),
        (by_connector(&["allow: []"]).await, Named::Orders),
        (by_connector(&["enabled: false"]).await, Named::Orders),
        (
            by_bytes(
                "",
                &get("/orders/x", &format!("{HOST}Sec-Fetch-Site: none\r\n")),
            )
            .await,
            Named::None,
        ),
        (by_bytes("", &get("/nobody/x", HOST)).await, Named::None),
        (
            by_bytes("", &format!("TRACE /orders/x HTTP/1.1\r\n{HOST}\r\n")).await,
            Named::None,
        ),
        (client_timeout().await, Named::Orders),
        (
            by_bytes(
                "limits: { request_body_bytes_max: 3 }\n",
                &format!("POST /orders/x HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\n"),
            )
            .await,
            Named::Orders,
        ),
        (
            by_second(&["requests_per_second: { rate: 1, burst: 1 }"], 200).await,
            Named::Orders,
        ),
        (
            by_bytes(
                "limits: { head_bytes_max: 8KiB }\n",
                &get(&format!("/orders/{long}"), HOST),
            )
            .await,
            Named::None,
        ),
    ]
}

async fn provoke_behind_one() -> Vec<(Provoked, Named)> {
    vec![
        (origin_unreachable().await, Named::Orders),
        (origin_tls().await, Named::Orders),
        (by_origin_bytes("SSH-2.0-x\r\n\r\n").await, Named::Orders),
        (response_too_large().await, Named::Orders),
        (address_refused().await, Named::Orders),
        (no_credential().await, Named::Orders),
        (
            by_second(&["breaker: { failures: 1, open: 10m }"], 503).await,
            Named::Orders,
        ),
        (busy().await, Named::Orders),
        (
            by_connector(&["upstream: { response_head: 100ms }"]).await,
            Named::Orders,
        ),
        (request_loop().await, Named::Orders),
    ]
}

#[tokio::test]
async fn every_row_of_the_table_can_be_provoked_and_is_told_as_it_says() {
    // RFC 9457 §3, RFC 9209 §2.3, RFC 9110 §10.2.3; protocol.md, point 15.
    let all = provoke_all().await;

    // `draining` is told as the gateway ends, where nobody can ask for metrics: `drain` holds it.
    let rows: Vec<_> = TABLE.iter().filter(|row| row.name != "draining").collect();
    assert_eq!(all.len(), rows.len());
    for (row, (provoked, named)) in rows.into_iter().zip(&all) {
        let answered = &provoked.answered;
        assert_eq!(answered.reason(), row.name, "{}", answered.text());
        assert_eq!(answered.status, row.status, "{}", row.name);
        let proxy_status = format!("attache; error={}", row.proxy_status);
        assert_eq!(answered.field("proxy-status"), Some(&*proxy_status));
        let json = Some("application/problem+json");
        assert_eq!(answered.field("content-type"), json);
        assert_eq!(answered.field("cache-control"), Some("no-store"));
        let passes = [429, 503].contains(&row.status.as_u16());
        assert_eq!(
            answered.field("retry-after").is_some(),
            passes,
            "{}",
            row.name
        );
        assert!(
            (provoked.counted - 1.0).abs() < 0.1,
            "{}: {}",
            row.name,
            provoked.counted
        );

        let problem = answered.json();
        assert_eq!(problem["status"], row.status.as_u16());
        assert_eq!(problem["title"], row.status.canonical_reason().unwrap());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        let connector = (*named == Named::Orders).then_some("orders");
        assert_eq!(problem["connector"].as_str(), connector, "{}", row.name);
        assert!(!problem["request_id"].as_str().unwrap().is_empty());
    }
}
