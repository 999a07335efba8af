//! A gateway that is told to end finishes what it was asked, and takes no longer than it may.

use std::net::SocketAddr;
use std::sync::Mutex;

use http::Request;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::administrator::Administrator;
use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::body::{Outgoing, Pen};
use crate::support::child::Child;
use crate::support::client::{Answered, Client};
use crate::support::gateway::{Running, get, process};
use crate::support::load::Load;
use crate::support::origin::{Origin, Setup, scripted, whole};
use crate::support::stage::Stage;
use crate::support::store_room::{StoreRoom, with_token};
use crate::support::wire::Wire;
use crate::support::within;

/// Long enough that no test ends because of it.
const NEVER: &str = "drain: 10m, head: 5m, idle: 10m";
const GET: &str = "GET /orders/x HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn connector(origin: &Origin) -> String {
    let url = origin.url("/api");
    format!(
        "connectors:\n  - {{ id: orders, name: Orders, resource_domain: \"{url}\", auth: none }}\n"
    )
}

fn configured(timeouts: &str, origin: &Origin) -> String {
    format!("timeouts: {{ {timeouts} }}\n{}", connector(origin))
}

/// An origin whose first answer is written by the pen that comes out of the channel.
async fn held(stage: &Stage) -> (Origin, oneshot::Receiver<Pen>) {
    let (give, pen) = oneshot::channel();
    let give = Mutex::new(Some(give));
    let handler = scripted(move |_| {
        let give = give.lock().unwrap().take();
        async move {
            match give {
                None => Answer::text("ok"),
                Some(give) => {
                    let (pen, answer) = Answer::streamed();
                    assert!(give.send(pen).is_ok());
                    answer
                }
            }
        }
    });
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    (origin, pen)
}

/// Waits until nobody is let in at `address` any more.
async fn until_closed(address: SocketAddr) {
    let knocking = async { while TcpStream::connect(address).await.is_ok() {} };
    within("a listener to close", knocking).await;
}

#[tokio::test]
async fn a_change_that_is_being_made_is_answered_before_the_gateway_ends() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.release(0);
    let room = StoreRoom::sqlite(&stage).await;
    let gateway = Running::start(&stage, &room.yaml("")).await;
    let admin = gateway.admin();
    let mut administrator = Administrator::connect(admin, &room.token().await).await;
    let mut document = with_token(&origin.url("/"), &authority.token_url(), "secret");
    document["name"] = "Mine".into();
    let creating = tokio::spawn(async move {
        let created = administrator.call("POST", "/connectors", Some(&document));
        created.await.unwrap().status
    });
    authority.until_requests(1).await;

    let draining = tokio::spawn(gateway.drain());
    until_closed(admin).await;
    authority.release_all();

    assert_eq!(creating.await.unwrap(), 201);
    draining.await.unwrap();
}

/// Begins to drain, and returns once the gateway says so.
async fn begin(gateway: Running) -> JoinHandle<()> {
    let admin = gateway.admin();
    let drained = tokio::spawn(gateway.drain());
    until_unready(admin).await;
    drained
}

async fn until_unready(admin: SocketAddr) {
    let turning = async { while get(admin, "/readyz").await.status == 200 {} };
    within("readiness to end", turning).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_keep_alive_and_http2_load_not_one_request_is_lost() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &configured("drain_delay: 300ms", &origin)).await;
    let load = Load::start(gateway.flows(), "/orders/x", (6, 2));
    load.further(3_000).await;

    gateway.drain().await;
    let count = load.refused().await;

    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert!(count.farewells > 0, "{count:?}");
    assert!(count.refused > 0, "{count:?}");
    assert_eq!(origin.tally().heads, count.answered);
}

