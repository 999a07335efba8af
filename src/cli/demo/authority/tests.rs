//! What the token endpoint answers, request by request.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use http_body_util::{BodyExt, Full};

use super::*;
use crate::cli::demo::pki::Pki;
use crate::clock::Clock;
use crate::tls::client::certificates;

const CLIENT_SECRET: &str = "a:b%/+é ";

fn authority() -> Authority {
    Authority::new(
        Registered {
            client_secret: Secret::new(CLIENT_SECRET.to_owned()),
            password_client_secret: Secret::new("second".to_owned()),
            password: Secret::new("third".to_owned()),
        },
        Arc::new(Tokens::new(Clock::system())),
    )
}

fn asked(form: &str, credentials: Option<(&str, &str)>) -> Request<Bytes> {
    let request = Request::post(TOKEN_PATH).header(
        CONTENT_TYPE,
        "application/x-www-form-urlencoded; charset=utf-8",
    );
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match credentials {
        None => request,
        Some((id, secret)) => {
            let pair = format!("{}:{}", encoded(id), encoded(secret));
            request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)))
        }
    }
    .body(Bytes::from(form.to_owned()))
    .unwrap()
}

fn client_certificates() -> [CertificateDer<'static>; 2] {
    let pki = Pki::throw_away(Ipv4Addr::LOCALHOST.into(), SystemTime::UNIX_EPOCH).unwrap();
    [pki.client, pki.server].map(|pair| certificates(&pair.certificate_pem).unwrap().remove(0))
}

fn body(answer: Answer) -> serde_json::Value {
    let body: Full<Bytes> = answer.into_body();
    let bytes = futures_util::FutureExt::now_or_never(body.collect())
        .unwrap()
        .unwrap()
        .to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[track_caller]
fn assert_refused(answer: Answer, status: StatusCode, error: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(
        answer.headers().contains_key(WWW_AUTHENTICATE),
        status == StatusCode::UNAUTHORIZED
    );
    assert_eq!(body(answer), json!({ "error": error }));
}

#[test]
fn a_client_without_its_secret_is_refused() {
    let authority = authority();
    for credentials in [
        None,
        Some((SECRET_CLIENT, "wrong")),
        Some((SECRET_CLIENT, "second")),
        Some(("nobody", CLIENT_SECRET)),
    ] {
        let request = asked("grant_type=client_credentials", credentials);

        let answer = authority.answer(&request, None);

        assert_refused(answer, StatusCode::UNAUTHORIZED, "invalid_client");
    }
    assert_eq!(authority.token_requests(), 4);
}

#[test]
fn a_certificate_of_another_subject_or_without_client_id_is_refused() {
    // RFC 8705 §2: the client_id parameter is a MUST.
    let [client, server] = client_certificates();
    let authority = authority();
    let stated = "grant_type=client_credentials&client_id=demo-certificate";
    for (form, certificate) in [
        (stated, None),
        (stated, Some(&server)),
        ("grant_type=client_credentials", Some(&client)),
        (
            "grant_type=client_credentials&client_id=demo-client-secret",
            Some(&client),
        ),
    ] {
        let answer = authority.answer(&asked(form, None), certificate);

        assert_refused(answer, StatusCode::UNAUTHORIZED, "invalid_client");
    }
}

#[test]
fn a_grant_the_client_is_not_registered_for_is_refused() {
    let authority = authority();
    let owner = "username=agent%40demo.example&password=third";
    for (form, credentials, error) in [
        (
            format!("grant_type=password&{owner}"),
            (SECRET_CLIENT, CLIENT_SECRET),
            "unauthorized_client",
        ),
        (
            "grant_type=client_credentials".to_owned(),
            (PASSWORD_CLIENT, "second"),
            "unauthorized_client",
        ),
        (
            "grant_type=urn%3Aother".to_owned(),
            (SECRET_CLIENT, CLIENT_SECRET),
            "unsupported_grant_type",
        ),
    ] {
        let answer = authority.answer(&asked(&form, Some(credentials)), None);

        assert_refused(answer, StatusCode::BAD_REQUEST, error);
    }
}

#[test]
fn a_wrong_password_is_an_invalid_grant() {
    let authority = authority();
    for owner in [
        "username=agent%40demo.example&password=second",
        "username=other&password=third",
    ] {
        let form = format!("grant_type=password&{owner}");
        let answer = authority.answer(&asked(&form, Some((PASSWORD_CLIENT, "second"))), None);

        assert_refused(answer, StatusCode::BAD_REQUEST, "invalid_grant");
    }
}

#[test]
fn a_malformed_request_is_refused() {
    let authority = authority();
    let client = Some((SECRET_CLIENT, CLIENT_SECRET));
    let mut not_a_form = asked("grant_type=client_credentials", client);
    not_a_form
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for request in [
        asked("", client),
        // RFC 6749 §3.2: no parameter comes twice.
        asked("grant_type=client_credentials&scope=a&scope=b", client),
        not_a_form,
        asked("grant_type=password", Some((PASSWORD_CLIENT, "second"))),
    ] {
        let answer = authority.answer(&request, None);

        assert_refused(answer, StatusCode::BAD_REQUEST, "invalid_request");
    }
}

#[test]
fn only_a_post_to_the_token_endpoint_is_understood() {
    // RFC 6749 §3.2: token requests use POST.
    let authority = authority();
    let get = Request::get(TOKEN_PATH).body(Bytes::new()).unwrap();
    let elsewhere = Request::post("/").body(Bytes::new()).unwrap();

    let statuses = [&get, &elsewhere].map(|request| authority.answer(request, None).status());

    assert_eq!(
        statuses,
        [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND]
    );
}

#[test]
fn each_client_gets_a_token_its_own_way() {
    let [certificate, _] = client_certificates();
    let authority = authority();
    let secret = asked(
        "grant_type=client_credentials",
        Some((SECRET_CLIENT, CLIENT_SECRET)),
    );
    let password = asked(
        "grant_type=password&username=agent%40demo.example&password=third",
        Some((PASSWORD_CLIENT, "second")),
    );
    let bound = asked(
        "grant_type=client_credentials&client_id=demo-certificate",
        None,
    );
    for (request, certificate, expected) in [
        (secret, None, (SECRET_CLIENT, None)),
        (password, None, (PASSWORD_CLIENT, None)),
        (
            bound,
            Some(&certificate),
            (CERTIFICATE_CLIENT, Some(thumbprint(&certificate))),
        ),
    ] {
        let answer = authority.answer(&request, certificate);

        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        let body = body(answer);
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 300);
        let granted = authority
            .tokens
            .introspect(body["access_token"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            (granted.client_id, granted.certificate_thumbprint),
            expected
        );
    }
}
