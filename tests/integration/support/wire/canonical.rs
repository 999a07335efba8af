//! What a request must look like where it reaches an origin.
//!
//! [`message`] has read it already, with line ends, names, framing and chunks as RFC 9112 writes
//! them; here is what a gateway may not send on top of that.
//!
//! [`message`]: crate::support::message

use crate::support::message::Message;

/// Fields of one connection alone (RFC 9110 §7.6.1). `Connection` and `TE` have one form each in
/// which they may stand.
const HOP_BY_HOP: [&str; 5] = [
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "http2-settings",
    "proxy-authenticate",
];

/// Finds fault with a request that reached the origin called `host`.
pub(crate) fn check(message: &Message, host: &str) -> Result<(), String> {
    let fault = |what: &str| Err(format!("{what}: {:?} {:?}", message.start, message.fields));
    if ["CONNECT", "TRACE"].contains(&message.method()) {
        return fault("a method that no gateway of this kind carries");
    }
    // RFC 9112 §3.2.1. What RFC 3986 wants encoded and is no delimiter here may stand, for it came.
    let delimits = |byte: u32| byte <= 0x20 || byte == 0x7f || byte == u32::from(b'#');
    if !message.target().starts_with('/') || message.target().chars().any(|c| delimits(c.into())) {
        return fault("a target that is not in origin-form");
    }
    if message.all("host") != [host] {
        return fault("another Host than the origin's");
    }
    // RFC 9110 §5.5.
    let mut values = message.fields.iter().chain(&message.trailers);
    if values.any(|(_, value)| value.bytes().any(|b| b != b'\t' && (b < 0x20 || b == 0x7f))) {
        return fault("a control byte in a value");
    }
    if HOP_BY_HOP.iter().any(|name| !message.all(name).is_empty()) {
        return fault("a field of one connection alone");
    }
    // RFC 9110 §10.1.4.
    let (connection, te) = (message.all("connection"), message.all("te"));
    let says_trailers = te == ["trailers"] && connection == ["te"];
    if !(says_trailers || connection.is_empty() && te.is_empty()) {
        return fault("Connection or TE");
    }
    // RFC 9110 §6.5.1.
    let unfit = |name: &str| {
        let name = name.to_ascii_lowercase();
        [
            "host",
            "content-length",
            "transfer-encoding",
            "authorization",
            "te",
            "connection",
        ]
        .contains(&name.as_str())
    };
    if message.trailers.iter().any(|(name, _)| unfit(name)) {
        return fault("a trailer that frames, routes or authenticates");
    }
    Ok(())
}
