//! What is counted: the walks of a request, and the gateways that carry them.

use std::fmt::Write;
use std::path::Path;

use super::baseline::Bound;
use super::callgrind::Counted;
use super::origin::Origin;
use super::sender::{self, Client, Exchange};

/// The environment variable that holds the password of every connector.
pub(crate) const PASSWORD: &str = "INSTRUCTIONS_PASSWORD";

/// Requests sent before anything is counted: connections are made, tokens obtained, buffers as large
/// as they will get.
const WARM_UP: usize = 200;
/// Requests of a round.
const REQUESTS: usize = 1000;
/// Where each takes long under valgrind, which does a block of AES as slowly as a hundred other
/// instructions.
const REQUESTS_IF_LARGE: usize = 200;
/// Rounds; the median of an odd number is one of them.
const ROUNDS: usize = 3;
/// How many connectors take turns where many are configured.
const IN_TURNS: usize = 10;
/// A small answer's content, in bytes.
const SMALL: usize = 100;

/// A gateway's configuration, and what is sent through it.
pub(crate) struct Room {
    access: &'static str,
    /// Connectors beside those that every room has.
    connectors: usize,
    walks: Vec<Walk>,
}

/// One kind of request.
struct Walk {
    name: &'static str,
    client: Client,
    to: To,
    upload_bytes: usize,
    answer_bytes: usize,
}

/// Which connectors a walk addresses.
#[derive(Clone, Copy)]
enum To {
    One(&'static str),
    /// Several of the many.
    Many,
}

/// What a walk's rounds counted, per request.
pub(crate) struct Counts {
    pub(crate) walk: &'static str,
    pub(crate) rounds: Vec<u64>,
}

const BASIC: &str = "small GET, Basic";
const TOKEN: &str = "small GET, token from the cache";
const LOGGED: &str = "small GET, access log of all";
const AMONG_10: &str = "small GET among 10 connectors";
const AMONG_1_000: &str = "small GET among 1,000 connectors";
const AMONG_100_000: &str = "small GET among 100,000 connectors";

/// What holds in every run, whatever the baseline says: a token from the cache costs what Basic
/// costs, and a look-up among many connectors what one among few does.
pub(crate) const BOUNDS: [Bound; 3] = [
    within_3_percent(TOKEN, BASIC),
    within_3_percent(AMONG_1_000, AMONG_10),
    within_3_percent(AMONG_100_000, AMONG_10),
];

const fn within_3_percent(walk: &'static str, above: &'static str) -> Bound {
    Bound {
        walk,
        above,
        percent_max: 3.0,
    }
}

/// Every room, the cheap ones first.
pub(crate) fn all() -> Vec<Room> {
    let room = |connectors, walks| Room {
        access: "errors",
        connectors,
        walks,
    };
    let logged = Room {
        access: "all",
        ..room(0, vec![small(LOGGED, To::One("basic"))])
    };
    vec![
        room(0, to_one()),
        logged,
        room(10, vec![small(AMONG_10, To::Many)]),
        room(1_000, vec![small(AMONG_1_000, To::Many)]),
        room(100_000, vec![small(AMONG_100_000, To::Many)]),
    ]
}

/// The walks that need no more than the connectors that every room has.
fn to_one() -> Vec<Walk> {
    let basic = || small(BASIC, To::One("basic"));
    vec![
        basic(),
        small(TOKEN, To::One("token")),
        Walk {
            name: "16 KiB answer",
            answer_bytes: 16 * 1024,
            ..basic()
        },
        Walk {
            name: "64 KiB upload",
            upload_bytes: 64 * 1024,
            ..basic()
        },
        Walk {
            name: "small GET, HTTP/2 client",
            client: Client::Http2,
            ..basic()
        },
        small("small GET, HTTP/2 origin", To::One("http2")),
        Walk {
            name: "small GET, HTTP/2 client and origin",
            client: Client::Http2,
            ..small("", To::One("http2"))
        },
        Walk {
            name: "small GET, a new client connection each",
            client: Client::Http1Anew,
            ..basic()
        },
    ]
}

fn small(name: &'static str, to: To) -> Walk {
    Walk {
        name,
        client: Client::Http1,
        to,
        upload_bytes: 0,
        answer_bytes: SMALL,
    }
}

impl Room {
    /// Leaves only walks whose name has `part` in it; `None` if none has.
    pub(crate) fn only(mut self, part: &str) -> Option<Self> {
        self.walks.retain(|walk| walk.name.contains(part));
        (!self.walks.is_empty()).then_some(self)
    }

    /// Starts the gateway and counts every walk.
    pub(crate) fn count(&self, attache: &Path, origin: &Origin) -> Vec<Counts> {
        let mut gateway = Counted::start(attache, &self.configuration(origin));
        let walks = self.walks.iter();
        walks
            .map(|walk| self.count_walk(walk, &mut gateway))
            .collect()
    }

    fn count_walk(&self, walk: &Walk, gateway: &mut Counted) -> Counts {
        let exchange = Exchange {
            paths: self.paths(walk),
            upload_bytes: walk.upload_bytes,
            answer_bytes: walk.answer_bytes,
        };
        let mut send = sender::connect(walk.client, gateway.address, &exchange);
        send(WARM_UP);
        gateway.begin();
        // What is seen for the first time once counting is on belongs to no round.
        send(WARM_UP);
        gateway.instructions();
        let requests = match walk.upload_bytes + walk.answer_bytes {
            0..=SMALL => REQUESTS,
            _ => REQUESTS_IF_LARGE,
        };
        let rounds = (0..ROUNDS).map(|_| {
            send(requests);
            gateway.instructions() / requests as u64
        });
        Counts {
            walk: walk.name,
            rounds: rounds.collect(),
        }
    }

    fn paths(&self, walk: &Walk) -> Vec<String> {
        let path = |id: &str| format!("/{id}/b/{}", walk.answer_bytes);
        match walk.to {
            To::One(id) => vec![path(id)],
            To::Many => {
                let step = self.connectors / IN_TURNS;
                let turns = (0..IN_TURNS).map(|turn| path(&format!("many-{}", turn * step)));
                turns.collect()
            }
        }
    }

    /// Defaults, but for the addresses, one worker, and what the room is about.
    fn configuration(&self, origin: &Origin) -> String {
        let ca = serde_json::to_string(&origin.ca_pem).unwrap();
        let address = origin.address;
        let mut text = format!(
            "listen: 127.0.0.1:0\nadmin: {{ listen: 127.0.0.1:0 }}\nworkers: 1\n\
             logs: {{ access: {} }}\n\
             trust: {{ ca_bundles: [{ca}], allow_addresses: [127.0.0.0/8] }}\nconnectors:\n",
            self.access
        );
        let token = format!(
            "oauth2: {{ token_url: \"https://{address}/token\", client_id: svc, \
             client_secret: {{ env: {PASSWORD} }} }}"
        );
        let basic = format!("basic: {{ username: svc, password: {{ env: {PASSWORD} }} }}");
        let many = (0..self.connectors).map(|number| (format!("many-{number}"), address, &basic));
        let ours = [
            ("basic".to_owned(), address, &basic),
            ("token".to_owned(), address, &token),
            ("http2".to_owned(), origin.address_http2, &basic),
        ];
        for (id, address, auth) in ours.into_iter().chain(many) {
            writeln!(
                text,
                "  - {{ id: {id}, name: {id}, resource_domain: \"https://{address}\", \
                 auth: {{ {auth} }} }}"
            )
            .unwrap();
        }
        text
    }
}
