//! Connections, on both sides, live as long as they are of use and no longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::support::answer::Answer;
use crate::support::body::Outgoing;
use crate::support::client::Client;
use crate::support::connector::{connector, connector_with, connectors};
use crate::support::gateway::Running;
use crate::support::origin::{self, Handler, Origin, Setup, scripted};
use crate::support::scene::{Plan, Scene};
use crate::support::stage::Stage;
use crate::support::tls::{self, Ask, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

/// Answers those under `/held` once a permit is given, and all others at once.
fn holding(gate: &Arc<Semaphore>) -> Handler {
    let gate = Arc::clone(gate);
    scripted(move |exchange| {
        let gate = Arc::clone(&gate);
        async move {
            if exchange.recorded().target.starts_with("/held") {
                gate.acquire().await.unwrap().forget();
            }
            Answer::text("ok")
        }
    })
}

async fn start(stage: &Stage, protocols: Protocols, handler: Handler) -> Origin {
    let setup = Setup {
        protocols,
        ..Setup::new(&stage.server())
    };
    Origin::start(setup, handler).await
}

/// Sends a GET aside and returns once the origin has its head.
async fn held(gateway: &Running, origin: &Origin, target: &str) -> tokio::task::JoinHandle<u16> {
    let heads = origin.tally().heads;
    let asked = get_aside(gateway, target);
    origin.until(|tally| tally.heads > heads).await;
    asked
}

fn get_aside(gateway: &Running, target: &str) -> tokio::task::JoinHandle<u16> {
    let (address, target) = (gateway.flows(), target.to_owned());
    tokio::spawn(async move {
        let mut client = Client::http1(address).await;
        client.get(&target).await.status.as_u16()
    })
}

#[tokio::test]
async fn a_connector_at_its_limit_gets_its_connection_back_from_one_that_shares_the_origin() {
    let stage = Stage::new();
    let gate = Arc::new(Semaphore::new(0));
    let origin = start(&stage, Protocols::Http1, holding(&gate)).await;
    let one = "upstream: { connections_max: 1, connect: 60s }";
    let all = [
        connector_with("owner", &origin.url(""), "none", one),
        connector("guest", &origin.url(""), "none"),
    ];
    let own = format!("workers: 1\n{}", connectors(&all));
    let gateway = Running::start(&stage, &own).await;
    assert_eq!(gateway.get("/owner/x").await.status, 200);
    let guest = held(&gateway, &origin, "/guest/held").await;
    assert_eq!(origin.tally().accepted, 1, "the guest uses the owner's");

    let owner = get_aside(&gateway, "/owner/x");
    let both = |count| count == 2.0;
    gateway
        .until_sample("attache_requests_in_flight", &[], both)
        .await;
    gate.add_permits(1);

    assert_eq!(guest.await.unwrap(), 200);
    assert_eq!(within("the owner's turn", owner).await.unwrap(), 200);
    assert_eq!(origin.tally().accepted, 1);
}

/// RFC 9113 §5.1.2: an origin that allows one stream at a time is given one, and a second
/// connection for the second request.
#[tokio::test]
async fn a_request_does_not_wait_for_a_stream_while_another_connection_may_be_opened() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (arrived, at_origin) = oneshot::channel();
    let arrived = Arc::new(Mutex::new(Some(arrived)));
    let accepted = Arc::new(AtomicUsize::new(0));
    let config = tls::server(&stage.server(), &Ask::Nothing, Protocols::Http2);
    let counting = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            counting.fetch_add(1, Ordering::SeqCst);
            let stream = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await;
            let arrived = Arc::clone(&arrived);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let held = request.uri().path() == "/held";
                let told = held.then(|| arrived.lock().unwrap().take()).flatten();
                async move {
                    if let Some(told) = told {
                        told.send(()).unwrap();
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, hyper::Error>(Response::new(String::from("ok")))
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(1);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream.unwrap()), service));
        }
    });
    let url = format!("https://localhost:{port}");
    let own = connectors(&[connector("orders", &url, "none")]);
    let gateway = Running::start(&stage, &own).await;
    assert_eq!(gateway.get("/orders/x").await.status, 200);
    let hanging = get_aside(&gateway, "/orders/held");
    within("the held request", at_origin).await.unwrap();

    let answered = gateway.get("/orders/x").await;

    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
    hanging.abort();
}

