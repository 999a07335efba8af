//! Addresses that are refused stay unreached however they are written, resolved, or raced for, by
//! resource domains and token endpoints; and nobody is led elsewhere by what an answer says.

use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::client::Answered;
use crate::support::connector::{connector, connectors, with_secret};
use crate::support::gateway::{Running, get};
use crate::support::names::{Names, both_families};
use crate::support::origin::{self, Origin, Setup};
use crate::support::scene::orders;
use crate::support::stage::Stage;
use crate::support::tls::Protocols;

const NAME: &str = "orders.example";
/// No exception at all, and one for each list.
const CLOSED: &str = "trust: { ca_bundles: [{ file: ca.pem }] }\n";
const ONLY_ORIGINS: &str = "trust: { ca_bundles: [{ file: ca.pem }], \
    allow_addresses: [127.0.0.0/8], token_endpoint_allow_addresses: [] }\n";
const ONLY_ONE: &str = "trust: { ca_bundles: [{ file: ca.pem }], allow_addresses: [127.0.0.1] }\n";
const ONLY_ENDPOINTS: &str = "trust: { ca_bundles: [{ file: ca.pem }], \
    token_endpoint_allow_addresses: [127.0.0.0/8] }\n";

/// Loopback as the URL parser, the kernel or a translator may be brought to read it: in other bases
/// and lengths, percent-encoded, in characters that IDNA maps (UTS #46), and within IPv6.
const LOOPBACK_IN_DISGUISE: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",
    "[::1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
];

/// An origin at `[::1]`, and its URL by [`NAME`]; nobody listens at that port of 127.0.0.1.
async fn decoy(stage: &Stage) -> (String, Origin) {
    let (v4, v6) = both_families().await;
    let url = format!("https://{NAME}:{}", v4.local_addr().unwrap().port());
    let setup = Setup::new(&stage.ca.server(&[NAME]));
    let whole = origin::whole(|_| Answer::text("ok"));
    (url, Origin::start_on(v6, setup, whole))
}

fn is_no_credential(answered: &Answered) -> bool {
    (answered.status, &*answered.reason()) == (503.try_into().unwrap(), "no-credential")
}

#[tokio::test]
async fn loopback_is_refused_in_whatever_way_a_resource_domain_or_a_token_url_writes_it() {
    let stage = Stage::new();
    let both = Origin::plain(&stage.server()).await;
    let port = both.address().port();
    let all = LOOPBACK_IN_DISGUISE
        .iter()
        .enumerate()
        .flat_map(|(at, host)| {
            let url = format!("https://{host}:{port}");
            let auth = with_secret(&format!("{url}/token"));
            [
                connector(&format!("to-{at}"), &url, "none"),
                connector(&format!("by-{at}"), "https://192.0.2.1", &auth),
            ]
        });
    let yaml = connectors(&all.collect::<Vec<_>>()) + CLOSED;
    let own = &["127.0.0.1", "::1"][..];
    let names = [("localhost", own), ("localhost.", own)];
    let gateway = Running::start_named(&stage, &yaml, &names).await;

    for (at, host) in LOOPBACK_IN_DISGUISE.iter().enumerate() {
        let to = gateway.get(&format!("/to-{at}/x")).await;
        assert_eq!(to.reason(), "address-refused", "{host}");
        let by = gateway.get(&format!("/by-{at}/x")).await;
        assert!(is_no_credential(&by), "{host}: {}", by.text());
    }
    assert_eq!(both.tally().accepted, 0);
}

#[tokio::test]
async fn each_list_is_an_exception_for_its_own_end_alone() {
    for (trust, reason, asked) in [
        (ONLY_ORIGINS, "no-credential", 0),
        (ONLY_ENDPOINTS, "address-refused", 1),
    ] {
        let stage = Stage::new();
        let origin = Origin::plain(&stage.server()).await;
        let authority = Authority::plain(&stage.server()).await;
        let auth = with_secret(&authority.token_url());
        let yaml = connectors(&[connector("c", &origin.url("/"), &auth)]) + trust;
        let names = [("localhost", &["127.0.0.1"][..])];
        let gateway = Running::start_named(&stage, &yaml, &names).await;

        let answered = gateway.get("/c/x").await;

        assert_eq!(answered.reason(), reason);
        assert_eq!(authority.origin().tally().accepted, asked);
        assert_eq!(origin.tally().accepted, 0);
    }
}

