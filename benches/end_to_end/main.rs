//! Attaché beside what users would pick instead: `cargo bench --bench end_to_end`.
//! benches/README.md says how it is run, how it is to be read, and what it showed.
//!
//! | file | what is in it |
//! |---|---|
//! | `arguments` | what may be asked of a run |
//! | `figures` | what was measured, as data; the rule about noise |
//! | `machine` | what it was measured on |
//! | `processors` | who runs where; processor time and memory of a process |
//! | `stage` · `origin` | certificates, the origin and the token endpoint, in a process of their own |
//! | `peers/` | the contenders: found, configured alike, started |
//! | `running` | a process that ends with this one |
//! | `load/` | what is sent: closed and open loops, HTTP/1.1 and HTTP/2 |
//! | `loads` · `rounds` | interleaved rounds of every load with every contender |
//! | `scenarios/` | what has no rounds to compare: memory, start, handshakes, expiry |
//! | `report/` | the table on the terminal, `report.md` with its plots, JSON |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here ends the run"
)]

mod arguments;
mod figures;
#[allow(dead_code, reason = "tests/integration/load_tool uses the rest")]
mod load;
mod loads;
mod machine;
mod origin;
mod peers;
mod processors;
mod report;
mod rounds;
mod running;
mod scenarios;
mod stage;

use std::env;
use std::process::ExitCode;

use mimalloc::MiMalloc;

use arguments::Arguments;
use figures::{Plan, Results, Table, Version, names};
use load::Target;
use loads::{Trial, Way};
use machine::Machine;
use peers::{AttacheExtra, Contender, Kind};
use processors::Processors;
use rounds::Lane;
use scenarios::{Length, published};
use stage::Stage;

