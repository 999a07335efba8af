//! Names: looked up once for all, renewed, followed when they change, and used when they cannot be.

use std::time::Duration;

use attache::clock::Turned;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::client::Answered;
use crate::support::connector::{basic, connector, connector_with, connectors, with_secret};
use crate::support::gateway::Running;
use crate::support::names::{BlackHole, Names, both_families};
use crate::support::origin::{self, Handler, Origin, Setup};
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;

const NAME: &str = "orders.example";
const LOOKUPS: &str = "attache_dns_lookups_total";
const V4: &[&str] = &["127.0.0.1"];
const V6: &[&str] = &["::1"];

/// A gateway before an origin that has moved, or will.
struct Move {
    names: Names,
    /// On 127.0.0.1.
    old: Origin,
    /// On ::1, under the same port.
    new: Origin,
    gateway: Running,
    turned: Turned,
    stage: Stage,
}

impl Move {
    /// [`NAME`] is at the old place, and connections live for ten minutes.
    async fn start(protocols: Protocols, handler: Handler) -> Self {
        let stage = Stage::new();
        let setup = Setup {
            protocols,
            ..Setup::new(&stage.ca.server(&[NAME]))
        };
        let (v4, v6) = both_families().await;
        let old = Origin::start_on(v4, setup.clone(), handler.clone());
        let new = Origin::start_on(v6, setup, handler);
        let names = Names::new();
        names.set(NAME, V4);
        let (environment, turned) = names.turned();
        let upstream = "upstream: { idle: 1h, age_max: 10m, connect: 20s }";
        let yaml = orders(&old.url_as(NAME, ""), &[upstream]) + "timeouts: { idle: 1h }\n";
        let gateway = Running::start_in(&stage, &yaml, environment).await;
        Self {
            names,
            old,
            new,
            gateway,
            turned,
            stage,
        }
    }

    fn advance(&self, seconds: u64) {
        self.turned.advance(Duration::from_secs(seconds));
    }

    async fn get(&self) -> Answered {
        self.gateway.get("/orders/x").await
    }

    async fn serve(&self) {
        let answered = self.get().await;
        assert_eq!(answered.status, 200, "{}", answered.text());
    }

    /// How many requests reached the old place and the new one.
    fn reached(&self) -> (usize, usize) {
        (self.old.tally().heads, self.new.tally().heads)
    }

    async fn lookups(&self, outcome: &str) -> f64 {
        self.gateway.sample(LOOKUPS, &[("outcome", outcome)]).await
    }
}

/// Each request takes a connection of its own.
fn closing() -> Handler {
    origin::whole(|_| Answer::text("ok").field("connection", "close"))
}

fn plain() -> Handler {
    origin::whole(|_| Answer::text("ok"))
}

#[tokio::test]
async fn a_change_of_address_is_followed_within_age_max_and_the_old_connections_close() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let scene = Move::start(protocols, plain()).await;
        scene.serve().await;

        scene.names.set(NAME, V6);
        for _ in 0..19 {
            scene.advance(31);
            scene.serve().await;
        }
        let before = scene.reached();
        scene.advance(31);
        scene.serve().await;
        scene.serve().await;

        assert_eq!(before, (20, 0), "{protocols:?}");
        assert_eq!(scene.reached(), (20, 2), "{protocols:?}");
        scene.old.until(|tally| tally.closed == 1).await;
        assert_eq!(scene.new.tally().accepted, 1, "{protocols:?}");
    }
}

#[tokio::test]
async fn a_connections_age_counts_from_the_look_up_of_its_address() {
    let handler = origin::whole(|request| match request.target.as_str() {
        "/last" => Answer::text("ok").field("connection", "close"),
        _ => Answer::text("ok"),
    });
    let scene = Move::start(Protocols::Http1, handler).await;
    assert_eq!(scene.gateway.get("/orders/last").await.status, 200);

    scene.advance(7);
    scene.serve().await;
    scene.names.set(NAME, V6);
    scene.advance(592);
    scene.serve().await;
    let before = scene.reached();
    scene.advance(1);
    scene.serve().await;

    assert_eq!(before, (3, 0));
    assert_eq!(scene.reached(), (3, 1));
}