/// What is looked up anew within one dial, because no address took a connection, is checked anew.
#[tokio::test]
async fn an_address_that_comes_up_amid_a_dial_is_checked_like_the_first() {
    let stage = Stage::new();
    let (url, decoy) = decoy(&stage).await;
    let names = Names::new();
    names.set(NAME, &["127.0.0.1"]);
    let (environment, turned) = names.turned();
    let gateway = Running::start_in(&stage, &(orders(&url, &[]) + ONLY_ONE), environment).await;
    let first = gateway.get("/orders/x").await;
    assert_eq!(first.reason(), "origin-unreachable");

    names.set(NAME, &["::1"]);
    // Long enough ago that addresses which take no connection are asked for again.
    turned.advance(Duration::from_secs(2));
    let second = gateway.get("/orders/x").await;
    let third = gateway.get("/orders/x").await;

    assert_eq!(second.status, 502);
    assert_eq!(third.reason(), "address-refused");
    assert!(names.asked(NAME) >= 2);
    assert_eq!(decoy.tally().accepted, 0);
}

#[tokio::test]
async fn a_token_endpoint_whose_name_comes_to_lead_to_a_refused_range_is_asked_no_more() {
    const LOGIN: &str = "login.example";
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::start(Setup::new(&stage.ca.server(&[LOGIN]))).await;
    let auth = with_secret(&authority.token_url().replace("localhost", LOGIN));
    let yaml = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let names = Names::new();
    names.set("localhost", &["127.0.0.1"]);
    names.set(LOGIN, &["127.0.0.1"]);
    let (environment, turned) = names.turned();
    let gateway = Running::start_in(&stage, &yaml, environment).await;
    assert_eq!(gateway.get("/c/x").await.status, 200);
    let asked = authority.origin().tally().accepted;

    names.set(LOGIN, &["169.254.169.254"]);
    // Past the token's life, and past the time that an address is remembered.
    turned.advance(Duration::from_secs(2 * 3600));
    let later = gateway.get("/c/x").await;

    assert!(is_no_credential(&later), "{}", later.text());
    assert_eq!(authority.origin().tally().accepted, asked);
}

/// RFC 8305 has addresses raced; one that is refused is not in the race, even if it alone would win.
#[tokio::test]
async fn a_refused_address_is_not_tried_where_no_other_takes_a_connection() {
    let stage = Stage::new();
    let (url, decoy) = decoy(&stage).await;
    for addresses in [
        &["::1", "127.0.0.1"][..],
        &["127.0.0.1", "::1"],
        &["::1", "127.0.0.1", "::ffff:10.0.0.1"],
    ] {
        let yaml = orders(&url, &[]) + ONLY_ONE;
        let gateway = Running::start_named(&stage, &yaml, &[(NAME, addresses)]).await;

        let answered = gateway.get("/orders/x").await;

        assert_eq!(answered.reason(), "origin-unreachable", "{addresses:?}");
    }
    assert_eq!(decoy.tally().accepted, 0);
}

