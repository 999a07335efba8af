//! What every contender that can is loaded with.

use crate::figures::Measure;
use crate::load::{Client, Exchange, Load, Pace};

/// A load, where it goes, and what of it is compared.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) load: Load,
    pub(crate) way: Way,
    pub(crate) measure: Measure,
}

/// Which way through a contender requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 on both sides.
    Http1,
    /// HTTP/1.1 on both sides, a client connection for each request. The relay that does not read
    /// HTTP would need an origin connection for each, too: it is no floor here.
    Http1NewEach,
    /// HTTP/2 from clients, HTTP/1.1 to the origin.
    Http2To1,
    /// HTTP/2 on both sides.
    Http2,
}

/// The load whose rounds say what a contender carries at most, and in which Attaché's variants take
/// part.
pub(crate) const MAIN: &str = "small-get-64";
/// The load whose pace depends on [`MAIN`]'s.
pub(crate) const FIXED_RATE: &str = "fixed-rate";

const SMALL: Exchange = Exchange::Get { answer_bytes: 100 };

/// The closed loops, in the order they are run.
pub(crate) fn closed() -> Vec<Trial> {
    let mut all = kept_alive();
    all.extend(others());
    all
}

/// HTTP/1.1 on connections that are kept.
fn kept_alive() -> Vec<Trial> {
    let get = |answer_bytes| Exchange::Get { answer_bytes };
    let upload = |request_bytes| Exchange::Upload { request_bytes };
    [
        ("small-get-1", "GET of 100 bytes, 1 connection", SMALL, 1),
        (MAIN, "GET of 100 bytes, 64 connections", SMALL, 64),
        (
            "small-get-512",
            "GET of 100 bytes, 512 connections",
            SMALL,
            512,
        ),
        (
            "get-16k-64",
            "GET of 16 KiB, 64 connections",
            get(16 << 10),
            64,
        ),
        (
            "get-1m-64",
            "GET of 1 MiB, 64 connections",
            get(1 << 20),
            64,
        ),
        (
            "upload-64k-64",
            "POST of 64 KiB, 64 connections",
            upload(64 << 10),
            64,
        ),
    ]
    .map(|(name, title, exchange, connections)| {
        trial(
            name,
            title,
            exchange,
            Client::KeptAlive,
            connections,
            Way::Http1,
        )
    })
    .into()
}

fn others() -> [Trial; 3] {
    let (http2, http2_connections) = (Client::Http2 { streams: 8 }, 8);
    [
        trial(
            "http2-64",
            "GET of 100 bytes, HTTP/2 clients, HTTP/1.1 origin, 8 connections of 8 streams",
            SMALL,
            http2,
            http2_connections,
            Way::Http2To1,
        ),
        trial(
            "http2-http2-64",
            "GET of 100 bytes, HTTP/2 clients, HTTP/2 origin, 8 connections of 8 streams",
            SMALL,
            http2,
            http2_connections,
            Way::Http2,
        ),
        trial(
            "new-connection",
            "GET of 100 bytes, a new connection for each, 64 at a time",
            SMALL,
            Client::NewEach,
            64,
            Way::Http1NewEach,
        ),
    ]
}

/// The open loop: requests are due at a fixed rate, whether those before are answered or not.
pub(crate) fn fixed_rate(per_second: u32) -> Trial {
    let title = "GET of 100 bytes at half of what nginx carries, latency added to the origin's own";
    let mut trial = trial(FIXED_RATE, title, SMALL, Client::KeptAlive, 64, Way::Http1);
    trial.load.pace = Pace::Open { per_second };
    trial.measure = Measure::AddedP99;
    trial
}

fn trial(
    name: &'static str,
    title: &'static str,
    exchange: Exchange,
    client: Client,
    connections: usize,
    way: Way,
) -> Trial {
    let load = Load {
        name,
        title,
        exchange,
        client,
        connections,
        pace: Pace::Closed,
    };
    Trial {
        load,
        way,
        measure: Measure::CpuPerRequest,
    }
}
