//! Answers that must not become a token.

use http::StatusCode;

use super::server::{answer, json, token};
use super::*;
use crate::dial::{DialError, Leg};
use crate::metrics::TokenOutcome;

fn with_type(token_type: &str) -> Vec<u8> {
    json(
        200,
        &format!(r#"{{"access_token":"secret-token","token_type":{token_type}}}"#),
    )
}

fn is_malformed(error: &TokenError) -> bool {
    matches!(error.outcome(), TokenOutcome::Malformed)
}

#[tokio::test]
async fn a_foreign_token_type_is_refused() {
    // RFC 6749 §7.1; protocol.md, line 42.
    let stage = Stage::new().await;
    for foreign in [r#""DPoP""#, r#""mac""#, r#""N_A""#, r#""""#, r#""bearer ""#] {
        let refused = stage.answered(with_type(foreign)).await;

        assert!(
            matches!(told(&refused), Err(TokenError::ForeignTokenType)),
            "{foreign}"
        );
    }
}

#[tokio::test]
async fn a_token_that_no_field_may_carry_is_refused() {
    // RFC 6750 §2.1; RUSTSEC-2017-0002; protocol.md, line 48, row 59.
    let stage = Stage::new().await;
    for bad in [
        "",
        "a b",
        r"a\r\nX-Evil: 1",
        r"a\u0000b",
        r"a\tb",
        r"\u00e9",
        r"a\u007f",
    ] {
        let refused = stage.answered(token(bad, 3600)).await;

        assert!(
            matches!(told(&refused), Err(TokenError::IllegalToken)),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn what_is_no_token_response_is_refused() {
    let stage = Stage::new().await;
    for bad in [
        "access_token=secret-token&token_type=bearer",
        "<html>secret-token</html>",
        r#"{"access_token":"secret-token""#,
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":12345}"#,
        r#"{"access_token":["secret-token"]}"#,
        r#"{"access_token":"other","access_token":"secret-token"}"#,
        r#"{"access_token":"secret-token"} {}"#,
        r#"{"access_token":"secret-token"}{"access_token":"other"}"#,
        r#"{"access_token":"secret-token","token_type":7}"#,
        r#"{"access_token":"secret-token","expires_in":"soon"}"#,
        r#"{"access_token":"secret-token","expires_in":"NaN"}"#,
        r#"{"access_token":"secret-token","expires_in":[60]}"#,
        r#""secret-token""#,
        "null",
        "[]",
    ] {
        let refused = stage.answered(json(200, bad)).await;

        let error = refused.expect_err(bad);
        assert!(
            matches!(*error, TokenError::NotATokenResponse { .. }),
            "{bad}: {error:?}"
        );
        assert!(is_malformed(&error));
    }
}

#[tokio::test]
async fn an_empty_answer_is_refused() {
    let stage = Stage::new().await;

    let refused = stage.answered(json(200, "")).await;

    assert!(
        matches!(told(&refused), Err(TokenError::Empty)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn deeply_nested_json_is_refused() {
    // CVE-2026-48042; protocol.md, row 48.
    let stage = Stage::new().await;
    let levels = 30_000;
    let (open, close) = ("[".repeat(levels), "]".repeat(levels));
    for deep in [
        format!("{open}{close}"),
        open.clone(),
        format!(r#"{{"access_token":"secret-token","x":{open}{close}}}"#),
    ] {
        let refused = stage.answered(json(200, &deep)).await;

        assert!(
            matches!(told(&refused), Err(TokenError::TooDeep { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn sixty_four_kibibytes_are_refused_and_one_byte_less_is_not() {
    // CVE-2024-34364; protocol.md, row 47.
    let stage = Stage::new().await;
    let padded = |length: usize| {
        let bare = r#"{"access_token":"a","x":""}"#;
        let pad = "x".repeat(length - bare.len());
        json(200, &format!(r#"{{"access_token":"a","x":"{pad}"}}"#))
    };

    let refused = stage.answered(padded(64 * 1024)).await;
    let taken = stage.answered(padded(64 * 1024 - 1)).await;

    assert!(
        matches!(told(&refused), Err(TokenError::TooLong { .. })),
        "{refused:?}"
    );
    assert!(taken.is_ok(), "{taken:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    // protocol.md, row 47.
    let stage = Stage::new().await;
    let mut endless = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..4096 {
        endless.extend_from_slice(format!("1000\r\n{}\r\n", "[".repeat(4096)).as_bytes());
    }

    let refused = stage.answered(endless).await;

    assert!(
        matches!(told(&refused), Err(TokenError::TooLong { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_encoded_answer_is_not_decoded() {
    // CVE-2026-48044, CVE-2024-32976; protocol.md, row 49.
    let stage = Stage::new().await;
    for encoding in ["gzip", "br", "zstd", "identity, gzip", "x"] {
        let fields = format!("Content-Encoding: {encoding}\r\n");
        let refused = stage
            .answered(answer(200, &fields, r#"{"access_token":"a"}"#))
            .await;

        assert!(
            matches!(told(&refused), Err(TokenError::Encoded)),
            "{encoding}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    // CVE-2026-33745, CVE-2024-45336.
    let stage = Stage::new().await;
    let decoy = Server::start(&stage.pki, "other.example", None).await;
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let fields = format!(
            "Location: https://other.example:{}/\r\n",
            decoy.address.port()
        );
        let refused = stage.answered(answer(status, &fields, "")).await;

        let error = refused.expect_err("no token");
        assert!(matches!(*error, TokenError::Redirected { status: s } if s == status));
        assert!(matches!(error.outcome(), TokenOutcome::Rejected));
    }
    assert_eq!(stage.server.count(), 7);
    assert_eq!(decoy.count(), 0);
}

#[tokio::test]
async fn a_success_that_is_neither_200_nor_201_is_refused() {
    let stage = Stage::new().await;
    for status in [202, 203, 206, 226] {
        let refused = stage
            .answered(json(status, r#"{"access_token":"secret-token"}"#))
            .await;

        assert!(
            matches!(told(&refused), Err(TokenError::UnexpectedStatus { .. })),
            "{status}"
        );
    }
    let nothing = stage.answered(b"HTTP/1.1 204 x\r\n\r\n".to_vec()).await;
    assert!(matches!(
        told(&nothing),
        Err(TokenError::UnexpectedStatus { .. })
    ));
}

#[tokio::test]
async fn an_error_answer_gives_its_code_if_it_is_well_formed() {
    // RFC 6749 §5.2.
    let stage = Stage::new().await;
    for (status, body, code) in [
        (401, r#"{"error":"invalid_client"}"#, Some("invalid_client")),
        (
            400,
            r#"{"error":"invalid_scope","error_description":7}"#,
            Some("invalid_scope"),
        ),
        (400, r#"{"error":{"code":1}}"#, None),
        (400, r#"{"error":"no such \r\nclient"}"#, None),
        (400, r#"{"error":"a:b%/+é "}"#, None),
        (403, "<html>no</html>", None),
        (429, "", None),
        (503, "{}", None),
    ] {
        let refused = stage.answered(json(status, body)).await;

        let error = refused.expect_err("no token");
        assert!(matches!(error.outcome(), TokenOutcome::Rejected), "{body}");
        assert_eq!(error.code(), code, "{body}");
    }
}

#[tokio::test]
async fn a_token_in_an_error_answer_is_not_used() {
    let stage = Stage::new().await;

    let refused = stage
        .answered(json(400, r#"{"access_token":"secret-token"}"#))
        .await;

    assert!(
        matches!(told(&refused), Err(TokenError::Rejected(r)) if r.status() == StatusCode::BAD_REQUEST)
    );
}

#[tokio::test]
async fn a_broken_answer_is_refused() {
    let stage = Stage::new().await;
    for (bytes, outcome) in [
        ("", TokenOutcome::Unreachable),
        ("HTTP/1.1 200 x\r\nContent-Le", TokenOutcome::Unreachable),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 99\r\n\r\n{\"access_token\":\"a\"}",
            TokenOutcome::Unreachable,
        ),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", TokenOutcome::Malformed),
        ("HTTP/1.1 200 x\r\nA b: c\r\n\r\n", TokenOutcome::Malformed),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            TokenOutcome::Malformed,
        ),
    ] {
        let refused = stage.answered(bytes.into()).await;

        let error = refused.expect_err(bytes);
        assert_eq!(
            std::mem::discriminant(&error.outcome()),
            std::mem::discriminant(&outcome),
            "{bytes:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_with_an_endless_head_is_refused() {
    let stage = Stage::new().await;
    let mut bytes = b"HTTP/1.1 200 x\r\n".to_vec();
    bytes.extend_from_slice("X: y\r\n".repeat(100_000).as_bytes());

    let refused = stage.answered(bytes).await;

    assert!(
        matches!(told(&refused), Err(TokenError::NotHttp(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_with_the_wrong_certificate() {
    let stage = Stage::new().await;
    let wrong_name = OAuth2 {
        token_url: stage.url("other.example"),
        ..stage.oauth2()
    };
    let strangers = Settings {
        anchors: TrustAnchors::system_and([Pki::new().pem().as_str()]).expect("anchors"),
        ..stage.settings.clone()
    };

    let misnamed = stage.obtain(wrong_name).await;
    let untrusted = stage
        .credentials
        .fetch_once(&connector("crm", stage.oauth2()), &strangers, "crm".into())
        .await;

    let misnamed = misnamed.expect_err("another name").reason;
    assert!(matches!(&*misnamed, TokenError::Dial(error) if error.leg() == Leg::Tls));
    assert!(matches!(untrusted, Err(TokenError::Dial(error)) if error.leg() == Leg::Tls));
    assert_eq!(stage.server.count(), 0);
}

#[tokio::test]
async fn a_token_endpoint_in_a_refused_range_is_not_connected_to() {
    let stage = Stage::new().await;
    let strict = Settings {
        policy: AddressPolicy::default(),
        ..stage.settings.clone()
    };

    let refused = stage
        .credentials
        .fetch_once(&connector("crm", stage.oauth2()), &strict, "crm".into())
        .await;

    let error = refused.expect_err("loopback");
    assert!(matches!(
        error,
        TokenError::Dial(DialError::AddressRefused { .. })
    ));
    assert!(matches!(error.outcome(), TokenOutcome::Unreachable));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_when_the_time_is_over() {
    let stage = Stage::new().await;
    stage.server.close();
    let connector = connector("crm", stage.oauth2());
    let fetch = stage
        .credentials
        .fetch_once(&connector, &stage.settings, "crm".into());

    let (fetched, ()) = tokio::join!(fetch, async {
        stage.server.has_seen(1).await;
        stage.turned.advance(stage.settings.tokens.fetch);
    });

    let error = fetched.expect_err("no answer");
    assert!(matches!(error, TokenError::TimedOut { .. }), "{error:?}");
    assert!(matches!(error.outcome(), TokenOutcome::Timeout));
}
