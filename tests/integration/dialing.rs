//! The way to an origin: names, both address families, and the addresses that are refused.

use std::net::{IpAddr, Ipv6Addr};

use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::client::Answered;
use crate::support::gateway::Running;
use crate::support::origin::{self, Origin, Setup};
use crate::support::scene::orders;
use crate::support::stage::Stage;

const NAME: &str = "orders.example";

/// An origin under [`NAME`] on `bind`.
async fn named(stage: &Stage, bind: IpAddr) -> Origin {
    let setup = Setup {
        bind,
        ..Setup::new(&stage.ca.server(&[NAME]))
    };
    Origin::start(setup, origin::whole(|_| Answer::text("ok"))).await
}

/// What a flow hears where [`NAME`] has `addresses` and `trust` is as given.
async fn heard(stage: &Stage, url: &str, addresses: &[&str], trust: &str) -> Answered {
    let yaml = orders(url, &[]) + trust;
    let gateway = Running::start_named(stage, &yaml, &[(NAME, addresses)]).await;
    let answered = gateway.get("/orders/x").await;
    gateway.drain().await;
    answered
}

/// The status, the reason, and what `Proxy-Status` says (RFC 9209 §2.3).
fn refusal(answered: &Answered) -> (u16, String, String) {
    let status = answered.field("proxy-status").unwrap();
    (
        answered.status.as_u16(),
        answered.reason(),
        status.replace("attache; error=", ""),
    )
}

fn expected(status: u16, reason: &str, error: &str) -> (u16, String, String) {
    (status, reason.to_owned(), error.to_owned())
}

#[tokio::test]
async fn whichever_address_family_answers_is_used() {
    // RFC 8305: neither family is waited for in vain.
    let v4 = IpAddr::from([127, 0, 0, 1]);
    for bind in [v4, Ipv6Addr::LOCALHOST.into()] {
        for addresses in [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]] {
            let stage = Stage::new();
            let origin = named(&stage, bind).await;

            let answered = heard(&stage, &origin.url_as(NAME, ""), &addresses, "").await;

            assert_eq!(answered.text(), "ok", "{bind} among {addresses:?}");
            assert_eq!(
                origin.only_request().authority.split(':').next(),
                Some(NAME)
            );
        }
    }
}

#[tokio::test]
async fn an_origin_is_addressed_by_its_address_too() {
    let stage = Stage::new();
    let v6 = named(&stage, Ipv6Addr::LOCALHOST.into()).await;
    let v4 = named(&stage, IpAddr::from([127, 0, 0, 1])).await;

    for (origin, host) in [(&v6, "[::1]"), (&v4, "127.0.0.1")] {
        let answered = heard(&stage, &origin.url_as(host, ""), &[], "").await;

        assert_eq!(answered.text(), "ok", "{host}");
        let port = origin.address().port();
        assert_eq!(origin.only_request().authority, format!("{host}:{port}"));
    }
}

#[tokio::test]
async fn an_address_in_a_refused_range_is_never_connected_to() {
    let trust = "trust: { ca_bundles: [{ file: ca.pem }] }\n";
    let stage = Stage::new();
    let origin = named(&stage, IpAddr::from([127, 0, 0, 1])).await;

    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["169.254.169.254"],
        &["10.0.0.1", "::1", "192.168.0.1"],
        &["0.0.0.0"],
    ] {
        let answered = heard(&stage, &origin.url_as(NAME, ""), addresses, trust).await;
        assert_eq!(
            refusal(&answered),
            expected(502, "address-refused", "destination_ip_prohibited"),
            "{addresses:?}"
        );
        assert_eq!(answered.json()["may_have_reached_origin"], false);
    }
    let literal = heard(&stage, &origin.url_as("127.0.0.1", ""), &[], trust).await;
    assert_eq!(refusal(&literal).1, "address-refused");
    assert_eq!(origin.tally().accepted, 0);
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_ones_are_tried() {
    let trust = "trust: { ca_bundles: [{ file: ca.pem }], allow_addresses: [127.0.0.1] }\n";
    let stage = Stage::new();
    let v6 = named(&stage, Ipv6Addr::LOCALHOST.into()).await;
    let v4 = named(&stage, IpAddr::from([127, 0, 0, 1])).await;

    let url = v4.url_as(NAME, "");
    let allowed = heard(&stage, &url, &["::1", "127.0.0.1"], trust).await;
    let url = v6.url_as(NAME, "");
    let not_allowed = heard(&stage, &url, &["::1"], trust).await;

    assert_eq!(allowed.text(), "ok");
    assert_eq!(refusal(&not_allowed).1, "address-refused");
    assert_eq!(v6.tally().accepted, 0);
}

#[tokio::test]
async fn a_name_without_an_address_is_told_as_one() {
    let stage = Stage::new();

    let unknown = heard(&stage, "https://nowhere.example", &[], "").await;
    let empty = heard(&stage, &format!("https://{NAME}"), &[], "").await;

    for answered in [unknown, empty] {
        let error = expected(502, "origin-unreachable", "dns_error");
        assert_eq!(refusal(&answered), error);
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told_as_one() {
    let stage = Stage::new();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{NAME}:{}", gone.local_addr().unwrap().port());
    drop(gone);

    let answered = heard(&stage, &url, &["127.0.0.1"], "").await;

    let error = expected(502, "origin-unreachable", "connection_refused");
    assert_eq!(refusal(&answered), error);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_nothing_is_sent() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;

    let answered = heard(&stage, &origin.url_as(NAME, ""), &["127.0.0.1"], "").await;

    let error = expected(502, "origin-tls", "tls_certificate_error");
    assert_eq!(refusal(&answered), error);
    assert_eq!(origin.tally().heads, 0);
}