/// The program's own: a scenario makes a gateway of the library's rooms.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Attaché's variants, which take part in the main load.
const WITH_TOKEN: &str = "Attaché, token from the cache";
const WITH_ACCESS_LOG: &str = "Attaché, access log";
const WITH_TWO_WORKERS: &str = "Attaché, 2 workers";
/// Rounds in which nginx's maximum is found out where [`loads::MAIN`] is not run.
const ROUNDS_FOR_MAXIMUM: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    if let [_, word, arguments @ ..] = words.as_slice()
        && word == origin::WORD
    {
        origin::run(arguments);
        return ExitCode::SUCCESS;
    }
    if let [_, word, arguments @ ..] = words.as_slice()
        && word == published::WORD
    {
        published::run(arguments);
        return ExitCode::SUCCESS;
    }
    if let Some(code) = load::against::run_from_words(env::args_os()) {
        return code.into();
    }
    match Arguments::parse_from_words(env::args_os()) {
        // Tests are run or listed.
        None => {}
        Some(Err(error)) => error.exit(),
        Some(Ok(arguments)) if arguments.keep => keep(),
        Some(Ok(arguments)) => {
            if let Err(sentence) = ready(&arguments) {
                eprintln!("{sentence}");
                return ExitCode::from(2);
            }
            if arguments.list {
                list(&arguments);
            } else if let missing @ [_, ..] = &*measure(&arguments) {
                eprintln!("Not measured of Attaché itself: {}", missing.join("; "));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Says in a sentence what stands against the run, before it begins.
fn ready(arguments: &Arguments) -> Result<(), String> {
    let mut names: Vec<_> = all_loads().map(|load| load.name).collect();
    names.push(scenarios::WORD);
    match arguments.unknown(&names) {
        Some(word) => Err(format!("--only: `{word}` is none of {}", names.join(", "))),
        None if arguments.list => Ok(()),
        None => processors::ready(),
    }
}

fn all_loads() -> impl Iterator<Item = load::Load> {
    let closed = loads::closed().into_iter().map(|trial| trial.load);
    closed.chain([loads::fixed_rate(1).load])
}

/// Copies the last report to where it is checked in.
fn keep() {
    match report::keep::keep() {
        Ok(to) => println!("The last report and its plots: {}", to.display()),
        Err(sentence) => {
            eprintln!("{sentence}");
            std::process::exit(1);
        }
    }
}

fn list(arguments: &Arguments) {
    for load in all_loads() {
        if arguments.wants(load.name) {
            println!("{:16} {}", load.name, load.title);
        }
    }
}

/// Measures, and shows what came of it. Returns what of Attaché itself has no figures: a run that
/// shows that the harness works must not pass without them.
fn measure(arguments: &Arguments) -> Vec<String> {
    let (machine, mut plan) = (Machine::look(), arguments.plan());
    let processors = Processors::shared_out(plan.threads);
    // More threads than processors would measure the scheduler.
    plan.threads = processors.gateway_threads();
    processors.keep_to_load();
    eprintln!("{}", processors.described());
    let stage = Stage::start(&processors);
    let wanted = |kind: &Kind| *kind == Kind::Attache || arguments.wants_peer(kind.word());
    let peers: Vec<_> = Kind::ALL.into_iter().filter(wanted).collect();
    let contenders: Vec<_> = peers
        .iter()
        .filter_map(|kind| peers::start(*kind, &stage, plan.threads, &AttacheExtra::default()))
        .collect();
    let mut results = Results {
        versions: contenders.iter().map(Version::of).collect(),
        tables: tables(arguments, &stage, &contenders, &plan),
        findings: Vec::new(),
    };
    drop(contenders);
    let mut missing: Vec<_> = results.tables.iter().flat_map(without_figures).collect();
    if arguments.wants(scenarios::WORD) {
        let length = match arguments.quick {
            true => Length::Quick,
            false => Length::Full,
        };
        let ended_early = |scenario: &str| missing.push(scenario.to_owned());
        results.findings = scenarios::run_all(&stage, length, &peers, ended_early);
    }
    report::show(&results, &machine, &plan);
    missing
}

/// Attaché, or variants of it, that a table should have.
fn without_figures(table: &Table) -> Vec<String> {
    let variants = [WITH_TOKEN, WITH_ACCESS_LOG, WITH_TWO_WORKERS];
    let variants = variants.iter().filter(|_| table.load == loads::MAIN);
    let wanted = [names::ATTACHE].into_iter().chain(variants.copied());
    wanted
        .filter(|name| table.of(name).is_none())
        .map(|name| format!("{name} with {}", table.load))
        .collect()
}

impl Version {
    fn of(contender: &Contender) -> Self {
        Self {
            contender: contender.name.clone(),
            version: contender.version.clone(),
        }
    }
}

fn tables(
    arguments: &Arguments,
    stage: &Stage,
    contenders: &[Contender],
    plan: &Plan,
) -> Vec<Table> {
    let mut tables = Vec::new();
    let through = |way| {
        contenders
            .iter()
            .filter_map(move |one| Lane::through(one, way))
    };
    for trial in loads::closed() {
        let way = trial.way;
        match trial.load.name {
            name if !arguments.wants(name) => {}
            loads::MAIN => tables.push(main_table(stage, contenders, &trial, plan)),
            _ => tables.push(rounds::run(stage, &trial, through(way).collect(), plan)),
        }
    }
    if arguments.wants(loads::FIXED_RATE) {
        let maximum = maximum(
            stage,
            tables.iter().find(|table| table.load == loads::MAIN),
            contenders,
            plan,
        );
        let trial = loads::fixed_rate((maximum / 2.0) as u32);
        let directly = Lane {
            name: names::DIRECT.to_owned(),
            pids: Vec::new(),
            target: direct(stage),
        };
        let lanes = through(Way::Http1).chain([directly]).collect();
        tables.push(rounds::run(stage, &trial, lanes, plan));
    }
    tables
}

/// [`loads::MAIN`], in which Attaché takes part with a token, with an access log of everything, and
/// with two workers, too: on the same processors, as everything else.
fn main_table(stage: &Stage, contenders: &[Contender], trial: &Trial, plan: &Plan) -> Table {
    let variant = |name: &str, extra: AttacheExtra| {
        let mut variant = peers::start(Kind::Attache, stage, plan.threads, &extra)?;
        variant.name = name.to_owned();
        Some(variant)
    };
    let access_log = AttacheExtra {
        access_log: Some("all"),
        ..AttacheExtra::default()
    };
    let workers = AttacheExtra {
        workers: Some(2),
        ..AttacheExtra::default()
    };
    let variants = [
        variant(WITH_ACCESS_LOG, access_log),
        variant(WITH_TWO_WORKERS, workers),
    ];
    let all = contenders.iter().chain(variants.iter().flatten());
    let tokens = contenders
        .iter()
        .filter_map(|one| Lane::with_token(one, WITH_TOKEN));
    let lanes = all
        .filter_map(|one| Lane::through(one, trial.way))
        .chain(tokens);
    rounds::run(stage, trial, lanes.collect(), plan)
}

/// Requests a second that nginx carries at most; where there is none, Attaché.
fn maximum(stage: &Stage, measured: Option<&Table>, contenders: &[Contender], plan: &Plan) -> f64 {
    let of = |table: &Table| {
        let series = table
            .of(names::NGINX)
            .or_else(|| table.of(names::ATTACHE))?;
        series.spread(figures::Round::per_second)
    };
    let found = measured.and_then(of).or_else(|| {
        let trial = loads::closed()
            .into_iter()
            .find(|trial| trial.load.name == loads::MAIN)?;
        let kinds = [Kind::Nginx, Kind::Attache];
        let one = kinds
            .iter()
            .find_map(|kind| contenders.iter().find(|one| one.kind == *kind))?;
        let plan = Plan {
            rounds: ROUNDS_FOR_MAXIMUM,
            ..plan.clone()
        };
        let lanes = Lane::through(one, trial.way).into_iter().collect();
        of(&rounds::run(stage, &trial, lanes, &plan))
    });
    found.expect("Attaché answers").median
}

/// The origin without anything between, and without TLS: what its own answers take.
fn direct(stage: &Stage) -> Target {
    Target {
        address: stage.origin_plain,
        host: stage.origin_plain.to_string(),
        prefix: "/open".to_owned(),
        tls: None,
    }
}