#[tokio::test]
async fn an_origin_that_died_and_came_back_elsewhere_is_found_by_the_next_request() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let mut scene = Move::start(protocols, plain()).await;
        scene.serve().await;
        // Long enough ago that addresses which take no connection are asked for again.
        scene.advance(1);

        scene.names.set(NAME, V6);
        let gone = Origin::plain(&scene.stage.server()).await;
        drop(std::mem::replace(&mut scene.old, gone));
        let idle = [("connector", "orders"), ("state", "idle")];
        let upstream = "attache_upstream_connections";
        scene
            .gateway
            .until_sample(upstream, &idle, |open| open < 0.5)
            .await;
        scene.serve().await;

        assert_eq!(scene.new.tally().heads, 1, "{protocols:?}");
        assert_eq!(scene.names.asked(NAME), 2, "{protocols:?}");
    }
}

#[tokio::test]
async fn an_origin_that_refuses_connections_causes_a_look_up_a_second_at_most() {
    let mut scene = Move::start(Protocols::Http1, closing()).await;
    scene.serve().await;
    let gone = Origin::plain(&scene.stage.server()).await;
    drop(std::mem::replace(&mut scene.old, gone));

    // Fewer failures than open the connector's breaker.
    for second in 0..4 {
        for _ in 0..4 {
            let refused = scene.get().await;
            assert_eq!(refused.reason(), "origin-unreachable");
            let error = refused.field("proxy-status").unwrap();
            assert!(error.ends_with("connection_refused"), "{error}");
        }
        assert_eq!(scene.names.asked(NAME), 1 + second);
        scene.advance(1);
    }
}

/// An origin on ::1 whose other address is a black hole, and a gateway that waits `connect` for
/// connections.
async fn half_silent(names: &Names, connect: &str) -> (BlackHole, Origin, Running, Turned) {
    let stage = Stage::new();
    let (hole, v6) = BlackHole::beside_a_listener().await;
    let origin = Origin::start_on(v6, Setup::new(&stage.ca.server(&[NAME])), plain());
    let (environment, turned) = names.turned();
    let upstream = format!("upstream: {{ connect: {connect} }}");
    let yaml = orders(&origin.url_as(NAME, ""), &[&upstream]);
    let gateway = Running::start_in(&stage, &yaml, environment).await;
    (hole, origin, gateway, turned)
}

#[tokio::test]
async fn an_address_that_is_silent_costs_no_request() {
    // RFC 8305 §5: the next one is tried beside it.
    let names = Names::new();
    names.set(NAME, &["127.0.0.1", "::1"]);
    let (_hole, origin, gateway, _turned) = half_silent(&names, "20s").await;

    let answered = gateway.get("/orders/x").await;

    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(origin.tally().heads, 1);
}

#[tokio::test]
async fn an_origin_that_fell_silent_is_looked_up_again_before_the_next_request() {
    let names = Names::new();
    names.set(NAME, V4);
    let (_hole, origin, gateway, turned) = half_silent(&names, "1s").await;

    // The answer is too young to be doubted at first.
    for _ in 0..2 {
        let silent = gateway.get("/orders/x").await;
        assert_eq!(silent.status, 504);
        let error = Some("attache; error=connection_timeout");
        assert_eq!(silent.field("proxy-status"), error);
        turned.advance(Duration::from_secs(1));
    }
    let before = names.asked(NAME);
    names.set(NAME, V6);
    let next = gateway.get("/orders/x").await;

    assert_eq!(before, 1);
    assert_eq!(next.status, 200, "{}", next.text());
    assert_eq!(origin.tally().heads, 1);
}

#[tokio::test]
async fn requests_are_served_while_no_name_server_answers() {
    // RFC 8767.
    let scene = Move::start(Protocols::Http1, closing()).await;
    scene.serve().await;

    scene.names.fail(NAME);
    for _ in 0..5 {
        scene.advance(600);
        scene.serve().await;
    }

    assert_eq!(scene.reached(), (6, 0));
    assert!((scene.lookups("ok").await - 1.0).abs() < 0.1);
    assert!((scene.lookups("stale").await - 5.0).abs() < 0.1);
    assert!(scene.lookups("failed").await > 0.5);
}

