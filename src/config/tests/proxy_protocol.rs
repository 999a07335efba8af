//! Balancers in front of listeners: refusals first.

use super::{read, refused};
use crate::proxy_protocol::Balancers;

#[test]
fn what_is_no_network_is_refused_under_its_key() {
    for section in ["inbound", "admin"] {
        for bad in [
            "balancer.example",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.1:80",
            "''",
            "null",
        ] {
            let text = format!("{section}: {{ proxy_protocol: true, balancers: [{bad}] }}");
            let said = refused(&text);

            let key = format!("{section}.balancers[0]: ");
            assert!(said.contains(&key), "{bad}: {said}");
        }
        let many = vec!["10.0.0.1"; 1001].join(", ");
        let said = refused(&format!("{section}: {{ balancers: [{many}] }}"));
        assert!(said.contains("at most 1000"), "{said}");
        let said = refused(&format!("{section}: {{ proxy_protocol: v2 }}"));
        assert!(
            said.contains(&format!("{section}.proxy_protocol: ")),
            "{said}"
        );
    }
}

#[test]
fn the_metrics_listener_has_none() {
    let said = refused("metrics: { proxy_protocol: true }");

    assert!(said.contains("metrics.proxy_protocol"), "{said}");
}

#[test]
fn whoever_comes_through_a_balancer_to_loopback_is_warned_of_unless_somebody_is_asked() {
    let inbound = "inbound: { proxy_protocol: true, balancers: [127.0.0.1]";
    let warned = |text: &str| {
        let warnings = read(text).unwrap().warnings;
        let told = |warning: &String| warning.contains("may use every connector");
        warnings.iter().map(ToString::to_string).any(|it| told(&it))
    };
    let key = format!("keys: [{{ name: a, sha256: {} }}]", "a".repeat(64));

    assert!(warned(&format!("{inbound} }}")));
    assert!(!warned(&format!("trust_network: true\n{inbound} }}")));
    assert!(!warned(&format!("{inbound}, {key} }}")));
}

#[test]
fn headers_that_anybody_may_write_are_warned_of_and_balancers_that_mean_nothing() {
    for section in ["inbound", "admin"] {
        for (keys, warned) in [
            ("proxy_protocol: true", Some("can name any source address")),
            (
                "proxy_protocol: true, balancers: []",
                Some("can name any source address"),
            ),
            ("balancers: [10.0.0.1]", Some("mean nothing without")),
            ("proxy_protocol: true, balancers: [10.0.0.1]", None),
            ("proxy_protocol: false, balancers: []", None),
        ] {
            let text = format!("trust_network: true\n{section}: {{ {keys} }}");
            let warnings = read(&text).unwrap().warnings;

            match warned {
                None => assert!(warnings.is_empty(), "{keys}: {warnings:?}"),
                Some(why) => {
                    let [warning] = &*warnings else {
                        panic!("{keys}: {warnings:?}");
                    };
                    assert!(warning.contains(why), "{warning}");
                    assert!(warning.contains(&format!("{section}.")), "{warning}");
                }
            }
        }
    }
}

#[test]
fn each_listener_has_its_own_balancers() {
    let within = |networks: &[&str]| {
        let networks: Vec<_> = networks.iter().map(|net| net.parse().unwrap()).collect();
        Some(Balancers::within(&networks))
    };
    let text = "inbound: { proxy_protocol: true, balancers: [10.0.0.5, 2001:db8::/32] }
admin: { proxy_protocol: true, balancers: [10.0.0.6] }";

    let config = read(text).unwrap();

    assert_eq!(
        config.inbound.balancers,
        within(&["10.0.0.5/32", "2001:db8::/32"])
    );
    assert_eq!(config.admin.balancers, within(&["10.0.0.6/32"]));
    let off = read("").unwrap();
    assert_eq!((off.inbound.balancers, off.admin.balancers), (None, None));
}
