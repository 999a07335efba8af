//! A connector's validation: the legs of its way, what a walk sends, and that it has an end.

use std::time::{Duration, UNIX_EPOCH};

use attache::clock::{Clock, Turned};
use attache::control::validate::{LegOutcome, Report, Validator};
use attache::dial::{Dialer, Lookup, Resolver};
use attache::metrics::Metrics;
use tokio::runtime::Handle;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, bearer};
use crate::support::connector::{basic, connector, connector_with, connectors, pair, with_secret};
use crate::support::origin::{Handler, Origin, Setup, scripted, whole};
use crate::support::stage::Stage;
use crate::support::tls::Ask;

/// A stage and an origin on it.
struct Room {
    stage: Stage,
    origin: Origin,
}

impl Room {
    async fn with(handler: Handler) -> Self {
        let stage = Stage::new();
        let origin = Origin::start(Setup::new(&stage.server()), handler).await;
        Self { stage, origin }
    }

    async fn answering(status: u16) -> Self {
        Self::with(whole(move |_| Answer::status(status))).await
    }

    /// A walk of a connector to the origin with this `auth` and these keys.
    async fn walk(&self, auth: &str, more: &str) -> Report {
        let own = connector_with("c", &self.origin.url("/api"), auth, more);
        self.walk_own(&connectors(&[own])).await
    }

    async fn walk_own(&self, own: &str) -> Report {
        let config = self.stage.config(own).unwrap();
        let validator = validator(&self.stage, own, Clock::system());
        validator.walk(&config.connectors[0]).await
    }
}

fn validator(stage: &Stage, own: &str, clock: Clock) -> Validator {
    let config = stage.config(own).unwrap();
    let lookups = Metrics::new(1, 1).lookups();
    let resolver = Resolver::new(Lookup::System, Clock::system(), Handle::current(), lookups);
    Validator::new(&config, Dialer::new(resolver), clock, Handle::current()).unwrap()
}

/// Each leg and how it went.
fn shape(report: &Report) -> Vec<(&str, &str)> {
    let outcome = |outcome: &LegOutcome| match outcome {
        LegOutcome::Good { .. } => "good",
        LegOutcome::Failed { .. } => "failed",
        LegOutcome::Skipped { .. } => "skipped",
    };
    let legs = report.legs.iter();
    legs.map(|leg| (leg.name, outcome(&leg.outcome))).collect()
}

/// The leg that failed, the reason and the hint.
fn failed(report: &Report) -> (&str, String) {
    let leg = report.failed().unwrap_or_else(|| panic!("{report:?}"));
    match &leg.outcome {
        LegOutcome::Failed { reason, hint } => (leg.name, format!("{reason}; {hint}")),
        LegOutcome::Good { .. } | LegOutcome::Skipped { .. } => panic!("{report:?}"),
    }
}

const PROBED: &str = "probe: /health?a=b";

#[tokio::test]
async fn a_probe_that_answers_400_or_more_fails_and_401_is_the_credentials_fault() {
    for (status, hint) in [
        (400, "own log"),
        (401, "the credential was not accepted"),
        (403, "the credential was not accepted"),
        (404, "is probe a request path"),
        (500, "status 500"),
        (503, "status 503"),
    ] {
        let room = Room::answering(status).await;

        let report = room.walk(&basic("svc", "pass-word"), PROBED).await;

        let (leg, said) = failed(&report);
        assert_eq!(leg, "probe");
        assert!(said.contains(hint), "{status}: {said}");
        let asked = room.origin.only_request();
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("GET", "/api/health?a=b")
        );
        assert!(!format!("{report:?}").contains("pass-word"));
    }
}

#[tokio::test]
async fn a_probe_that_answers_below_400_is_good_and_no_redirect_is_followed() {
    let stage = Stage::new();
    let decoy = Origin::plain(&stage.server()).await;
    for status in [200, 204, 301, 302, 303, 304, 307, 308] {
        let location = decoy.url("/");
        let answer = move |_: &_| Answer::status(status).field("location", &location);
        let room = Room::with(whole(answer)).await;

        let report = room.walk(&basic("svc", "pass-word"), PROBED).await;

        assert!(report.failed().is_none(), "{report:?}");
        assert_eq!(room.origin.tally().heads, 1);
    }
    assert_eq!(decoy.tally().accepted, 0);
}

#[tokio::test]
async fn a_probe_carries_the_connectors_own_credential_and_nothing_else_does() {
    let room = Room::answering(200).await;
    let authority = Authority::plain(&room.stage.server()).await;
    authority.answer_with(|_, _| bearer("tok-1", 600));
    let key = "{ header: { name: X-Key, value: key-1 } }";
    for (auth, field, value) in [
        (
            basic("svc", "pass-word"),
            "authorization",
            "Basic c3ZjOnBhc3Mtd29yZA==",
        ),
        (key.to_owned(), "x-key", "key-1"),
        (
            with_secret(&authority.token_url()),
            "authorization",
            "Bearer tok-1",
        ),
    ] {
        let report = room.walk(&auth, PROBED).await;

        assert!(report.failed().is_none(), "{report:?}");
        let requests = room.origin.requests();
        assert_eq!(requests.last().unwrap().field(field), Some(value));
        assert!(!format!("{report:?}").contains(value), "{report:?}");
    }
    // One token request served both legs.
    assert_eq!(authority.count(), 1);
    assert_eq!(room.origin.tally().heads, 3);
}

