//! Balancers before the gateway: the PROXY protocol, version 2. Section numbers are those of
//! HAProxy's `proxy-protocol.txt`.

use crate::support::balancer::{header, header_of, header_with};

mod admin;
mod flows;
mod refusals;

/// A flow, and the balancer's address that it connected to.
const SOURCE: &str = "203.0.113.7:51000";
const DESTINATION: &str = "198.51.100.1:443";

const REFUSED: &str = "attache_proxy_protocol_refused_total";

/// What a connection must not begin with, and what that is counted as.
fn bad_beginnings() -> Vec<(Vec<u8>, &'static str)> {
    let good = header(SOURCE, DESTINATION);
    let mut version_1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 51000 443\r\n".to_vec();
    version_1.extend(b"GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut version_3 = good.clone();
    version_3[12] = 0x31;
    let mut late = good.clone();
    late.insert(0, b'\n');
    let too_long = header_with(SOURCE, DESTINATION, &[(4, &[0; 4096])]);
    vec![
        (version_1, "missing"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "missing"),
        (
            b"GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            "missing",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "missing"),
        // The beginning of a TLS handshake (RFC 8446 §5.1).
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec(), "missing"),
        (b"\0".to_vec(), "missing"),
        (b"\r\n\r\n\r\n".to_vec(), "missing"),
        (late, "missing"),
        (version_3, "missing"),
        (header_of(0x22, 0x11, &[0; 12]), "malformed"),
        (header_of(0x21, 0x41, &[0; 12]), "malformed"),
        (header_of(0x21, 0x13, &[0; 12]), "malformed"),
        (header_of(0x21, 0x11, &[0; 11]), "malformed"),
        (header_of(0x21, 0x21, &[0; 35]), "malformed"),
        (header_of(0x21, 0x31, &[0; 215]), "malformed"),
        (too_long, "malformed"),
        // A value that ends behind the header, and a checksum that is wrong (§2.2.3).
        (
            header_of(0x21, 0x11, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1]),
            "malformed",
        ),
        (
            header_with(SOURCE, DESTINATION, &[(3, &[1, 2, 3, 4])]),
            "malformed",
        ),
    ]
}