#[tokio::test]
async fn an_http2_connection_on_which_the_origin_went_silent_carries_nothing_more() {
    let stage = Stage::new();
    let origin = start(
        &stage,
        Protocols::Http2,
        holding(&Arc::new(Semaphore::new(0))),
    )
    .await;
    let own = connector_with(
        "orders",
        &origin.url("/"),
        "none",
        "upstream: { response_head: 300ms }",
    );
    let gateway = Running::start(&stage, &connectors(&[own])).await;

    let silent = held(&gateway, &origin, "/orders/held").await;

    assert_eq!(silent.await.unwrap(), 504);
    assert_eq!(get_aside(&gateway, "/orders/x").await.unwrap(), 200);
    assert_eq!(origin.tally().accepted, 2);
}

/// RFC 9113 §8.1: the last frame of a body may be an empty one.
#[tokio::test]
async fn a_body_whose_length_was_reached_is_whole_before_its_stream_ends() {
    let plan = Plan {
        protocols: Protocols::Http1,
        ..Plan::answering(origin::whole(|request| Answer::text(&request.text())))
    };
    let scene = Scene::start(plan).await;
    let mut client = Client::http2(scene.gateway.flows()).await;
    let fields = [("content-length", "5")];

    for _ in 0..2 {
        let (pen, body) = Outgoing::streamed();
        assert!(pen.write("hello").await);
        let response = client.send("POST", "/orders/x", &fields, body).await;
        assert_eq!(response.unwrap().status(), 200);
        drop(pen);
        let idle = [("connector", "orders"), ("state", "busy")];
        let none = |count| count == 0.0;
        scene
            .gateway
            .until_sample("attache_upstream_connections", &idle, none)
            .await;
    }

    assert_eq!(scene.origin.tally().accepted, 1, "the connection was kept");
}

/// RFC 9113 §6.7: a PING between requests is no request's head, and §6.8: who closes says so.
#[tokio::test]
async fn what_http2_says_between_requests_does_not_shorten_the_idle_limit() {
    let (scene, turned) = Scene::start_turned(Plan::new()).await;
    let flows = scene.gateway.flows();
    let stream = TcpStream::connect(flows).await.unwrap();
    let (mut sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let connection = tokio::spawn(connection);
    let mut get = async || {
        let request = Request::get("http://localhost/orders/x").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        while let Some(piece) = body.data().await {
            drop(piece.unwrap());
        }
    };
    get().await;
    let idle = |count| count == 0.0;
    scene
        .gateway
        .until_sample("attache_requests_in_flight", &[], idle)
        .await;
    pings.ping(h2::Ping::opaque()).await.unwrap();

    let mut slow = Wire::plain(flows).await;
    slow.write("GET /orders/x HT").await;
    let both = |count| count == 2.0;
    scene
        .gateway
        .until_sample("attache_client_connections", &[], both)
        .await;
    turned.advance(Duration::from_secs(60));
    assert!(slow.is_closed().await, "a head may take ten seconds");
    get().await;
    turned.advance(Duration::from_secs(76));

    let told = within("GOAWAY", async {
        loop {
            if let Err(error) = sender.clone().ready().await {
                break error;
            }
            tokio::task::yield_now().await;
        }
    });
    let told = told.await;
    assert!(told.is_go_away() && told.is_remote(), "{told}");
    let ended = within("the connection's end", connection).await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

/// RFC 9110 §7.6.1: what `Connection` names does not travel, split over lines or not.
#[tokio::test]
async fn cookies_that_connection_names_do_not_travel() {
    let scene = Scene::start(Plan {
        connector: &["cookies: pass"],
        ..Plan::new()
    })
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    for cookies in [
        &[("cookie", "a=1")][..],
        &[("cookie", "a=1"), ("cookie", "b=2")],
    ] {
        let fields = [&[("connection", "cookie")], cookies].concat();
        let body = Outgoing::Whole(None);
        let answered = client.call("GET", "/orders/x", &fields, body).await;
        assert_eq!(answered.status, 200);
    }

    for request in scene.origin.wire() {
        assert_eq!(request.all("cookie"), [""; 0]);
    }
}
