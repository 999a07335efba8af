//! Where addresses come from: the operating system, or a test.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

/// Where addresses of names come from. Everything above it, the memory included, is the same for
/// all of them.
#[derive(Clone)]
pub enum Lookup {
    /// The operating system's resolver.
    System,
    /// A fixed table; names outside it do not exist. For tests and demonstrations.
    Table(Arc<HashMap<String, Vec<IpAddr>>>),
    /// Whatever a test does, on a thread that may block.
    Scripted(Script),
}

/// Looks a name up. [`io::ErrorKind::NotFound`] says that there is no such name.
pub type Script = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Table(_) => "Table",
            Self::Scripted(_) => "Scripted",
        })
    }
}

impl Lookup {
    /// The addresses of `host`, best first (RFC 6724 §6). Blocks, for half a minute where name
    /// servers are silent.
    pub(super) fn ask(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Self::System => {
                let found = (host, 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Self::Table(table) => table
                .get(host)
                .cloned()
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name")),
            Self::Scripted(script) => script(host),
        }
    }
}

/// How the C libraries put `EAI_NONAME` and `EAI_NODATA` (RFC 3493 §6.3): glibc, musl, BSD. The
/// standard library keeps nothing of them but this text, which is in English as long as nobody
/// calls `setlocale`.
const DENIALS: [&str; 6] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
    "nodename nor servname provided",
    "No address associated with nodename",
];

/// Whether `error` says that the name has no address, rather than that nobody could be asked. What
/// is not recognised counts as the latter, which is the milder of the two.
pub(super) fn is_denial(error: &io::Error) -> bool {
    let text = error.to_string();
    error.kind() == io::ErrorKind::NotFound || DENIALS.iter().any(|denial| text.contains(denial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outside_the_table_does_not_exist() {
        let answer = Lookup::Table(Arc::default()).ask("orders.example");

        assert!(answer.is_err_and(|error| is_denial(&error)));
    }

    #[test]
    fn the_system_knows_localhost_and_says_of_what_cannot_be_a_name_that_it_is_none() {
        let known = Lookup::System.ask("localhost");
        // An empty label (RFC 1035 §2.3.1): no name server need be asked.
        let denied = Lookup::System.ask("orders..invalid");

        assert!(known.is_ok_and(|found| found.iter().all(IpAddr::is_loopback)));
        assert!(denied.is_err_and(|error| is_denial(&error)));
    }

    #[test]
    fn a_resolver_that_cannot_be_asked_has_denied_nothing() {
        for text in [
            "failed to lookup address information: Temporary failure in name resolution",
            "failed to lookup address information: Try again",
            "",
        ] {
            assert!(!is_denial(&io::Error::other(text)), "{text}");
        }
    }
}