/// A balancer that heeds readiness sends nobody to a listener that closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_that_go_elsewhere_within_the_delay_meet_no_refusal_at_all() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &configured("drain_delay: 5s", &origin)).await;
    let load = Load::start(gateway.flows(), "/orders/x", (6, 2));
    load.further(500).await;

    let drained = begin(gateway).await;
    load.further(500).await;
    let count = load.stopped().await;

    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert_eq!(count.refused, 0);
    assert!(count.farewells > 0, "{count:?}");
    assert_eq!(origin.tally().heads, count.answered);
    drained.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_told_to_end_under_load_loses_not_one_request() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = configured("drain_delay: 300ms", &origin) + "logs: { access: errors }\n";
    let child = process(&stage.config_file(&own));
    let load = Load::start(flows(&child).await, "/orders/x", (6, 2));
    for _ in 0..12 {
        load.further(1_000).await;
    }

    child.signal("TERM");
    let ended = child.exited().await;
    let count = load.refused().await;

    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(count.failed, [""; 0], "{count:?}");
    assert!(count.answered >= 12_000, "{count:?}");
    // Told over HTTP/1.1, and sure that the listener is gone.
    assert!(count.farewells > 0 && count.refused > 0, "{count:?}");
    assert_eq!(origin.tally().heads, count.answered);
}

