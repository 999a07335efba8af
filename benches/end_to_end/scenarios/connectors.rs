//! Start, and memory, with many connectors.

use std::fmt::Write;
use std::time::Duration;

use super::{KIB, MIB, Scene, grouped, median};
use crate::figures::Finding;
use crate::peers::AttacheExtra;

/// What nearly every figure is compared with.
const FEW: usize = 10;
/// How often a start is timed.
const STARTS: usize = 3;
/// How long memory has to stay the same, and how long that is waited for: what parsing took is
/// given back some seconds later.
const STILL: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(12);
/// Different token endpoints, and different hosts' domains.
const TENANTS: usize = 500;

/// How they authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Basic,
    OAuth2,
}

/// A start and the memory afterwards.
struct Started {
    seconds: f64,
    bytes: f64,
}

pub(super) fn play(scene: &Scene<'_>) {
    let starts = scene.pick(STARTS, 1);
    let few = start(scene, FEW, Scheme::Basic, starts);
    tell(scene, FEW, &few);
    let some = start(scene, 1_000, Scheme::Basic, starts);
    tell(scene, 1_000, &some);
    let each = |many: &Started, number: usize, scheme| {
        let all = (many.bytes - few.bytes) / (number - FEW) as f64;
        (all - secret(0, scheme).len() as f64) / KIB
    };
    if scene.pick(false, true) {
        let basic = each(&some, 1_000, Scheme::Basic);
        scene.found(Finding::new(&name(1_000), EACH, basic, "KiB"));
        return;
    }
    let number = 100_000;
    let basic = start(scene, number, Scheme::Basic, starts);
    tell(scene, number, &basic);
    let basic = each(&basic, number, Scheme::Basic);
    let beside = "Basic; the next line has OAuth client credentials";
    scene.found(Finding::new(&name(number), EACH, basic, "KiB").beside(beside));
    let oauth2 = start(scene, number, Scheme::OAuth2, 1);
    let with_tokens = each(&oauth2, number, Scheme::OAuth2);
    let what = format!("{EACH}, OAuth");
    let took = format!("start {:.2} s", oauth2.seconds);
    scene.found(Finding::new(&name(number), &what, with_tokens, "KiB").beside(took));
}

const EACH: &str = "each beside its secrets";

/// `100,000 connectors`.
fn name(number: usize) -> String {
    format!("{} connectors", grouped(number))
}

fn tell(scene: &Scene<'_>, number: usize, started: &Started) {
    scene.found(Finding::new(&name(number), "start", started.seconds, "s"));
    let mebibytes = started.bytes / MIB;
    scene.found(Finding::new(
        &name(number),
        "resident memory",
        mebibytes,
        "MiB",
    ));
}

/// Starts a gateway with so many connectors, several times; looks at the last one's memory.
fn start(scene: &Scene<'_>, number: usize, scheme: Scheme, times: usize) -> Started {
    let extra = AttacheExtra {
        connectors: many(number, scheme),
        ..AttacheExtra::default()
    };
    let mut seconds = Vec::new();
    loop {
        let contender = scene.start(&extra);
        seconds.push(contender.start.as_secs_f64());
        if seconds.len() == times {
            let still = scene.pick(STILL, Duration::from_millis(750));
            return Started {
                seconds: median(seconds),
                bytes: scene.settled(&contender, still, LONGEST),
            };
        }
    }
}

/// So many connectors to resource domains of their own, as list entries of YAML.
pub(super) fn many(number: usize, scheme: Scheme) -> String {
    let mut text = String::new();
    for n in 0..number {
        let tenant = n % TENANTS;
        let secret = secret(n, scheme);
        let auth = match scheme {
            Scheme::Basic => format!("basic: {{ username: svc{n}, password: {secret} }}"),
            Scheme::OAuth2 => format!(
                "oauth2: {{ token_url: \"https://login{tenant}.example.com/tenant{n}/token\", \
                 client_id: client-{n}, client_secret: {secret}, scope: api }}"
            ),
        };
        writeln!(
            text,
            "  - {{ id: connector-{n:06}, name: Connector number {n}, resource_domain: \
             \"https://api{n}.tenant{tenant}.example.com/api/v1\", auth: {{ {auth} }} }}"
        )
        .unwrap();
    }
    text
}

/// What is stored for one, as long for each.
fn secret(n: usize, scheme: Scheme) -> String {
    match scheme {
        Scheme::Basic => format!("secret-{n:08}-abcdef"),
        Scheme::OAuth2 => format!("secret-{n:08}-abcdef-0123456789"),
    }
}
