//! Connectors are kept apart: no connection, certificate or token of one ever serves another.

use std::collections::HashMap;

use http::Version;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, bearer};
use crate::support::client::Client;
use crate::support::connector::{basic, connector, connectors, oauth2, pair};
use crate::support::exchange::Recorded;
use crate::support::gateway::Running;
use crate::support::origin::{Origin, Setup, whole};
use crate::support::pki::Identity;
use crate::support::stage::Stage;
use crate::support::tls::{Ask, Protocols};

/// Flows at once, half of them over HTTP/2.
const FLOWS: usize = 8;
/// Requests over a hundred connectors.
const CROWD: usize = 10_000;

/// Sends `count` requests, interleaved over the connectors of `ids` and over [`FLOWS`] flows.
/// Request number n goes to `/{id}/{id}/{n}`, so that the origin sees whose it was.
async fn interleave(gateway: &Running, ids: &[String], count: usize) {
    let mut flows = JoinSet::new();
    for flow in 0..FLOWS {
        let (address, ids) = (gateway.flows(), ids.to_vec());
        flows.spawn(async move {
            let mut client = match flow % 2 {
                0 => Client::http1(address).await,
                _ => Client::http2(address).await,
            };
            for n in (flow..count).step_by(FLOWS) {
                // Neither the requests of a flow nor those beside it are of one connector.
                let id = &ids[(n / FLOWS + flow) % ids.len()];
                let answered = client.get(&format!("/{id}/{id}/{n}")).await;
                assert_eq!(answered.status, 200, "{id}: {}", answered.text());
                assert_eq!(answered.text(), *id, "another connector's answer");
            }
        });
    }
    while let Some(flow) = flows.join_next().await {
        flow.unwrap();
    }
}

/// Whose request it was.
fn owner(request: &Recorded) -> &str {
    request.target.split('/').nth(1).unwrap()
}

/// An origin that says whose request it was, and takes any client certificate.
async fn origin(stage: &Stage, protocols: Protocols) -> Origin {
    let setup = Setup {
        ask: Ask::Any,
        protocols,
        ..Setup::new(&stage.server())
    };
    Origin::start(setup, whole(|request| Answer::text(owner(request)))).await
}

/// Claims that no connection carried requests of two connectors.
fn claim_connections_apart(requests: &[Recorded]) {
    let mut owners = HashMap::new();
    for request in requests {
        let first = owners
            .entry(request.connection)
            .or_insert_with(|| owner(request));
        assert_eq!(*first, owner(request), "connection {}", request.connection);
    }
}

async fn two_certificates(protocols: Protocols, version: Version) {
    let stage = Stage::new();
    let origin = origin(&stage, protocols).await;
    let identities = ["a", "b"].map(|id| (id, stage.ca.client(id)));
    let all = identities.each_ref().map(|(id, identity)| {
        let auth = format!("{{ client_certificate: {} }}", pair(&stage, id, identity));
        connector(id, &origin.url("/"), &auth)
    });
    let gateway = Running::start(&stage, &format!("workers: 4\n{}", connectors(&all))).await;

    interleave(&gateway, &["a".to_owned(), "b".to_owned()], 1_000).await;

    let requests = origin.requests();
    assert_eq!(requests.len(), 1_000);
    let certificates: HashMap<&str, &Identity> =
        identities.iter().map(|(id, it)| (*id, it)).collect();
    for request in &requests {
        assert_eq!(request.version, version);
        let shown = request.client_certificate.as_ref();
        let own = certificates[owner(request)].certificate();
        assert_eq!(shown, Some(&own), "{}", request.target);
    }
    claim_connections_apart(&requests);
    let connections = origin.tally().accepted;
    assert!(connections < 100, "{connections}: they are reused");
    gateway.drain().await;
}

#[tokio::test]
async fn two_certificates_at_one_host_never_share_an_http1_connection() {
    // protocol.md, rows 22 and 66, point 12.
    two_certificates(Protocols::Http1, Version::HTTP_11).await;
}

#[tokio::test]
async fn two_certificates_at_one_host_never_share_an_http2_connection() {
    two_certificates(Protocols::Both, Version::HTTP_2).await;
}

#[tokio::test]
async fn a_connection_with_a_certificate_never_serves_a_connector_without_one() {
    let stage = Stage::new();
    let origin = origin(&stage, Protocols::Both).await;
    let pair = pair(&stage, "a", &stage.ca.client("a"));
    let all = [
        connector(
            "a",
            &origin.url("/"),
            &format!("{{ client_certificate: {pair} }}"),
        ),
        connector("b", &origin.url("/"), &basic("svc", "pass-word")),
        connector("c", &origin.url("/"), "none"),
    ];
    let gateway = Running::start(&stage, &connectors(&all)).await;

    interleave(&gateway, &["a", "b", "c"].map(str::to_owned), 200).await;

    for request in origin.requests() {
        let own = owner(&request) == "a";
        assert_eq!(request.client_certificate.is_some(), own);
        let basic = owner(&request) == "b";
        assert_eq!(request.field("authorization").is_some(), basic);
    }
    gateway.drain().await;
}

/// An authorization server whose tokens name the client and the scope they are for.
async fn naming_authority(stage: &Stage) -> Authority {
    let authority = Authority::plain(&stage.server()).await;
    authority.answer_with(|n, request| {
        let client = request.parameter("client_id").unwrap();
        let scope = request.parameter("scope").unwrap_or("none");
        bearer(&format!("{client}.{scope}.{n}"), 3600)
    });
    authority
}

