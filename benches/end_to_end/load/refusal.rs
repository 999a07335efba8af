//! Answers that a gateway on the way made up itself, told from the origin's (RFC 9209).

use std::fmt;

/// The longest start of a problem document that is kept to find its type in.
pub(crate) const PROBLEM_BYTES_MAX: usize = 1024;

/// Who refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refused {
    /// What the gateway calls itself.
    pub(crate) by: String,
    /// The problem document's type, without what stands before its last colon or slash; without
    /// one, the error of `Proxy-Status`.
    pub(crate) reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.by, self.reason)
    }
}

impl Refused {
    /// Reads `Proxy-Status`. The last member is the intermediary's that is nearest to the client
    /// (RFC 9209 §2); whoever names an error made the answer itself (§2.1.1). `content` is the
    /// answer's beginning.
    pub(crate) fn read(proxy_status: &str, content: &[u8]) -> Option<Self> {
        let (by, error) = split(proxy_status, ',')
            .into_iter()
            .rev()
            .find_map(erring)?;
        Some(Self {
            by,
            reason: problem(content).unwrap_or(error),
        })
    }
}

/// A member's name and error, if it has one.
fn erring(member: &str) -> Option<(String, String)> {
    let mut parts = split(member, ';').into_iter().map(str::trim);
    let name = parts.next()?;
    let error = parts.find_map(|part| part.strip_prefix("error="))?;
    Some((bare(name), bare(error)))
}

/// Splits where `at` stands outside of quotes (RFC 9651 §3.3.3).
fn split(list: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |found: char| {
        let splits = found == at && !quoted;
        if found == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = found == '\\' && quoted && !escaped;
        splits
    })
    .collect()
}

fn bare(item: &str) -> String {
    item.trim().trim_matches('"').to_owned()
}

/// The type of a problem document (RFC 9457 §3.1.1) that may have been cut off.
fn problem(content: &[u8]) -> Option<String> {
    let content = String::from_utf8_lossy(content);
    let (_, behind) = content.split_once("\"type\"")?;
    let value = behind.trim_start().strip_prefix(':')?.trim_start();
    let (kind, _) = value.strip_prefix('"')?.split_once('"')?;
    let reason = kind.rsplit([':', '/']).next()?;
    // `about:blank` says no more than the status.
    (!reason.is_empty() && kind != "about:blank").then(|| reason.to_owned())
}