#[tokio::test]
async fn a_probe_shows_the_certificate_that_the_resource_domain_asks_for() {
    let stage = Stage::new();
    let demanding = Setup {
        ask: Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(demanding, whole(|_| Answer::text("ok"))).await;
    let certificate = pair(&stage, "client", &stage.ca.client("client"));
    let room = Room { stage, origin };

    let report = room
        .walk(&format!("{{ client_certificate: {certificate} }}"), PROBED)
        .await;

    assert!(report.failed().is_none(), "{report:?}");
    assert_eq!(room.origin.tally().heads, 1);
}

#[tokio::test]
async fn a_report_tells_every_leg_of_the_way_also_those_that_were_not_walked() {
    let room = Room::answering(200).await;
    let authority = Authority::plain(&room.stage.server()).await;
    authority.answer_with(|_, _| bearer("tok-1", 600));
    let reached = [("resolve", "good"), ("connect", "good"), ("tls", "good")];
    for (auth, own) in [
        ("none".to_owned(), vec![("probe", "skipped")]),
        (
            basic("svc", "pass-word"),
            vec![("validation", "skipped"), ("probe", "skipped")],
        ),
        (
            with_secret(&authority.token_url()),
            vec![("token", "good"), ("probe", "skipped")],
        ),
    ] {
        let report = room.walk(&auth, "").await;

        assert_eq!(shape(&report), [&reached[..], &own].concat());
    }
    let nowhere = connector_with(
        "c",
        "https://nowhere.invalid/",
        &with_secret(&authority.token_url()),
        PROBED,
    );
    let report = room.walk_own(&connectors(&[nowhere])).await;
    let told = ["connect", "tls", "token", "probe"].map(|leg| (leg, "skipped"));
    assert_eq!(
        shape(&report),
        [&[("resolve", "failed")], &told[..]].concat()
    );
    assert_eq!(
        authority.count(),
        1,
        "nobody is asked behind a leg that failed"
    );
}

#[tokio::test]
async fn a_walk_has_an_end_although_every_limit_within_it_is_longer() {
    let room = Room::with(scripted(|_| std::future::pending())).await;
    let turned = Turned::starting_at(UNIX_EPOCH);
    let more = format!("{PROBED}, upstream: {{ response_head: 1h }}");
    let own = connectors(&[connector_with("c", &room.origin.url("/"), "none", &more)]);
    let validator = validator(&room.stage, &own, Clock::turned(&turned));
    let config = room.stage.config(&own).unwrap();

    let (report, ()) = tokio::join!(validator.walk(&config.connectors[0]), async {
        room.origin.until(|tally| tally.heads == 1).await;
        turned.advance(Duration::from_secs(30));
    });

    let (leg, said) = failed(&report);
    assert_eq!(leg, "probe");
    assert!(said.contains("within 30s"), "{said}");
    assert_eq!(shape(&report)[2], ("tls", "good"));
}

#[tokio::test]
async fn a_walk_holds_no_token_for_the_next_one() {
    let room = Room::answering(200).await;
    let authority = Authority::plain(&room.stage.server()).await;
    authority.answer_with(|_, _| bearer("tok-1", 600));
    let auth = with_secret(&authority.token_url());
    let own = connectors(&[connector("c", &room.origin.url("/"), &auth)]);
    let validator = validator(&room.stage, &own, Clock::system());
    let config = room.stage.config(&own).unwrap();

    for walks in 1..=2 {
        let report = validator.walk(&config.connectors[0]).await;

        assert!(report.failed().is_none(), "{report:?}");
        assert_eq!(authority.count(), walks);
    }
}

#[tokio::test]
async fn a_reload_changes_where_walks_may_lead() {
    let room = Room::answering(200).await;
    let own = connectors(&[connector("c", &room.origin.url("/"), "none")]);
    let closed = format!("trust: {{ ca_bundles: [{{ file: ca.pem }}] }}\n{own}");
    let validator = validator(&room.stage, &closed, Clock::system());
    let config = room.stage.config(&own).unwrap();
    let connector = &config.connectors[0];

    let report = validator.walk(connector).await;
    let (leg, said) = failed(&report);
    assert_eq!(leg, "resolve");
    // Whoever tries names learns nothing of a network that is closed to them.
    assert!(said.contains("in the refused range 127.0.0.0/8"), "{said}");
    assert!(!said.contains("127.0.0.1"), "{said}");
    validator.update(&config).unwrap();
    let report = validator.walk(connector).await;

    assert!(report.failed().is_none(), "{report:?}");
}
