//! How many sockets this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A socket for each of the largest crowd of clients, and as many for what answers them.
const CROWD: u64 = 8_192;

/// Lets this process, and those that it starts from now on, have sockets for a crowd, as far as the
/// system lets it. Shells commonly leave 1,024, which tests in one process use up together; the
/// limit is only ever raised, so that it matters to none of them when another asks.
pub(crate) fn allow_a_crowd() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(CROWD, |most| most.min(CROWD));
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}