async fn flows(child: &Child) -> SocketAddr {
    let is = |line: &str| line.contains("flows are served");
    let line = child.stderr.line("the flows' address", is).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn readiness_ends_at_once_while_connections_are_still_accepted_and_life_goes_on() {
    let stage = Stage::new();
    let (origin, pen) = held(&stage).await;
    let gateway = Running::start(&stage, &configured("drain_delay: 2s, drain: 10m", &origin)).await;
    let (flows, admin) = (gateway.flows(), gateway.admin());
    assert_eq!(get(admin, "/readyz").await.status, 200);
    let mut streamed = Client::http1(flows).await;
    let _held = streamed.send("GET", "/orders/x", &[], "").await.unwrap();
    let pen = pen.await.unwrap();

    let drained = begin(gateway).await;
    let late = get(flows, "/orders/late").await;

    assert_eq!(late.text(), "ok");
    assert_eq!(late.field("connection"), Some("close"));
    let told = get(admin, "/readyz").await;
    assert_eq!(told.status, 503);
    assert_eq!(told.text(), "not ready: draining\n");
    assert_eq!(get(admin, "/readyz?verbose").await.json()["draining"], true);
    assert_eq!(get(admin, "/livez").await.status, 200);
    drop((pen, streamed));
    drained.await.unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    for http2 in [false, true] {
        let stage = Stage::new();
        let (origin, pen) = held(&stage).await;
        let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
        let gateway = Running::start(&stage, &own).await;
        let mut client = match http2 {
            false => Client::http1(gateway.flows()).await,
            true => Client::http2(gateway.flows()).await,
        };
        let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
        let pen = pen.await.unwrap();
        assert!(pen.write("first ").await);

        let drained = begin(gateway).await;
        assert!(pen.write("last").await);
        drop(pen);
        let answered = Answered::read(response).await.unwrap();

        assert_eq!(answered.text(), "first last");
        drop(client);
        within("the drain", drained).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_whose_body_is_still_arriving_is_finished() {
    let stage = Stage::new();
    let echo = whole(|request| Answer::text(&request.text()));
    let origin = Origin::start(Setup::new(&stage.server()), echo).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let gateway = Running::start(&stage, &own).await;
    let mut client = Client::http1(gateway.flows()).await;
    let (pen, body) = Outgoing::streamed();
    let answering = tokio::spawn(async move { client.call("POST", "/orders/x", &[], body).await });
    assert!(pen.write("before, ").await);
    origin.until(|tally| tally.heads == 1).await;

    let drained = begin(gateway).await;
    assert!(pen.write("after").await);
    drop(pen);
    let answered = answering.await.unwrap();

    assert_eq!(answered.text(), "before, after");
    assert_eq!(answered.field("connection"), Some("close"));
    within("the drain", drained).await.unwrap();
}

/// RFC 9112 §9.6: `Connection: close` is the last answer's, and nothing follows it.
#[tokio::test]
async fn an_idle_connection_has_a_grace_in_which_its_next_request_is_answered_with_a_farewell() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let gateway = Running::start(&stage, &own).await;
    let mut wire = Wire::plain(gateway.flows()).await;
    wire.write(GET).await;
    assert_eq!(wire.answer().await.field("connection"), None);

    let drained = begin(gateway).await;
    wire.write(GET).await;
    let last = wire.answer().await;

    assert_eq!(last.status(), 200);
    assert_eq!(last.field("connection"), Some("close"));
    assert!(wire.is_closed().await);
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_stays_idle_is_closed_without_a_word() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let gateway = Running::start(&stage, &own).await;
    let mut wire = Wire::plain(gateway.flows()).await;
    wire.write(GET).await;
    wire.answer().await;

    let drained = begin(gateway).await;

    assert!(wire.is_closed().await);
    within("the drain", drained).await.unwrap();
}

/// RFC 9113 §6.8: no further stream is welcome, and no error is claimed.
#[tokio::test]
async fn an_http2_connection_is_told_goaway_and_ends_well() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let gateway = Running::start(&stage, &own).await;
    let stream = TcpStream::connect(gateway.flows()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://localhost/orders/x").body(()).unwrap();
    let mut ready = sender.clone().ready().await.unwrap();
    let (response, _) = ready.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);

    let drained = tokio::spawn(gateway.drain());
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
    assert_eq!(told.reason(), Some(h2::Reason::NO_ERROR));
    let ended = within("the connection's end", connection).await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_never_spoke_does_not_hold_the_drain_up() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let gateway = Running::start(&stage, &own).await;
    let mut silent = Wire::plain(gateway.flows()).await;
    let mut open = 0.0;
    while open < 1.0 {
        open = gateway.sample("attache_client_connections", &[]).await;
    }

    let drained = begin(gateway).await;

    assert!(silent.is_closed().await);
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_is_served() {
    let stage = Stage::new();
    let (origin, pen) = held(&stage).await;
    let own = configured(&format!("drain_delay: 0s, {NEVER}"), &origin);
    let own = format!("limits: {{ connections_max: 1 }}\n{own}");
    let gateway = Running::start(&stage, &own).await;
    let mut first = Wire::plain(gateway.flows()).await;
    first.write(GET).await;
    let pen = pen.await.unwrap();
    let mut queued = Wire::plain(gateway.flows()).await;
    queued.write(GET).await;

    let drained = begin(gateway).await;
    drop(pen);

    assert_eq!(first.answer().await.status(), 200);
    let served = queued.answer().await;
    assert_eq!(served.status(), 200);
    assert_eq!(served.field("connection"), Some("close"));
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn the_bound_ends_a_request_that_hangs_and_its_flow_sees_that_something_is_missing() {
    let stage = Stage::new();
    let (origin, pen) = held(&stage).await;
    let gateway = Running::start(&stage, &configured("drain_delay: 0s, drain: 1s", &origin)).await;
    let mut client = Client::http1(gateway.flows()).await;
    let response = client.send("GET", "/orders/x", &[], "").await.unwrap();
    let pen = pen.await.unwrap();
    assert!(pen.write("a part").await);

    gateway.drain().await;

    assert!(Answered::read(response).await.is_err());
    pen.given_up().await;
}

#[tokio::test]
async fn a_request_without_an_answer_is_told_at_the_bound_that_the_gateway_ends() {
    let stage = Stage::new();
    let (asked, arrived) = oneshot::channel();
    let asked = Mutex::new(Some(asked));
    let handler = scripted(move |_| {
        let asked = asked.lock().unwrap().take().unwrap();
        asked.send(()).unwrap();
        std::future::pending()
    });
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    let gateway = Running::start(&stage, &configured("drain_delay: 0s, drain: 1s", &origin)).await;
    let mut client = Wire::plain(gateway.flows()).await;
    client.write(GET).await;
    arrived.await.unwrap();

    gateway.drain().await;

    let told = client.answer().await;
    assert_eq!(told.status(), 503);
    assert_eq!(
        told.field("proxy-status"),
        Some("attache; error=destination_unavailable")
    );
    assert_eq!(told.field("connection"), Some("close"));
    assert_eq!(told.field("retry-after"), Some("1"));
}

#[tokio::test]
async fn the_bound_holds_although_connections_wait_to_be_accepted() {
    let stage = Stage::new();
    let (origin, pen) = held(&stage).await;
    let own = configured("drain_delay: 0s, drain: 1s", &origin);
    let own = format!("limits: {{ connections_max: 1 }}\n{own}");
    let gateway = Running::start(&stage, &own).await;
    let mut first = Wire::plain(gateway.flows()).await;
    first.write(GET).await;
    let pen = pen.await.unwrap();
    let mut queued = Wire::plain(gateway.flows()).await;
    queued.write(GET).await;

    gateway.drain().await;

    assert!(queued.is_closed().await);
    pen.given_up().await;
}
