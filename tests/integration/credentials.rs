//! Every scheme, from a flow's plain request to what the origin and the token endpoint receive.
//!
//! What a real authorization server makes of the token requests is in `oidc.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, TokenRequest};
use crate::support::client::Client;
use crate::support::connector::{basic, connector, connectors, oauth2, pair, quoted, with_secret};
use crate::support::exchange::Recorded;
use crate::support::gateway::Running;
use crate::support::oidc::ODD_SECRET;
use crate::support::origin::{Origin, Setup, whole};
use crate::support::pki::Leaf;
use crate::support::stage::Stage;
use crate::support::tls::Ask;

/// What a flow may try to smuggle past the credential.
const SMUGGLED: &[(&str, &str)] = &[
    ("authorization", "Bearer of-the-flow"),
    ("proxy-authorization", "Basic b2Y6ZmxvdyE="),
    ("connection", "authorization, x-api-key"),
    ("x-api-key", "of-the-flow"),
    ("x_api_key", "of-the-flow"),
];

/// What the origin receives of a smuggling flow's request to a connector with `auth`.
async fn received(stage: &Stage, origin: &Origin, auth: &str) -> Recorded {
    let own = connectors(&[connector("c", &origin.url("/"), auth)]);
    let gateway = Running::start(stage, &own).await;
    let mut client = Client::http1(gateway.flows()).await;

    let answered = client.call("GET", "/c/x", SMUGGLED, "").await;

    assert_eq!(answered.status, 200, "{}", answered.text());
    gateway.drain().await;
    let received = origin.only_request();
    let shown = format!("{:?}", received.fields);
    assert!(!shown.contains("b2Y6ZmxvdyE="), "{shown}");
    received
}

/// What origin and token endpoint receive, both asking for client certificates.
async fn exchanged(stage: &Stage, rest: &str) -> (Recorded, TokenRequest) {
    let asking = Setup {
        ask: Ask::Any,
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(asking.clone(), whole(|_| Answer::text("ok"))).await;
    let authority = Authority::start(asking).await;
    let auth = oauth2(&authority.token_url(), rest);
    let received = received(stage, &origin, &auth).await;
    (received, authority.only_request())
}

/// The parameters by name; fails the test if one is repeated (RFC 6749 §3.2).
fn sorted(request: &TokenRequest) -> Vec<(&str, &str)> {
    let pairs = request.form.iter();
    let mut pairs: Vec<_> = pairs.map(|(a, b)| (a.as_str(), b.as_str())).collect();
    pairs.sort_unstable();
    let repeated = pairs.windows(2).any(|two| two[0].0 == two[1].0);
    assert!(!repeated, "{pairs:?}");
    pairs
}

#[tokio::test]
async fn an_origin_that_asks_for_nothing_receives_no_credential_of_the_flow_either() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;

    let received = received(&stage, &origin, "none").await;

    assert_eq!(received.field("authorization"), None);
    assert_eq!(received.field("proxy-authorization"), None);
}

#[tokio::test]
async fn basic_takes_the_place_of_whatever_the_flow_sent() {
    // RFC 7617 §2; protocol.md 3 and rows 32, 58.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;

    let received = received(&stage, &origin, &basic("svc", "pa:ss £1")).await;

    let expected = format!("Basic {}", STANDARD.encode("svc:pa:ss £1"));
    assert_eq!(received.field("authorization"), Some(expected.as_str()));
}

#[tokio::test]
async fn an_api_key_takes_the_place_of_every_spelling_of_its_name() {
    // protocol.md row 33.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let auth = "{ header: { name: X-Api-Key, value: the-right-key } }";

    let received = received(&stage, &origin, auth).await;

    assert_eq!(received.field("x-api-key"), Some("the-right-key"));
    assert_eq!(received.field("x_api_key"), None);
    assert_eq!(received.field("authorization"), None);
}

