//! What a scraper sees.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::*;

fn id(text: &str) -> ConnectorId {
    ConnectorId::parse(text).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Whether `line` is one of the lines of a scrape.
fn shows(metrics: &Metrics, line: &str) -> bool {
    metrics.encode().lines().any(|shown| shown == line)
}

fn value_of(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map(|value| value.trim().to_owned())
}

#[test]
fn connectors_beyond_the_bound_share_one_series() {
    let metrics = Metrics::new(1, 2);
    for name in ["a", "b", "c", "d"] {
        let series = metrics.series(&id(name));
        series.answered(0, &Method::GET, StatusCode::OK, Duration::ZERO, None);
    }

    let line =
        |label| format!(r#"attache_requests_total{{connector="{label}",method="GET",code="200"}}"#);
    assert_eq!(value_of(&metrics, &line("a")).as_deref(), Some("1"));
    assert_eq!(value_of(&metrics, &line("c")), None);
    assert_eq!(value_of(&metrics, &line("other")).as_deref(), Some("2"));
}

#[test]
fn an_id_keeps_its_series_as_long_as_it_lives() {
    let metrics = Metrics::new(1, 1);
    let (own, shared) = (metrics.series(&id("a")), metrics.series(&id("b")));
    metrics.retain(|id| id != "a");

    assert!(Arc::ptr_eq(&metrics.series(&id("b")), &shared));
    let returned = metrics.series(&id("a"));
    assert!(!Arc::ptr_eq(&returned, &own));
    assert_eq!(&**returned.label(), "a");
}

#[test]
fn a_connector_that_is_gone_leaves_no_series_and_makes_room() {
    let metrics = Metrics::new(1, 1);
    metrics.series(&id("a")).refused(0, "busy");
    metrics.tokens().expiry("a", at(1));

    metrics.retain(|_| false);

    assert!(!metrics.encode().contains(r#"connector="a""#));
    assert_eq!(&**metrics.series(&id("b")).label(), "b");
}

#[test]
fn a_connector_cannot_take_the_name_of_a_shared_series() {
    let metrics = Metrics::new(1, 10);

    assert!(!Arc::ptr_eq(
        &metrics.series(&id("none")),
        &metrics.unknown()
    ));
    assert_eq!(&**metrics.series(&id("none")).label(), "other");
    assert_eq!(&**metrics.series(&id("other")).label(), "other");
    metrics.series(&id("other")).refused(0, "busy");
    let line = r#"attache_refused_total{connector="other",reason="busy"}"#;
    assert_eq!(metrics.encode().matches(line).count(), 1);
}

#[test]
fn of_certificates_that_share_a_series_the_earliest_shows() {
    let metrics = Metrics::new(1, 1);
    for name in ["a", "b", "c"] {
        metrics.series(&id(name));
    }
    metrics.certificate_expiry("b", "client", at(300));
    metrics.certificate_expiry("c", "client", at(200));
    metrics.certificate_expiry("b", "client", at(400));
    metrics.certificate_expiry("none", "listener", at(100));

    let line = |label, usage| {
        format!(
            r#"attache_certificate_expiry_timestamp_seconds{{connector="{label}",use="{usage}"}}"#
        )
    };
    let shown = |label, usage| value_of(&metrics, &line(label, usage));
    assert_eq!(shown("other", "client").as_deref(), Some("200"));
    assert_eq!(shown("none", "listener").as_deref(), Some("100"));
}

#[test]
fn a_reload_replaces_the_certificates() {
    let metrics = Metrics::new(1, 10);
    metrics.series(&id("a"));
    metrics.certificate_expiry("a", "client", at(100));

    metrics.replace_certificates([CertificateExpiry {
        connector: "a".into(),
        usage: "assertion",
        at: at(200),
    }]);

    let text = metrics.encode();
    assert!(!text.contains(r#"use="client""#));
    assert!(text.contains(r#"{connector="a",use="assertion"} 200"#));
}

#[test]
fn a_scrape_adds_the_workers_up() {
    let metrics = Metrics::new(3, 10);
    let series = metrics.series(&id("orders"));
    for worker in 0..3 {
        metrics.worker(worker).connection_opened();
        metrics.worker(worker).request_started();
        metrics.worker(worker).token_cache(CacheOutcome::Joined);
        let took = Duration::from_millis(20);
        series.answered(worker, &Method::GET, StatusCode::OK, took, Some(took / 2));
        series.upstream_connection(worker, ConnectionState::Busy, 1);
    }

    for line in [
        r#"attache_client_connections 3"#,
        r#"attache_requests_in_flight 3"#,
        r#"attache_token_cache_total{outcome="joined"} 3"#,
        r#"attache_requests_total{connector="orders",method="GET",code="200"} 3"#,
        r#"attache_request_duration_seconds_bucket{connector="orders",le="0.01"} 0"#,
        r#"attache_request_duration_seconds_bucket{connector="orders",le="0.025"} 3"#,
        r#"attache_request_duration_seconds_bucket{connector="orders",le="60"} 3"#,
        r#"attache_request_duration_seconds_bucket{connector="orders",le="+Inf"} 3"#,
        r#"attache_request_duration_seconds_sum{connector="orders"} 0.06"#,
        r#"attache_request_duration_seconds_count{connector="orders"} 3"#,
        r#"attache_upstream_duration_seconds_bucket{connector="orders",le="0.01"} 3"#,
        r#"attache_upstream_connections{connector="orders",state="busy"} 3"#,
    ] {
        assert!(shows(&metrics, line), "{line}\n{}", metrics.encode());
    }
}

#[test]
fn token_requests_are_counted_by_outcome() {
    let metrics = Metrics::new(1, 10);
    let tokens = metrics.tokens();
    for outcome in [
        TokenOutcome::Ok,
        TokenOutcome::Rejected,
        TokenOutcome::Malformed,
        TokenOutcome::Timeout,
        TokenOutcome::Unreachable,
    ] {
        tokens.request("crm", outcome, Duration::from_millis(1));
    }
    tokens.expiry("crm", at(1_800_000_000));

    for outcome in tokens::TOKEN_OUTCOMES {
        let line =
            format!(r#"attache_token_requests_total{{connector="crm",outcome="{outcome}"}} 1"#);
        assert!(shows(&metrics, &line), "{line}");
    }
    assert!(shows(
        &metrics,
        "attache_token_request_duration_seconds_count 5"
    ));
    assert!(shows(
        &metrics,
        r#"attache_token_expiry_timestamp_seconds{connector="crm"} 1800000000"#
    ));
}

#[test]
fn every_family_shows_with_its_help_and_type_and_no_other_does() {
    let metrics = Metrics::new(1, 10);
    let series = metrics.series(&id("a"));
    let took = Duration::from_millis(1);
    series.answered(0, &Method::GET, StatusCode::OK, took, Some(took));
    series.refused(0, "busy");
    metrics.tokens().request("a", TokenOutcome::Ok, took);
    metrics.tokens().expiry("a", at(1));
    metrics.certificate_expiry("a", "client", at(1));
    metrics.reloaded(ReloadOutcome::Failed);
    metrics.admin().count("connectors.read", StatusCode::OK);
    metrics.store().stands(StoreFigures {
        up: true,
        revision: 1,
        served: 1,
        broken: 0,
    });

    let text = metrics.encode();

    for family in FAMILIES {
        let kind = format!("{:?}", family.kind).to_lowercase();
        for line in [
            format!("# HELP {} {}", family.name, family.help),
            format!("# TYPE {} {kind}", family.name),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}");
        }
    }
    let types = text
        .lines()
        .filter(|line| line.starts_with("# TYPE attache_"));
    assert_eq!(types.count(), FAMILIES.len());
    assert!(text.contains(r#"attache_config_reloads_total{outcome="failed"} 1"#));
    assert!(text.contains("process_resident_memory_bytes"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!(r#"attache_build_info{{version="{version}"}} 1"#)));
}

#[test]
fn another_bound_holds_for_the_connectors_that_come_after_it() {
    let metrics = Metrics::new(1, 1);
    let (own, shared) = (metrics.series(&id("a")), metrics.series(&id("b")));

    metrics.bound_series(2);
    assert_eq!(&**metrics.series(&id("c")).label(), "c");
    metrics
        .tokens()
        .request("a", TokenOutcome::Ok, Duration::ZERO);
    metrics
        .tokens()
        .request("c", TokenOutcome::Ok, Duration::ZERO);
    assert!(
        metrics
            .encode()
            .contains(r#"{connector="c",outcome="ok"} 1"#)
    );

    metrics.bound_series(0);
    assert_eq!(&**metrics.series(&id("d")).label(), "other");
    assert!(Arc::ptr_eq(&metrics.series(&id("a")), &own));
    assert!(Arc::ptr_eq(&metrics.series(&id("b")), &shared));
}

#[test]
fn the_store_is_shown_where_there_is_one() {
    let metrics = Metrics::new(1, 1);
    assert!(!metrics.encode().contains("attache_store"));

    metrics.store().stands(StoreFigures {
        up: false,
        revision: 17,
        served: 3,
        broken: 1,
    });

    assert!(shows(&metrics, "attache_store_up 0"));
    assert!(shows(&metrics, "attache_store_revision 17"));
    assert!(shows(
        &metrics,
        "attache_store_connectors{state=\"served\"} 3"
    ));
    assert!(shows(
        &metrics,
        "attache_store_connectors{state=\"broken\"} 1"
    ));
}
