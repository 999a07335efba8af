//! Memory of client connections that wait: after a request, and before the first byte of one.
//!
//! Each contender starts anew for each of the two, so that no memory is used again that the other
//! left behind.

use std::io;
use std::time::Duration;

use super::caller::Caller;
use super::{KIB, Scene, grouped, open_files};
use crate::figures::{Finding, names};
use crate::load::Target;
use crate::peers::{self, AttacheExtra, Contender, Kind};

const NAME: &str = "idle client connection";
/// Few of them share what a gateway has anyway: no figure for the goals.
const QUICK_NAME: &str = "1,000 idle client connections";
/// How many wait, where as many files may be open.
const CONNECTIONS: usize = 10_000;
const QUICK_CONNECTIONS: usize = 1_000;
/// Open files beside the connections.
const OTHER_FILES: usize = 500;
/// How many came and went before: what a gateway keeps for its first ones is nobody's in particular.
const BEFORE: usize = 256;
/// Who is looked at beside Attaché.
const PEERS: [Kind; 2] = [Kind::Nginx, Kind::Haproxy];

/// What the connections did before they waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    ARequest,
    Nothing,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::ARequest => "after a request",
            Self::Nothing => "before its first byte",
        }
    }

    /// How long memory has to stay the same, and how long that is waited for. Attaché gives up what
    /// it holds for idle connections some hundreds at a time, and waits ten seconds for a first
    /// byte.
    fn patience(self) -> (Duration, Duration) {
        match self {
            Self::ARequest => (Duration::from_secs(2), Duration::from_secs(15)),
            Self::Nothing => (Duration::from_millis(1500), Duration::from_secs(6)),
        }
    }
}

pub(super) fn play(scene: &Scene<'_>) {
    let wanted = |kind: &&Kind| scene.peers.contains(kind);
    let peers = scene.pick(&PEERS[..], &[]).iter().filter(wanted);
    for kind in [Kind::Attache].iter().chain(peers) {
        for done in [Done::ARequest, Done::Nothing] {
            scene.in_time();
            let extra = AttacheExtra::default();
            if let Some(contender) = peers::start(*kind, scene.stage, 1, &extra) {
                look(scene, &contender, done);
            }
        }
    }
}

fn look(scene: &Scene<'_>, contender: &Contender, done: Done) {
    let target = &contender.targets.http1_origin;
    for _ in 0..BEFORE {
        Caller::connect(target).unwrap().ask_well().unwrap();
    }
    let short = (Duration::from_millis(500), Duration::from_secs(2));
    let (still, longest) = scene.pick(done.patience(), short);
    let before = scene.settled(contender, still, longest);
    let wanted = scene.pick(CONNECTIONS, QUICK_CONNECTIONS);
    let callers = match gather(scene, target, done, wanted.min(room(contender.kind))) {
        Ok(callers) => callers,
        Err((number, error)) => {
            eprintln!("{}: connection {number}: {error}", contender.name);
            return;
        }
    };
    let after = scene.settled(contender, still, longest);
    let open = callers.iter().filter(|caller| caller.is_open()).count();
    if open < callers.len() {
        let all = callers.len();
        eprintln!("{}: {open} of {all} connections are open", contender.name);
        return;
    }
    let each = (after - before) / KIB / open as f64;
    let what = match contender.name.as_str() {
        names::ATTACHE => done.words().to_owned(),
        other => format!("{}, {other}", done.words()),
    };
    let beside = format!("{} connections", grouped(open));
    let name = scene.pick(NAME, QUICK_NAME);
    scene.found(Finding::new(name, &what, each, "KiB").beside(beside));
}

/// Opens connections one after the other, so that few to the origin serve them all.
fn gather(
    scene: &Scene<'_>,
    target: &Target,
    done: Done,
    many: usize,
) -> Result<Vec<Caller>, (usize, io::Error)> {
    let one = |number| {
        scene.in_time();
        let caller = Caller::connect(target).and_then(|mut caller| match done {
            Done::ARequest => caller.ask_well().map(|()| caller),
            Done::Nothing => Ok(caller),
        });
        caller.map_err(|error| (number, error))
    };
    (0..many).map(one).collect()
}

/// How many connections a contender takes with as many open files as there may be.
fn room(kind: Kind) -> usize {
    let (files, _) = open_files();
    let files = files.saturating_sub(OTHER_FILES);
    match kind {
        // Its `maxconn` leaves a file to the origin's side for each.
        Kind::Haproxy | Kind::HaproxyTcp => files / 2,
        Kind::Attache | Kind::Nginx | Kind::NginxLua | Kind::Envoy => files,
    }
}
