//! What a token endpoint answers: `credential::exchange`, `answer` and `token`.
//!
//! The first line is a status, then come fields, then an empty line and the body. There is a token
//! of harmless characters, or a failure with a class that shows nothing of the answer.

#![no_main]

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use attache::clock::{Clock, Turned};
use attache::connector::{OAuth2, Scheme};
use attache::credential::{Credential, doors};
use attache_fuzz::{CANARY, fields, message};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const CONNECTOR: &str = "connectors: [{ id: a, name: A, resource_domain: 'https://a.example', \
    auth: { oauth2: { token_url: 'https://b.example/token', client_id: svc, \
    client_secret: canary-7f3a9c51e0 } } }]";

fuzz_target!(|data: &[u8]| {
    let (lines, body) = message(data);
    let status = lines
        .first()
        .and_then(|line| std::str::from_utf8(line).ok());
    let status = status.and_then(|line| line.parse::<u16>().ok());
    let status = status
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::OK);
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = fields(lines.get(1..).unwrap_or_default());
    let encodings = answer.headers().get_all("content-encoding");
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let plain = encodings.iter().all(identity);
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let clock = Clock::turned(&Turned::starting_at(started));

    match doors::read(answer, oauth2(), &[CANARY], &clock) {
        Ok(given) => {
            assert!(status == StatusCode::OK || status == StatusCode::CREATED);
            let Credential::Field { name, value, .. } = given.credential else {
                panic!("a token is a field");
            };
            assert!(name == "authorization" && value.is_sensitive());
            let value = value.to_str().expect("visible characters");
            let token = value.strip_prefix("Bearer ").expect("a bearer token");
            // RFC 6750 §2.1, and `!`.
            let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/!=".contains(c);
            assert!(!token.is_empty() && token.chars().all(legal), "{token:?}");
            assert!(token.len() <= body.len() && body.len() < 64 * 1024);
            assert!(given.fresh_for <= Duration::from_secs(365 * 24 * 60 * 60));
            assert!(given.expires_at >= started);
            assert!(plain);
            said(body, token);
            assert!(
                given
                    .refresh_token
                    .is_none_or(|token| !token.expose().is_empty())
            );
        }
        Err(error) => {
            let _class = (error.class(), error.outcome());
            let said = attache::logging::with_sources(&error);
            assert!(
                !said.contains(CANARY) && !said.contains(|c: char| c.is_control()),
                "{said:?}"
            );
            assert!(
                error
                    .retry_after()
                    .is_none_or(|wait| wait <= Duration::from_secs(300))
            );
            let harmless = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            assert!(error.code().is_none_or(|code| code.chars().all(harmless)));
        }
    }
});

/// The body says the token, as another parser reads it, and no type but Bearer. That one also looks
/// into members that nobody asked for, and gives up where they are no text or too large a number.
fn said(body: &[u8], token: &str) {
    let Ok(read) = serde_json::from_str::<Value>(&String::from_utf8_lossy(body)) else {
        return;
    };
    let said = read.get("access_token").and_then(Value::as_str);
    assert_eq!(said, Some(token));
    let kind = read.get("token_type").and_then(Value::as_str);
    assert!(kind.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")));
}

fn oauth2() -> &'static OAuth2 {
    static READ: OnceLock<attache::config::Config> = OnceLock::new();
    let config = READ.get_or_init(|| {
        attache::config::doors::parse(CONNECTOR, &|_| None).expect("a good configuration")
    });
    match config.connectors[0].kind.scheme() {
        Scheme::OAuth2(oauth2) => oauth2,
        _ => panic!("it is OAuth"),
    }
}
