//! Single rooms of a request's way, timed: `cargo bench --bench micro`, or with a part of a name
//! behind it only those (`-- resolve`). benches/README.md says how it is to be read.
//!
//! What these cost together is a small part of a request's walk: they say where in it time goes, and
//! whether it grows with the number of connectors. What a change costs the walk as a whole,
//! `cargo bench --bench instructions` says, on a noisy machine too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here ends the run"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, header, request};
use tokio::runtime::Runtime;

mod house;
#[path = "../instructions/origin.rs"]
#[allow(dead_code, reason = "nothing here goes as far as an HTTP/2 origin")]
mod origin;

use house::House;

/// How many connectors are published at once.
const CONNECTORS: [usize; 3] = [10, 1_000, 100_000];

fn main() {
    // Whoever lists or runs tests runs this too, without the word that asks for figures.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let house = House::of(CONNECTORS[0]);
    resolve(&mut criterion, &house);
    obtain(&mut criterion, &house);
    rewrite(&mut criterion, &house);
    scrub(&mut criterion, &house);
    look_up(&mut criterion);
    criterion.final_summary();
}

/// From a target to a connector and a path on its origin.
fn resolve(criterion: &mut Criterion, house: &House) {
    let snapshot = house.snapshot();
    let mut group = criterion.benchmark_group("resolve");
    for (name, flow) in [
        ("plain", flow("/many-7/b/100")),
        (
            "query",
            flow("/many-7/v1/orders/4711?expand=lines&limit=50"),
        ),
        ("encoded", flow("/many-7/v1/caf%C3%A9/a%20b")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| house.doors.resolve(black_box(&flow), &snapshot).is_ok());
        });
    }
    group.finish();
}

/// The credential of a request, which is there already.
fn obtain(criterion: &mut Criterion, house: &House) {
    let snapshot = house.snapshot();
    let runtime = runtime();
    let mut group = criterion.benchmark_group("obtain");
    for id in ["basic", "token"] {
        let source = &snapshot.entry(id).unwrap().source;
        // A token is fetched once, here.
        runtime.block_on(source.obtain()).unwrap();
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let obtained = black_box(source).obtain().now_or_never();
                obtained.unwrap().unwrap()
            });
        });
    }
    group.finish();
}

/// The head that the origin receives.
fn rewrite(criterion: &mut Criterion, house: &House) {
    let snapshot = house.snapshot();
    let credential = house.credential("basic");
    let mut group = criterion.benchmark_group("rewrite");
    for (name, flow) in [
        ("2 fields", flow("/basic/b/100")),
        ("20 fields", with_fields(flow("/basic/b/100"), 18)),
    ] {
        let permitted = house.doors.permit(&flow, &snapshot).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let credential = credential.clone();
                house
                    .doors
                    .rewrite(black_box(&flow), &permitted, credential)
            });
        });
    }
    group.finish();
}

/// The head of an answer without the credential in it, as nearly all are.
fn scrub(criterion: &mut Criterion, house: &House) {
    let snapshot = house.snapshot();
    let permitted = house
        .doors
        .permit(&flow("/basic/b/100"), &snapshot)
        .unwrap();
    let mut group = criterion.benchmark_group("scrub");
    for (name, fields) in [("4 fields", answer(0)), ("16 fields", answer(12))] {
        let bytes: usize = fields.values().map(HeaderValue::len).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        for id in ["basic", "token"] {
            let credential = house.credential(id);
            group.bench_function(BenchmarkId::new(name, id), |bencher| {
                bencher.iter_batched_ref(
                    || fields.clone(),
                    |fields| permitted.scrub(fields, &credential),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

/// One connector among many, each time another.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look up");
    for connectors in CONNECTORS {
        let house = House::of(connectors);
        let snapshot = house.snapshot();
        // An odd step walks through all of them in no order that a cache would follow.
        let ids: Vec<_> = (0..connectors)
            .map(|turn| format!("many-{}", turn * 7_919 % connectors))
            .collect();
        let mut ids = ids.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(connectors), |bencher| {
            bencher.iter(|| snapshot.entry(ids.next().unwrap()).unwrap());
        });
    }
    group.finish();
}

/// A small GET's head, as curl sends it.
fn flow(target: &str) -> request::Parts {
    let request = Request::get(target)
        .header(header::HOST, "127.0.0.1:8080")
        .header(header::USER_AGENT, "flow/1.0")
        .header(header::ACCEPT, "*/*");
    request.body(()).unwrap().into_parts().0
}

fn with_fields(mut flow: request::Parts, more: usize) -> request::Parts {
    flow.headers.extend(fields(more));
    flow
}

/// An answer's fields: four that all have, and `more`.
fn answer(more: usize) -> HeaderMap {
    let mut answer: HeaderMap = fields(more).collect();
    for (name, value) in [
        (header::SERVER, "origin"),
        (header::DATE, "Sat, 21 Nov 2026 12:00:00 GMT"),
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_LENGTH, "100"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn fields(count: usize) -> impl Iterator<Item = (header::HeaderName, HeaderValue)> {
    (0..count).map(|number| {
        let name = format!("x-field-{number}").parse().unwrap();
        (
            name,
            HeaderValue::from_static("some value of a usual length"),
        )
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
