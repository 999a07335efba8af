//! Which addresses the gateway may connect to.
//!
//! Everything that is not a public unicast address is refused unless the operator allows it: a
//! resource domain whose name points into the gateway's own network would turn it into a way in.

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
    ("2001::/23", "protocol assignments and Teredo"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "unique local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
];

static RANGES: LazyLock<Vec<RefusedRange>> = LazyLock::new(|| {
    REFUSED
        .iter()
        .filter_map(|(net, name)| Some((net.parse().ok()?, *name)))
        .map(|(net, name)| RefusedRange { net, name })
        .collect()
});

/// The refused ranges less those an operator allows.
#[derive(Clone, Debug, Default)]
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
        if let Some(embedded) = embedded_v4(address) {
            self.check_plain(IpAddr::V4(embedded))?;
            // An IPv4-mapped address is that IPv4 address to the kernel (RFC 4291 §2.5.5.2).
            if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
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

/// The IPv4 address that a v4-mapped, NAT64 or 6to4 address stands for.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else {
        return None;
    };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // RFC 3056 §2.
        [0x2002, high, low, ..] => Some(v4(high, low)),
        // RFC 6052 §2.1; RFC 2765 §2.1.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(v4(high, low))
        }
        _ => Ipv6Addr::to_ipv4_mapped(&v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &AddressPolicy, address: &str) -> Option<bool> {
        Some(policy.check(address.parse().ok()?).is_ok())
    }

    #[test]
    fn every_range_of_the_table_is_read() {
        assert_eq!(RANGES.len(), REFUSED.len());
    }

    #[test]
    fn special_purpose_addresses_are_refused() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:0:1::1",
            "::7f00:1",
            "64:ff9b:1::1",
            "fd00:ec2::254",
            "2001:db8::1",
        ] {
            assert_eq!(check(&policy, address), Some(false), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_not() {
        let policy = AddressPolicy::default();
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "172.32.0.1",
        ] {
            assert_eq!(check(&policy, address), Some(true), "{address}");
        }
    }

    #[test]
    fn an_allowed_range_is_the_only_exception() {
        let nets: Vec<IpNet> = ["127.0.0.0/8", "64:ff9b::/96"]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect();
        let policy = AddressPolicy::allowing(&nets);

        assert_eq!(check(&policy, "127.0.0.1"), Some(true));
        assert_eq!(check(&policy, "::ffff:127.0.0.1"), Some(true));
        assert_eq!(check(&policy, "::1"), Some(false));
        assert_eq!(check(&policy, "64:ff9b::a9fe:a9fe"), Some(false));
        assert_eq!(check(&policy, "64:ff9b::808:808"), Some(true));
    }
}