#[tokio::test]
async fn after_an_hour_without_a_name_server_flows_are_told() {
    let scene = Move::start(Protocols::Http1, closing()).await;
    scene.serve().await;

    scene.names.fail(NAME);
    scene.advance(3600);
    let refused = scene.get().await;
    scene.names.set(NAME, V6);
    scene.advance(1);
    scene.serve().await;

    assert_eq!(refused.status, 502);
    assert_eq!(refused.reason(), "origin-unreachable");
    let error = Some("attache; error=dns_error");
    assert_eq!(refused.field("proxy-status"), error);
    assert_eq!(scene.reached(), (1, 1));
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_asked_for_once_a_second_and_found_when_it_does() {
    let scene = Move::start(Protocols::Http1, closing()).await;
    scene.names.set(NAME, &[]);

    // Fewer failures than open the connector's breaker.
    for second in 1..4 {
        for _ in 0..4 {
            assert_eq!(scene.get().await.reason(), "origin-unreachable");
        }
        assert_eq!(scene.names.asked(NAME), second);
        scene.advance(1);
    }
    scene.names.set(NAME, V4);
    scene.serve().await;

    assert!((scene.lookups("failed").await - 3.0).abs() < 0.1);
}

#[tokio::test]
async fn a_name_that_comes_to_lead_to_a_refused_range_is_not_followed_there() {
    // DNS rebinding: what is checked is what is connected to, on every dial.
    let scene = Move::start(Protocols::Http1, closing()).await;
    scene.serve().await;

    scene.names.set(NAME, &["169.254.169.254"]);
    scene.advance(60);
    let refused = scene.get().await;

    assert_eq!(refused.reason(), "address-refused");
    assert_eq!(scene.reached(), (1, 0));
}

#[tokio::test]
async fn a_token_endpoint_and_a_resource_domain_share_what_is_known_of_a_name() {
    let stage = Stage::new();
    let server = stage.ca.server(&[NAME]);
    let origin = Origin::plain(&server).await;
    let authority = Authority::start(Setup::new(&server)).await;
    let token_url = authority.token_url().replace("localhost", NAME);
    let auth = with_secret(&token_url);
    let yaml = connectors(&[connector("c", &origin.url_as(NAME, "/"), &auth)]);
    let names = Names::new();
    names.set(NAME, V4);
    let (environment, turned) = names.turned();
    let gateway = Running::start_in(&stage, &yaml, environment).await;

    let first = gateway.get("/c/x").await;
    names.fail(NAME);
    // Past the token's life and every connection's.
    turned.advance(Duration::from_secs(3599));
    let later = gateway.get("/c/x").await;

    assert_eq!((first.status.as_u16(), later.status.as_u16()), (200, 200));
    assert!(authority.count() >= 2);
    // Two flights to one name failed within a second: one look-up for both.
    assert_eq!(names.asked(NAME), 2);
}

#[tokio::test]
async fn names_that_hang_are_told_in_time_and_leave_those_that_are_known_alone() {
    let stage = Stage::new();
    let setup = Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.ca.server(&[NAME]))
    };
    let origin = Origin::start(setup, closing()).await;
    let auth = basic("svc", "pa-ss-word");
    let mut all = vec![connector("known", &origin.url_as(NAME, ""), &auth)];
    let names = Names::new();
    names.set(NAME, V4);
    for number in 0..17 {
        let host = format!("n{number}.example");
        names.hang(&host);
        let domain = format!("https://{host}");
        let limit = "upstream: { connect: 300ms }";
        all.push(connector_with(&format!("n{number}"), &domain, &auth, limit));
    }
    let gateway = Running::start_in(&stage, &connectors(&all), names.environment()).await;
    let first = gateway.get("/known/x").await;

    // One name more than there are look-ups at once.
    let targets: Vec<_> = (0..17).map(|number| format!("/n{number}/x")).collect();
    let asking = targets.iter().map(|target| gateway.get(target));
    let refused = futures_util::future::join_all(asking).await;
    let second = gateway.get("/known/x").await;

    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    for answered in &refused {
        assert_eq!(answered.status, 504);
        let error = Some("attache; error=dns_timeout");
        assert_eq!(answered.field("proxy-status"), error);
    }
    names.until_hanging(16).await;
    assert_eq!(names.hanging(), 16);
    assert_eq!(origin.tally().accepted, 2);
}