async fn two_tokens(protocols: Protocols) {
    let stage = Stage::new();
    let origin = origin(&stage, protocols).await;
    let authority = naming_authority(&stage).await;
    // a and b are one client with two scopes; c is another client with a's scope.
    let clients = [("a", "one", "x"), ("b", "one", "y"), ("c", "two", "x")];
    let all = clients.map(|(id, client, scope)| {
        let rest = format!(
            "client_id: {client}, client_secret: client-secret, scope: {scope}, \
             client_authentication: client_secret_post"
        );
        connector(id, &origin.url("/"), &oauth2(&authority.token_url(), &rest))
    });
    let gateway = Running::start(&stage, &format!("workers: 4\n{}", connectors(&all))).await;

    interleave(&gateway, &["a", "b", "c"].map(str::to_owned), 1_000).await;

    assert_eq!(authority.count(), 3);
    let requests = origin.requests();
    assert_eq!(requests.len(), 1_000);
    for request in &requests {
        let (_, client, scope) = clients.iter().find(|it| it.0 == owner(request)).unwrap();
        let carried = request.field("authorization").unwrap();
        let own = format!("Bearer {client}.{scope}.");
        assert!(carried.starts_with(&own), "{}: {carried}", request.target);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn two_tokens_of_one_token_endpoint_never_meet_over_http1() {
    // protocol.md rows 22, 51 and 66.
    two_tokens(Protocols::Http1).await;
}

#[tokio::test]
async fn two_tokens_of_one_token_endpoint_never_meet_over_http2() {
    two_tokens(Protocols::Both).await;
}

#[tokio::test]
async fn each_of_a_hundred_connectors_carries_its_own_canary_and_no_other() {
    // protocol.md row 66.
    let stage = Stage::new();
    let origin = origin(&stage, Protocols::Both).await;
    let authority = naming_authority(&stage).await;
    let ids: Vec<String> = (0..100).map(|n| format!("c{n:02}")).collect();
    let all: Vec<String> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let auth = match n % 3 {
                0 => basic("svc", &format!("canary-{id}")),
                1 => format!("{{ header: {{ name: X-Api-Key, value: canary-{id} }} }}"),
                _ => oauth2(
                    &authority.token_url(),
                    &format!(
                        "client_id: canary-{id}, client_secret: pass-word, \
                         client_authentication: client_secret_post"
                    ),
                ),
            };
            connector(id, &origin.url("/"), &auth)
        })
        .collect();
    let gateway = Running::start(&stage, &connectors(&all)).await;

    interleave(&gateway, &ids, CROWD).await;

    let requests = origin.requests();
    assert_eq!(requests.len(), CROWD);
    assert_eq!(authority.count(), 33);
    for request in &requests {
        let shown = carried(request);
        let canaries: Vec<_> = ids
            .iter()
            .filter(|id| shown.contains(&format!("canary-{id}")))
            .collect();
        assert_eq!(canaries, [owner(request)], "{shown}");
    }
    gateway.drain().await;
}

/// Everything in a request that could be a credential, in the clear.
fn carried(request: &Recorded) -> String {
    use base64::Engine;
    let values = request.fields.iter().map(|(_, value)| {
        let basic = value.strip_prefix("Basic ");
        let decoded = basic.map(|it| {
            base64::engine::general_purpose::STANDARD
                .decode(it)
                .unwrap()
        });
        decoded.map_or_else(|| value.clone(), |it| String::from_utf8(it).unwrap())
    });
    values.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_rotated_certificate_and_its_token_change_together_and_the_old_ones_are_gone() {
    // RFC 8705 §3; protocol.md 58 and row 56.
    let stage = Stage::new();
    let origin = origin(&stage, Protocols::Both).await;
    let authority = Authority::plain(&stage.server()).await;
    let identities = ["old", "new"].map(|stem| (stem, stage.ca.client(stem)));
    let configured = |stem: &str, identity: &Identity| {
        let rest = format!(
            "client_id: id, client_authentication: tls_client_auth, client_certificate: {}, \
             certificate_to_resource: true",
            pair(&stage, stem, identity)
        );
        let auth = oauth2(&authority.token_url(), &rest);
        connectors(&[connector("c", &origin.url("/"), &auth)])
    };
    let [old, new] = identities
        .each_ref()
        .map(|(stem, identity)| configured(stem, identity));
    let gateway = Running::start(&stage, &old).await;

    interleave(&gateway, &["c".to_owned()], 40).await;
    gateway.reload(stage.config(&new)).unwrap();
    let before = origin.requests().len();
    interleave(&gateway, &["c".to_owned()], 40).await;

    for (n, request) in origin.requests().iter().enumerate() {
        let (_, identity) = &identities[usize::from(n >= before)];
        let shown = request.client_certificate.as_ref();
        assert_eq!(shown, Some(&identity.certificate()), "request {n}");
        let token = format!("Bearer token-{}", 1 + usize::from(n >= before));
        assert_eq!(request.field("authorization"), Some(token.as_str()));
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_changed_password_is_the_only_one_that_is_sent_from_then_on() {
    // protocol.md row 56.
    let stage = Stage::new();
    let origin = origin(&stage, Protocols::Both).await;
    let configured = |password: &str| {
        let auth = basic("svc", password);
        connectors(&[connector("c", &origin.url("/"), &auth)])
    };
    let gateway = Running::start(&stage, &configured("old-password")).await;

    interleave(&gateway, &["c".to_owned()], 40).await;
    let reloaded = stage.config(&configured("new-password"));
    gateway.reload(reloaded).unwrap();
    let before = origin.requests().len();
    interleave(&gateway, &["c".to_owned()], 40).await;

    for (n, request) in origin.requests().iter().enumerate() {
        let own = if n < before { "old" } else { "new" };
        let carried = carried(request);
        assert!(carried.contains(&format!("svc:{own}-password")), "{n}");
    }
    gateway.drain().await;
}
