//! Which addresses the gateway may connect to.
//!
//! Everything that is not a public unicast address is refused unless the operator allows it: a
//! resource domain whose name points into the gateway's own network would turn it into a way in.
//!
//! What cannot be told from an address alone is not refused here: that a network's own prefix
//! translates to IPv4 (RFC 6052 §2.2 lets any do so), or that a public address is routed inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;

/// A range of addresses that is refused, with its name in the IANA special-purpose registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedRange {
    net: IpNet,
    name: &'static str,
}

impl fmt::Display for RefusedRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.net, self.name)
    }
}

/// RFC 6890 and the IANA IPv4 and IPv6 special-purpose address registries, with the addresses
/// cloud providers answer metadata requests on. IPv6 ranges that carry an IPv4 address are here
/// as a whole: what they embed is checked too, so allowing one does not allow what hides in it.
/// The first that an address lies in names it. Last stands what is not global unicast at all
/// (RFC 4291 §2.4: of IPv6, that is 2000::/3 as far as IANA has given anything out).
const REFUSED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared address space"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "cloud metadata"),
    ("169.254.0.0/16", "link-local and cloud metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved and broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "IPv4-compatible"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("100::/64", "discard"),
    ("100:0:0:1::/64", "dummy prefix"),
    ("2001::/23", "protocol assignments and Teredo"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("2620:4f:8000::/48", "AS112"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("::/3", "reserved"),
    ("4000::/2", "reserved"),
    ("8000::/1", "reserved"),
];

static RANGES: LazyLock<Vec<RefusedRange>> = LazyLock::new(|| {
    REFUSED
        .iter()
        .filter_map(|(net, name)| Some((net.parse().ok()?, *name)))
        .map(|(net, name)| RefusedRange { net, name })
        .collect()
});

/// The refused ranges less those an operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Arc<[IpNet]>,
}

impl AddressPolicy {
    /// Refuses every special-purpose range but what lies in `allowed`.
    pub fn allowing(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
        }
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    ///
    /// The refused range it lies in.
    pub fn check(&self, address: IpAddr) -> Result<(), RefusedRange> {
        if let IpAddr::V6(v6) = address {
            for embedded in embedded_v4(v6).into_iter().flatten() {
                self.check_plain(IpAddr::V4(embedded))?;
            }
            // An IPv4-mapped address is that IPv4 address to the kernel (RFC 4291 §2.5.5.2).
            if v6.to_ipv4_mapped().is_some() {
                return Ok(());
            }
        }
        self.check_plain(address)
    }

    fn check_plain(&self, address: IpAddr) -> Result<(), RefusedRange> {
        if self.allowed.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        match RANGES.iter().find(|range| range.net.contains(&address)) {
            Some(range) => Err(*range),
            None => Ok(()),
        }
    }
}

/// The IPv4 addresses that `address` stands for, or leads through.
///
/// Of the prefix for local NAT64 (RFC 8215) that is the one at its end, where nearly all put it;
/// whoever allows the range and puts it elsewhere (RFC 6052 §2.2) allows all that is behind.
fn embedded_v4(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match s {
        // RFC 4291 §2.5.5.1, which leaves the unspecified address and loopback out.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        [0, 0, 0, 0, 0, 0, high, low]
        // RFC 4291 §2.5.5.2; RFC 2765 §2.1.
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        // RFC 6052 §2.1; RFC 8215 §3.
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // ISATAP, under any prefix, the universal bit set or not (RFC 5214 §6.1).
        | [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => [v4(high, low), None],
        // RFC 3056 §2.
        [0x2002, high, low, ..] => [v4(high, low), None],
        // Teredo: its server, and its client with every bit turned over (RFC 4380 §4).
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [v4(high, low), v4(!client_high, !client_low)]
        }
        _no_range => [None, None],
    }
}

#[cfg(test)]
mod tests;
