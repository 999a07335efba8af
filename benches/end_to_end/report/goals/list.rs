//! The goals themselves. Findings are known by their scenario and by what was found: scenarios have
//! to say them in the words that stand here.

use super::super::super::figures::names;
use super::{Figure, Goal};

/// Every goal, in the order they are shown.
pub(super) const GOALS: &[Goal] = &[
    cost(SMALL_GET, "small-get-64", names::NGINX, 0.90, None),
    cost(SMALL_GET, "small-get-64", names::HAPROXY, 0.85, None),
    cost(SMALL_GET, "small-get-64", names::NGINX_LUA, 0.75, None),
    cost(SMALL_GET, "small-get-64", names::ENVOY, 0.32, None),
    cost(SMALL_GET, "small-get-64", names::FLOOR, 1.12, Some(1.02)),
    Goal {
        what: "a bearer token from the cache instead of Basic: instructions",
        figure: Figure::Instructions {
            walk: "small GET, token from the cache",
            other: "small GET, Basic",
        },
        must: Some(1.03),
        aim: None,
    },
    cost(
        "16 KiB answers: CPU per request",
        "get-16k-64",
        names::NGINX,
        0.80,
        Some(0.72),
    ),
    cost(
        "1 MiB answers: CPU per request",
        "get-1m-64",
        names::NGINX,
        0.85,
        Some(0.75),
    ),
    cost(
        "HTTP/2 client to HTTP/1.1 origin: CPU per request",
        "http2-64",
        names::NGINX,
        0.80,
        Some(0.65),
    ),
    cost(
        "a new client connection per request: CPU per request",
        "new-connection",
        names::NGINX,
        1.10,
        Some(1.00),
    ),
    Goal {
        what: "fixed rate at half of nginx's maximum: added p99",
        figure: Figure::AddedP99 {
            load: "fixed-rate",
            contender: names::ATTACHE,
            other: names::NGINX,
        },
        must: Some(0.0),
        aim: None,
    },
    found(
        "idle client connection",
        "after a request",
        "KiB",
        24.0,
        Some(8.0),
    ),
    found(
        "idle client connection",
        "before its first byte",
        "KiB",
        2.0,
        Some(1.0),
    ),
    found("100,000 connectors", "start", "s", 2.0, Some(1.0)),
    found(
        "100,000 connectors",
        "each beside its secrets",
        "KiB",
        2.0,
        Some(1.0),
    ),
    Goal {
        what: "100,000 connectors instead of 10: instructions of a request with its lookup",
        figure: Figure::Instructions {
            walk: "small GET among 100,000 connectors",
            other: "small GET among 10 connectors",
        },
        must: Some(1.03),
        aim: None,
    },
    found(
        "a connector changed among 100,000",
        "visible",
        "ms",
        50.0,
        None,
    ),
    found(
        "a connector changed among 100,000",
        "p99 beside no changes",
        "×",
        1.10,
        None,
    ),
    found(
        "handshakes at low rate",
        "16 workers, warm pool",
        "%",
        2.0,
        Some(0.0),
    ),
    cost_of_own(
        "access log of everything: CPU per request",
        "Attaché, access log",
        1.10,
        1.05,
    ),
    cost_of_own(
        "2 workers instead of 1: CPU per request",
        "Attaché, 2 workers",
        1.05,
        1.00,
    ),
];

const SMALL_GET: &str = "small GET, 64 connections: CPU per request";

const fn cost(
    what: &'static str,
    load: &'static str,
    other: &'static str,
    must: f64,
    aim: Option<f64>,
) -> Goal {
    let contender = names::ATTACHE;
    Goal {
        what,
        figure: Figure::Ratio {
            load,
            contender,
            other,
        },
        must: Some(must),
        aim,
    }
}

/// Of Attaché with something else switched on, to Attaché.
const fn cost_of_own(what: &'static str, contender: &'static str, must: f64, aim: f64) -> Goal {
    Goal {
        what,
        figure: Figure::Ratio {
            load: "small-get-64",
            contender,
            other: names::ATTACHE,
        },
        must: Some(must),
        aim: Some(aim),
    }
}

const fn found(
    scenario: &'static str,
    what: &'static str,
    unit: &'static str,
    must: f64,
    aim: Option<f64>,
) -> Goal {
    Goal {
        what: "",
        figure: Figure::Found {
            scenario,
            what,
            unit,
        },
        must: Some(must),
        aim,
    }
}
