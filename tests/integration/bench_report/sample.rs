//! Invented runs, and their reports.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::figures::{
    Finding, Measure, PERCENTILES, Plan, Results, Round, Series, Table, Version, names,
};
use super::machine::Machine;
use super::report::counts::Counts;
use super::report::{self, goals};

/// Rounds of one contender that cost so many microseconds of processor time per request.
pub(crate) fn series(contender: &str, costs: &[f64]) -> Series {
    let rounds = costs.iter().map(|cost| round(*cost, 100, 400)).collect();
    Series {
        contender: contender.to_owned(),
        rounds,
    }
}

/// A round of 10,000 requests, each of which cost `cost` microseconds.
pub(crate) fn round(cost: f64, p50_micros: u64, p99_micros: u64) -> Round {
    let (p50, p99) = (
        Duration::from_micros(p50_micros),
        Duration::from_micros(p99_micros),
    );
    let of_p50 = [0.8, 1.0, 1.1, 1.4, 1.9, 0.0, 0.0];
    let of_p99 = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.2];
    let at = |place: usize| p50.mul_f64(of_p50[place]) + p99.mul_f64(of_p99[place]);
    Round {
        requests: 10_000,
        failures: 0,
        took: Duration::from_millis(500),
        cpu: Duration::from_secs_f64(cost * 1e-6 * 10_000.0),
        waited: Duration::from_millis(2),
        resident_bytes: 21 << 20,
        p50,
        p99,
        percentiles: (0..PERCENTILES.len()).map(at).collect(),
    }
}

/// What a load costs in processor time.
pub(crate) fn table(load: &str, series: Vec<Series>) -> Table {
    Table {
        load: load.to_owned(),
        title: "GET of 100 bytes, 64 connections".to_owned(),
        measure: Measure::CpuPerRequest,
        series,
    }
}

/// What a load at a fixed rate adds: each contender with the 99th percentiles of its rounds.
pub(crate) fn fixed_rate(contenders: &[(&str, &[u64])]) -> Table {
    let series = contenders.iter().map(|(name, p99)| Series {
        contender: (*name).to_owned(),
        rounds: p99.iter().map(|p99| round(12.0, p99 / 4, *p99)).collect(),
    });
    Table {
        load: "fixed-rate".to_owned(),
        title: "GET of 100 bytes at half of what nginx carries, latency added to the origin's own"
            .to_owned(),
        measure: Measure::AddedP99,
        series: series.collect(),
    }
}

/// A run in which everything was measured.
pub(crate) fn results() -> Results {
    let costs = vec![
        series(names::ATTACHE, &[11.3, 11.2, 11.4, 11.3, 11.2]),
        series(names::NGINX, &[13.0, 12.9, 13.1, 13.0, 13.1]),
        series(names::NGINX_LUA, &[16.0, 15.8, 16.3, 16.0, 16.1]),
        series(names::HAPROXY, &[14.0, 13.1, 15.3, 14.2, 12.9]),
        series(
            "Attaché, token from the cache",
            &[11.5, 11.4, 11.4, 11.6, 11.5],
        ),
        series(names::FLOOR, &[10.5, 10.4, 10.6, 10.5, 10.4]),
        series(names::ENVOY, &[39.0, 38.5, 39.9, 39.2, 38.8]),
    ];
    let fixed_rate = fixed_rate(&[
        (names::DIRECT, &[210, 205, 214]),
        (names::ATTACHE, &[350, 360, 352]),
        (names::NGINX, &[380, 376, 391]),
        (names::NGINX_LUA, &[420, 422, 431]),
        (names::HAPROXY, &[360, 361, 377]),
        (names::FLOOR, &[330, 328, 341]),
        (names::ENVOY, &[900, 890, 1103]),
    ]);
    Results {
        versions: vec![Version {
            contender: names::NGINX.to_owned(),
            version: "nginx/1.22.1".to_owned(),
        }],
        tables: vec![table("small-get-64", costs), fixed_rate],
        findings: vec![
            Finding::new("100,000 connectors", "start", 1.31, "s"),
            Finding {
                beside: Some("nginx: 31 KiB | measured".to_owned()),
                ..Finding::new("idle client connection", "after a request", 7_700.0, "B")
            },
        ],
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        rounds: 5,
        round: Duration::from_secs(2),
        threads: 1,
        command: "cargo bench --bench end_to_end -- --rounds 5".to_owned(),
    }
}

pub(crate) fn machine() -> Machine {
    Machine {
        date: "2026-11-21 16:05 UTC".to_owned(),
        cpu: Some("A processor".to_owned()),
        processors: 2,
        memory_bytes: Some(8 << 30),
        attache: "0.1.0".to_owned(),
        ..Machine::default()
    }
}

/// The report of `results`, written to a directory of its own.
pub(crate) fn written(results: &Results) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), results, &machine());
    folder
}

/// The report of `results`, made on `machine`, written to `folder`.
pub(crate) fn write(folder: &Path, results: &Results, machine: &Machine) {
    let outcomes = goals::outcomes(results, &Counts::default());
    report::write(folder, results, &outcomes, machine, &plan());
}

/// What a run shows on the terminal.
pub(crate) fn terminal(results: &Results) -> String {
    report::terminal(results, &goals::outcomes(results, &Counts::default()))
}

/// What `file` in `folder` says.
pub(crate) fn read(folder: &TempDir, file: &str) -> String {
    fs::read_to_string(folder.path().join(file)).unwrap()
}

/// The names of the files in `folder`, in order.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
