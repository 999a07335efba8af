//! What a token endpoint is sent.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::form_urlencoded;

use super::server::{Seen, self_signed};
use super::*;
use crate::connector::{Assertion, SigningAlgorithm, StaticHeader};

async fn sent(stage: &Stage, oauth2: OAuth2) -> Seen {
    stage.obtain(oauth2).await.expect("a token");
    stage.server.last()
}

pub(super) fn field(name: &'static str, value: &str) -> StaticHeader {
    StaticHeader {
        name: HeaderName::from_static(name),
        value: secret(value),
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn a_request_is_one_post_without_credentials_in_its_target() {
    // RFC 6749 §2.3.1, §3.2; protocol.md, line 37.
    let stage = Stage::new().await;

    let seen = sent(&stage, stage.password()).await;

    let port = stage.server.address.port();
    assert!(
        seen.head.starts_with("POST /token?tenant=a HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert_eq!(seen.field("host"), Some(format!("login.example:{port}")));
    assert_eq!(seen.field("accept").as_deref(), Some("application/json"));
    assert_eq!(seen.field("accept-encoding").as_deref(), Some("identity"));
    assert_eq!(seen.field("connection").as_deref(), Some("close"));
    assert_eq!(
        seen.field("content-type").as_deref(),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn client_secret_basic_encodes_both_halves() {
    // RFC 6749 §2.3.1; protocol.md, line 39.
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_id: "client:1 ü".to_owned(),
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    let authorization = seen.field("authorization").expect("it authenticates");
    let pair = authorization.strip_prefix("Basic ").expect("by Basic");
    let pair = String::from_utf8(STANDARD.decode(pair).expect("base64")).expect("ASCII");
    let (id, held) = pair.split_once(':').expect("two halves");
    let decoded = |half: &str| {
        let half = format!("x={half}");
        let pair = form_urlencoded::parse(half.as_bytes()).next();
        pair.map(|(_, value)| value.into_owned())
    };
    assert_eq!(decoded(id).as_deref(), Some("client:1 ü"));
    assert_eq!(decoded(held).as_deref(), Some(SECRET));
    // RFC 6749 §2.3: no second authentication beside it.
    assert_eq!(
        seen.parameters(),
        pairs(&[("grant_type", "client_credentials")])
    );
}

#[tokio::test]
async fn client_secret_post_sends_both_in_the_body_alone() {
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_authentication: ClientAuthentication::ClientSecretPost(secret(SECRET)),
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    assert_eq!(seen.field("authorization"), None);
    assert_eq!(
        seen.parameters(),
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "client-1"),
            ("client_secret", SECRET),
        ])
    );
}

#[tokio::test]
async fn a_public_client_names_itself_and_nothing_more() {
    // RFC 6749 §3.2.1.
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_authentication: ClientAuthentication::None,
        ..stage.password()
    };

    let seen = sent(&stage, oauth2).await;

    assert_eq!(seen.field("authorization"), None);
    assert_eq!(
        seen.parameters(),
        pairs(&[
            ("grant_type", "password"),
            ("username", "svc@example.com"),
            ("password", "pass word&="),
            ("client_id", "client-1"),
        ])
    );
}

#[tokio::test]
async fn a_certificate_is_shown_in_the_handshake_beside_the_client_id() {
    // RFC 8705 §2; protocol.md, line 56.
    let pki = Pki::new();
    let by_ca = ClientAuthentication::TlsClientAuth(pki.issue("client.example"));
    let own = self_signed("client.example");
    let anchors = format!("{}{}", pki.pem(), own.certificate_pem);
    let self_signed = ClientAuthentication::SelfSignedTlsClientAuth(own);
    let stage = Stage::of(pki, Some(anchors)).await;
    for (id, client_authentication) in [("ca", by_ca), ("self", self_signed)] {
        let oauth2 = OAuth2 {
            client_authentication,
            ..stage.oauth2()
        };

        let obtained = stage.source(&connector(id, oauth2)).obtain().await;

        obtained.expect("a token");
        let seen = stage.server.last();
        assert!(seen.showed_certificate, "{id}");
        assert_eq!(seen.field("authorization"), None);
        let expected = [
            ("grant_type", "client_credentials"),
            ("client_id", "client-1"),
        ];
        assert_eq!(seen.parameters(), pairs(&expected));
    }
}

#[tokio::test]
async fn an_assertion_is_the_only_authentication_and_its_key_stays_out_of_the_handshake() {
    // RFC 7523 §2.2.
    let pki = Pki::new();
    let certificate = pki.issue("client.example");
    let anchors = pki.pem();
    let stage = Stage::of(pki, Some(anchors)).await;
    let oauth2 = OAuth2 {
        client_authentication: ClientAuthentication::PrivateKeyJwt {
            certificate,
            assertion: Box::new(Assertion {
                audience: "https://login.example".to_owned(),
                algorithm: SigningAlgorithm::Es256,
                typ: "JWT".to_owned(),
                key_id: None,
                lifetime: Duration::from_secs(60),
            }),
        },
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    assert!(!seen.showed_certificate);
    assert_eq!(seen.field("authorization"), None);
    assert_eq!(seen.parameter("client_id").as_deref(), Some("client-1"));
    assert_eq!(seen.parameter("client_secret"), None);
    assert_eq!(
        seen.parameter("client_assertion_type").as_deref(),
        Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    );
    let jwt = seen.parameter("client_assertion").expect("an assertion");
    let part = |n: usize| {
        let part = jwt.split('.').nth(n).expect("three parts");
        let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice::<Value>(&json).expect("JSON")
    };
    assert!(part(0)["kid"].is_null());
    assert!(part(0)["x5t#S256"].is_string());
    assert_eq!(part(1)["aud"], "https://login.example");
    assert_eq!(part(1)["exp"], (1_u64 << 30) + 60);
}

#[tokio::test]
async fn scope_parameters_and_fields_travel_as_written() {
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        scope: Some("https://a.example/.default  api+x".to_owned()),
        token_parameters: BTreeMap::from([
            ("audience".to_owned(), secret("a&b=c")),
            ("resource".to_owned(), secret("https://r.example/?x#y")),
        ]),
        token_headers: vec![
            field("x-api-key", "k 1"),
            field("user-agent", "mine/1"),
            field("accept", "application/vnd.example+json"),
        ],
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    assert_eq!(
        seen.parameters(),
        pairs(&[
            ("grant_type", "client_credentials"),
            ("scope", "https://a.example/.default  api+x"),
            ("audience", "a&b=c"),
            ("resource", "https://r.example/?x#y"),
        ])
    );
    assert_eq!(seen.field("x-api-key").as_deref(), Some("k 1"));
    assert_eq!(seen.field("user-agent").as_deref(), Some("mine/1"));
    let accept = seen.field("accept");
    assert_eq!(accept.as_deref(), Some("application/vnd.example+json"));
}

#[tokio::test]
async fn a_parameter_of_the_gateways_own_is_not_sent_twice() {
    // RFC 6749 §3.2; protocol.md, line 40.
    let stage = Stage::new().await;
    for name in crate::connector::RESERVED_PARAMETERS {
        let oauth2 = OAuth2 {
            token_parameters: BTreeMap::from([((*name).to_owned(), secret("x"))]),
            ..stage.oauth2()
        };

        let refused = stage.obtain(oauth2).await.expect_err("it is reserved");

        assert!(
            matches!(&*refused.reason, TokenError::ReservedParameter { .. }),
            "{name}"
        );
    }
    assert_eq!(stage.server.count(), 0);
}

#[tokio::test]
async fn a_field_that_would_authenticate_twice_or_break_the_framing_is_not_sent() {
    // RFC 6749 §2.3; protocol.md, line 38.
    let stage = Stage::new().await;
    for name in [
        "authorization",
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
    ] {
        let oauth2 = OAuth2 {
            token_headers: vec![field(name, "x")],
            ..stage.oauth2()
        };

        let refused = stage.obtain(oauth2).await.expect_err("it is reserved");

        assert!(
            matches!(&*refused.reason, TokenError::ReservedField { .. }),
            "{name}"
        );
    }
    assert_eq!(stage.server.count(), 0);
}

#[tokio::test]
async fn a_public_client_may_bring_an_authorization_of_its_own() {
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_authentication: ClientAuthentication::None,
        token_headers: vec![field("authorization", "SSWS key")],
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    assert_eq!(seen.field("authorization").as_deref(), Some("SSWS key"));
}

#[tokio::test]
async fn a_field_with_a_line_break_is_never_written() {
    // RUSTSEC-2017-0002; protocol.md, row 59.
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        token_headers: vec![field("x-api-key", "a\r\nX-Evil: 1")],
        ..stage.oauth2()
    };

    let refused = stage.obtain(oauth2).await.expect_err("no legal value");

    assert!(matches!(*refused.reason, TokenError::Unwritable));
    assert_eq!(stage.server.count(), 0);
}

#[tokio::test]
async fn line_breaks_in_parameters_stay_within_their_parameter() {
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_id: "client\r\n-1&x=y".to_owned(),
        client_authentication: ClientAuthentication::ClientSecretPost(secret("s\r\n\0")),
        scope: Some("a\r\nb".to_owned()),
        ..stage.oauth2()
    };

    let seen = sent(&stage, oauth2).await;

    assert_eq!(
        seen.parameter("client_id").as_deref(),
        Some("client\r\n-1&x=y")
    );
    assert_eq!(seen.parameter("client_secret").as_deref(), Some("s\r\n\0"));
    assert_eq!(seen.parameter("scope").as_deref(), Some("a\r\nb"));
}

#[tokio::test]
async fn a_connectors_own_anchors_hold_for_its_token_endpoint() {
    let stage = Stage::new().await;
    let mut connector = connector("crm", stage.oauth2());
    connector.ca_bundle = Some(stage.pki.pem().into());
    let strangers = Settings {
        anchors: TrustAnchors::system_and([Pki::new().pem().as_str()]).expect("anchors"),
        ..stage.settings.clone()
    };

    let fetched = stage
        .credentials
        .fetch_once(&connector, &strangers, "crm".into())
        .await;

    assert!(matches!(fetched, Ok(Some(_))), "{fetched:?}");
}

#[tokio::test]
async fn schemes_without_a_token_never_ask_for_one() {
    let stage = Stage::new().await;
    let pair = self_signed("client.example");
    let basic = crate::connector::Basic {
        username: "svc".to_owned(),
        password: secret("pass"),
        validation_url: None,
    };
    for (scheme, written) in [
        (Scheme::None, None),
        (Scheme::ClientCertificate(pair), None),
        (
            Scheme::Basic(basic),
            Some(("authorization", "Basic c3ZjOnBhc3M=")),
        ),
        (
            Scheme::Header(Box::new(field("x-api-key", "k 1"))),
            Some(("x-api-key", "k 1")),
        ),
    ] {
        let mut connector = connector("crm", stage.oauth2());
        let Kind::Custom(custom) = &mut connector.kind;
        custom.scheme = scheme;

        let source = stage.source(&connector);
        let obtained = source.obtain().await.expect("it is fixed");
        let once = stage
            .credentials
            .fetch_once(&connector, &stage.settings, "crm".into())
            .await;

        let carried = match &obtained.credential {
            Credential::None => None,
            Credential::Field { name, value, .. } => {
                assert!(value.is_sensitive());
                Some((name.as_str(), value.to_str().expect("ASCII")))
            }
        };
        assert_eq!(carried, written);
        assert_eq!((obtained.cache, source.state()), (None, None));
        assert!(matches!(once, Ok(None)));
    }
    assert_eq!(stage.server.count(), 0);
}
