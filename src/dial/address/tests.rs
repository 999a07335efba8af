//! The ends of every range, what lies beside them, and what hides in IPv6.

use super::*;

/// What lies right before and right behind a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// Addresses that may be connected to.
    Public,
    /// On both sides another range, or none.
    Refused,
    /// Another range before it.
    RefusedBefore,
    /// Another range behind it.
    RefusedBehind,
}
use Beside::{Public, Refused, RefusedBefore, RefusedBehind};

/// Each range by its first and last address, as IANA's special-purpose registries, RFC 4291 §2.4
/// and the providers of clouds have them.
const RANGES_BY_ENDS: &[(&str, &str, Beside)] = &[
    // IPv4: RFC 6890 §2.2.2 and the registry.
    ("0.0.0.0", "0.255.255.255", RefusedBefore),
    ("10.0.0.0", "10.255.255.255", Public),
    ("100.64.0.0", "100.127.255.255", Public),
    ("127.0.0.0", "127.255.255.255", Public),
    ("168.63.129.16", "168.63.129.16", Public),
    ("169.254.0.0", "169.254.255.255", Public),
    ("172.16.0.0", "172.31.255.255", Public),
    ("192.0.0.0", "192.0.0.255", Public),
    ("192.0.2.0", "192.0.2.255", Public),
    ("192.31.196.0", "192.31.196.255", Public),
    ("192.52.193.0", "192.52.193.255", Public),
    ("192.88.99.0", "192.88.99.255", Public),
    ("192.168.0.0", "192.168.255.255", Public),
    ("192.175.48.0", "192.175.48.255", Public),
    ("198.18.0.0", "198.19.255.255", Public),
    ("198.51.100.0", "198.51.100.255", Public),
    ("203.0.113.0", "203.0.113.255", Public),
    ("224.0.0.0", "239.255.255.255", RefusedBehind),
    ("240.0.0.0", "255.255.255.255", Refused),
    // IPv6: what is global unicast ends where the reserved begins.
    ("::", "::", Refused),
    ("::1", "::1", Refused),
    ("::", "::ffff:ffff", Refused),
    ("::ffff:0:0", "::ffff:ffff:ffff", Refused),
    ("::ffff:0:0:0", "::ffff:0:ffff:ffff", Refused),
    ("64:ff9b::", "64:ff9b::ffff:ffff", Refused),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Refused),
    ("100::", "100::ffff:ffff:ffff:ffff", Refused),
    ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", Refused),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
    (
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        Public,
    ),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
    (
        "2620:4f:8000::",
        "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
        Public,
    ),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Public),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
    (
        "::",
        "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        RefusedBefore,
    ),
    (
        "4000::",
        "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        RefusedBehind,
    ),
    ("8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Refused),
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address `by` behind `address`, if there is one.
fn shifted(address: IpAddr, by: i8) -> Option<IpAddr> {
    let number = |bits: u128| bits.checked_add_signed(by.into());
    match address {
        IpAddr::V4(v4) => {
            let bits = u32::from(v4).checked_add_signed(by.into())?;
            Some(IpAddr::V4(bits.into()))
        }
        IpAddr::V6(v6) => Some(IpAddr::V6(number(v6.into())?.into())),
    }
}

fn is_refused(policy: &AddressPolicy, address: IpAddr) -> bool {
    policy.check(address).is_err()
}

fn allowing(nets: &[&str]) -> AddressPolicy {
    let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
    AddressPolicy::allowing(&nets)
}

#[test]
fn every_range_of_the_table_is_read_and_tested() {
    assert_eq!(RANGES.len(), REFUSED.len());
    let tested: Vec<_> = RANGES_BY_ENDS
        .iter()
        .map(|(first, last, _)| (address(first), address(last)))
        .collect();
    for range in RANGES.iter() {
        let ends = (range.net.network(), range.net.broadcast());
        assert!(tested.contains(&ends), "{range}");
    }
    assert_eq!(RANGES.len(), tested.len());
}

#[test]
fn the_ends_of_every_range_are_refused_and_what_lies_beside_it_is_not() {
    let policy = AddressPolicy::default();
    for (first, last, beside) in RANGES_BY_ENDS {
        let (first, last) = (address(first), address(last));
        assert!(is_refused(&policy, first), "{first}");
        assert!(is_refused(&policy, last), "{last}");
        let public =
            |address: Option<IpAddr>| address.is_some_and(|address| !is_refused(&policy, address));
        let found = (public(shifted(first, -1)), public(shifted(last, 1)));
        let expected = match beside {
            Public => (true, true),
            Refused => (false, false),
            RefusedBefore => (false, true),
            RefusedBehind => (true, false),
        };
        assert_eq!(found, expected, "{first} to {last}");
    }
}

#[test]
fn what_answers_metadata_requests_is_refused_wherever_it_stands() {
    let policy = AddressPolicy::default();
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
    ] {
        assert!(is_refused(&policy, address.parse().unwrap()), "{address}");
    }
}