#[tokio::test]
async fn a_reload_that_refuses_an_address_ends_the_use_of_connections_to_it() {
    for protocols in [Protocols::Http1, Protocols::Http2] {
        let stage = Stage::new();
        let setup = Setup {
            protocols,
            ..Setup::new(&stage.server())
        };
        let origin = Origin::start(setup, origin::whole(|_| Answer::text("ok"))).await;
        let yaml = orders(&origin.url("/"), &[]);
        let names = [("localhost", &["127.0.0.1"][..])];
        let gateway = Running::start_named(&stage, &yaml, &names).await;
        for _ in 0..2 {
            assert_eq!(gateway.get("/orders/x").await.status, 200);
        }
        assert_eq!(origin.tally().accepted, 1);

        let narrowed = stage.config(&(yaml + CLOSED));
        gateway.reload(narrowed).unwrap();

        let refused = gateway.get("/orders/x").await;
        assert_eq!(refused.reason(), "address-refused", "{protocols:?}");
        let open = "attache_upstream_connections";
        gateway.until_sample(open, &[], |open| open < 0.5).await;
        let tally = origin.tally();
        assert_eq!((tally.accepted, tally.heads), (1, 2), "{protocols:?}");
    }
}

#[tokio::test]
async fn a_reload_that_refuses_a_token_endpoint_has_it_asked_no_more() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let auth = with_secret(&authority.token_url());
    let yaml = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &yaml).await;

    let narrowed = stage.config(&(yaml + ONLY_ORIGINS));
    gateway.reload(narrowed).unwrap();
    let answered = gateway.get("/c/x").await;

    assert!(is_no_credential(&answered));
    assert_eq!(authority.origin().tally().accepted, 0);
}

/// Whoever may write a connector, or look at `/readyz`, would learn by name what stands in a network
/// that is closed to them.
#[tokio::test]
async fn what_is_told_of_a_refused_token_endpoint_does_not_say_where_it_is() {
    let stage = Stage::new();
    let auth = with_secret("https://intern.example/token");
    let yaml = connectors(&[connector("c", "https://192.0.2.1", &auth)]) + CLOSED;
    let names = [("intern.example", &["10.11.12.13"][..])];
    let gateway = Running::start_named(&stage, &yaml, &names).await;

    let answered = gateway.get("/c/x").await;
    let told = get(gateway.admin(), "/readyz?verbose").await;

    assert!(is_no_credential(&answered));
    assert!(!answered.text().contains("10.11.12.13"));
    let told = told.text();
    assert!(told.contains("refused range 10.0.0.0/8"), "{told}");
    assert!(!told.contains("10.11.12.13"), "{told}");
}

/// What an answer may say to lead its reader elsewhere, without a redirect's status.
fn leading(answer: Answer, decoy: &str) -> Answer {
    let port = decoy.rsplit(':').next().unwrap().trim_end_matches('/');
    answer
        .field("location", decoy)
        .field("content-location", decoy)
        .field("refresh", &format!("0; url={decoy}"))
        .field(
            "link",
            &format!("<{decoy}>; rel=\"canonical alternate preconnect preload\""),
        )
        // RFC 7838 §3.
        .field(
            "alt-svc",
            &format!("h2=\":{port}\"; ma=3600; persist=1, http/1.1=\"localhost:{port}\""),
        )
}

#[tokio::test]
async fn no_field_of_an_answer_leads_anybody_elsewhere() {
    // protocol.md, row 57. RFC 7838 §2.4: an alternative service is optional to use.
    let stage = Stage::new();
    let decoy = Origin::plain(&stage.server()).await;
    let to = decoy.url("/");
    let (told, tells) = (to.clone(), to.clone());
    let handler = origin::whole(move |request| {
        let status = request.target.rsplit('/').next().unwrap().parse().unwrap();
        leading(Answer::status(status), &told)
    });
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    let authority = Authority::plain(&stage.server()).await;
    authority
        .answer_with(move |_, _| leading(crate::support::authority::bearer("a-token", 60), &tells));
    let auth = with_secret(&authority.token_url());
    let yaml = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &yaml).await;

    // 305 once named a proxy to go by (RFC 9110 §15.4.6).
    for status in ["200", "201", "300", "304", "305", "306", "503"] {
        let answered = gateway.get(&format!("/c/{status}")).await;
        assert_eq!(answered.status.as_str(), status);
    }

    assert_eq!(origin.tally().heads, 7);
    assert_eq!(authority.count(), 1);
    assert_eq!(decoy.tally().accepted, 0);
}