#[tokio::test]
async fn a_client_certificate_alone_opens_an_origin_that_demands_one() {
    // RFC 8446 §4.4.2.
    let stage = Stage::new();
    let identity = stage.ca.client("gateway");
    let demanding = Setup {
        ask: Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(demanding, whole(|_| Answer::text("ok"))).await;
    let pair = pair(&stage, "client", &identity);

    let auth = format!("{{ client_certificate: {pair} }}");
    let received = received(&stage, &origin, &auth).await;

    assert_eq!(received.client_certificate, Some(identity.certificate()));
    assert_eq!(received.field("authorization"), None);
}

#[tokio::test]
async fn without_the_certificate_that_it_demands_an_origin_is_not_reached() {
    let stage = Stage::new();
    let demanding = Setup {
        ask: Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(demanding, whole(|_| Answer::text("ok"))).await;
    let own = connectors(&[connector("c", &origin.url("/"), "none")]);
    let gateway = Running::start(&stage, &own).await;

    let answered = gateway.get("/c/x").await;

    assert_eq!(answered.status, 502, "{}", answered.text());
    assert_eq!(origin.tally().heads, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn client_secret_basic_form_encodes_both_halves_and_sends_the_secret_once() {
    // protocol.md, line 37.
    // RFC 6749 §2.3, §2.3.1; protocol.md 38, 39.
    let stage = Stage::new();
    let rest = format!(
        "client_id: \"id:1 é\", client_secret: {}, scope: api read",
        quoted(ODD_SECRET)
    );

    let (received, asked) = exchanged(&stage, &rest).await;

    let encode =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let halves = format!("{}:{}", encode("id:1 é"), encode(ODD_SECRET));
    let expected = format!("Basic {}", STANDARD.encode(halves));
    assert_eq!(asked.recorded.method, "POST");
    assert_eq!(asked.recorded.target, "/oauth/token");
    assert_eq!(
        asked.recorded.field("authorization"),
        Some(expected.as_str())
    );
    assert_eq!(
        asked.recorded.field("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        sorted(&asked),
        [("grant_type", "client_credentials"), ("scope", "api read")]
    );
    assert_eq!(asked.recorded.client_certificate, None);
    assert_eq!(received.field("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn client_secret_post_sends_the_secret_in_the_body_alone() {
    // RFC 6749 §2.3, §2.3.1; protocol.md, line 38.
    let stage = Stage::new();
    let rest = format!(
        "client_id: id, client_secret: {}, client_authentication: client_secret_post",
        quoted(ODD_SECRET)
    );

    let (received, asked) = exchanged(&stage, &rest).await;

    assert_eq!(
        sorted(&asked),
        [
            ("client_id", "id"),
            ("client_secret", ODD_SECRET),
            ("grant_type", "client_credentials"),
        ]
    );
    assert_eq!(asked.recorded.field("authorization"), None);
    assert_eq!(asked.recorded.target, "/oauth/token");
    assert_eq!(received.field("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn a_certificate_proves_the_client_to_the_token_endpoint_and_to_nobody_else() {
    // RFC 8705 §2: "the client MUST include the client_id parameter"; protocol.md, line 56.
    for (method, identity) in [
        ("tls_client_auth", Stage::new().ca.client("client")),
        (
            "self_signed_tls_client_auth",
            Leaf::client("client").self_signed(),
        ),
    ] {
        let stage = Stage::new();
        let pair = pair(&stage, "client", &identity);
        let rest =
            format!("client_id: id, client_authentication: {method}, client_certificate: {pair}");

        let (received, asked) = exchanged(&stage, &rest).await;

        assert_eq!(
            sorted(&asked),
            [("client_id", "id"), ("grant_type", "client_credentials")]
        );
        assert_eq!(asked.recorded.field("authorization"), None, "{method}");
        let shown = asked.recorded.client_certificate;
        assert_eq!(shown, Some(identity.certificate()), "{method}");
        assert_eq!(received.client_certificate, None, "{method}");
        assert_eq!(received.field("authorization"), Some("Bearer token-1"));
    }
}

#[tokio::test]
async fn a_bound_token_travels_over_a_connection_with_its_certificate() {
    // RFC 8705 §3; protocol.md 58.
    let stage = Stage::new();
    let identity = stage.ca.client("client");
    let pair = pair(&stage, "client", &identity);
    let rest = format!(
        "client_id: id, client_authentication: tls_client_auth, client_certificate: {pair}, \
         certificate_to_resource: true"
    );

    let (received, asked) = exchanged(&stage, &rest).await;

    let shown = Some(identity.certificate());
    assert_eq!(asked.recorded.client_certificate, shown);
    assert_eq!(received.client_certificate, shown);
    assert_eq!(received.field("authorization"), Some("Bearer token-1"));
}

#[tokio::test]
async fn parameters_and_fields_of_the_token_request_go_there_and_nowhere_else() {
    // protocol.md, line 47.
    let stage = Stage::new();
    let rest = "client_id: id, client_secret: client-secret, \
        token_parameters: { audience: \"https://api.example/?a=b&c\", resource: r-1 }, \
        token_headers: { X-Tenant: tenant-1 }";

    let (received, asked) = exchanged(&stage, rest).await;

    assert_eq!(
        sorted(&asked),
        [
            ("audience", "https://api.example/?a=b&c"),
            ("grant_type", "client_credentials"),
            ("resource", "r-1"),
        ]
    );
    assert_eq!(asked.recorded.field("x-tenant"), Some("tenant-1"));
    assert_eq!(received.field("x-tenant"), None);
    // RFC 9700 §4.3.2: "Clients MUST NOT pass access tokens in a URI query parameter".
    assert_eq!(received.target, "/x");
}

/// Whether the answer to a token request is good enough for the token in it to be used.
async fn is_taken(answer: impl Fn() -> Answer + Send + Sync + 'static) -> bool {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    authority.answer_with(move |_, _| answer());
    let auth = with_secret(&authority.token_url());
    let own = connectors(&[connector("c", &origin.url("/"), &auth)]);
    let gateway = Running::start(&stage, &own).await;

    let answered = gateway.get("/c/x").await;

    gateway.drain().await;
    let requests = origin.requests();
    let carried: Vec<_> = requests
        .iter()
        .map(|it| it.field("authorization"))
        .collect();
    if answered.status == 200 {
        assert_eq!(carried, [Some("Bearer ab.c-_~+/=")]);
    } else {
        assert!(carried.is_empty(), "{carried:?}");
    }
    answered.status == 200
}

#[tokio::test]
async fn answers_that_real_servers_give_are_taken_although_they_are_no_standard() {
    // RFC 6749 §5.1, against which they err.
    let token = "ab.c-_~+/=";
    for answer in [
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": "3600" }),
        json!({ "access_token": token, "token_type": "BEARER", "expires_in": 3600.0 }),
        json!({ "access_token": token, "token_type": "bearer", "expires_in": null }),
        json!({ "access_token": token }),
        json!({ "access_token": token, "scope": "", "unknown": { "deep": [1, 2, { "a": null }] } }),
    ] {
        let shown = answer.to_string();
        assert!(is_taken(move || Answer::json(&answer)).await, "{shown}");
    }
    let plain = move || {
        Answer::text(&json!({ "access_token": token }).to_string())
            .field("content-type", "text/html; charset=iso-8859-1")
    };
    assert!(is_taken(plain).await, "a wrong content type");
}