#[test]
fn public_addresses_are_not_refused() {
    let policy = AddressPolicy::default();
    for address in [
        "8.8.8.8",
        "1.1.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2000::",
        "3fff:1000::",
        "::ffff:8.8.8.8",
        "2606:4700::5efe:808:808",
    ] {
        assert!(!is_refused(&policy, address.parse().unwrap()), "{address}");
    }
}

/// An address that lies nowhere refused itself, or where it is allowed, still leads there.
#[test]
fn what_hides_in_an_address_is_refused_though_its_own_range_is_allowed() {
    let all_of_ipv6 = allowing(&["::/0"]);
    for (hidden, is_hidden) in [
        ("10.0.0.1", "a00:1"),
        ("127.0.0.1", "7f00:1"),
        ("169.254.169.254", "a9fe:a9fe"),
        ("8.8.8.8", "808:808"),
    ] {
        let refused = hidden != "8.8.8.8";
        let v4: Ipv4Addr = hidden.parse().unwrap();
        let [a, b, c, d] = v4.octets().map(|octet| !octet);
        let client = format!(
            "{:x}:{:x}",
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d])
        );
        for text in [
            // RFC 4291 §2.5.5.1, §2.5.5.2; RFC 2765 §2.1.
            format!("::{is_hidden}"),
            format!("::ffff:{hidden}"),
            format!("::ffff:0:{is_hidden}"),
            // RFC 6052 §2.1; RFC 8215 §3.
            format!("64:ff9b::{is_hidden}"),
            format!("64:ff9b:1::{is_hidden}"),
            format!("64:ff9b:1:7:8:9:{is_hidden}"),
            // RFC 3056 §2.
            format!("2002:{is_hidden}::"),
            format!("2002:{is_hidden}:1:2:3:4:5"),
            // RFC 4380 §4: the server's, and the client's.
            format!("2001:0:{is_hidden}:0:ffff:f7f7:f7f7"),
            format!("2001:0:808:808:8000:1234:{client}"),
            // RFC 5214 §6.1.
            format!("2606:4700::5efe:{is_hidden}"),
            format!("2606:4700::200:5efe:{is_hidden}"),
            format!("fe80::5efe:{is_hidden}"),
        ] {
            assert_eq!(is_refused(&all_of_ipv6, address(&text)), refused, "{text}");
        }
    }
    for own in ["::1", "::", "fd00::1"] {
        assert!(!is_refused(&all_of_ipv6, address(own)), "{own}");
    }
}

#[test]
fn an_allowed_range_is_the_only_exception() {
    let policy = allowing(&["127.0.0.0/8", "64:ff9b::/96", "10.1.0.0/16"]);
    for (address, refused) in [
        ("127.0.0.1", false),
        ("::ffff:127.0.0.1", false),
        ("::1", true),
        ("64:ff9b::a9fe:a9fe", true),
        ("64:ff9b::808:808", false),
        ("64:ff9b::7f00:1", false),
        // Allowed as IPv4, and not as whatever carries it.
        ("2002:7f00:1::", true),
        ("10.0.255.255", true),
        ("10.1.0.0", false),
        ("10.1.255.255", false),
        ("10.2.0.0", true),
    ] {
        assert_eq!(
            is_refused(&policy, address.parse().unwrap()),
            refused,
            "{address}"
        );
    }
}
