//! What the resource domain answers, request by request.

use http_body_util::BodyExt;

use super::*;
use crate::cli::demo::tokens::Granted;
use crate::clock::Clock;

const QUERY: &str = "/services/data/v52.0/query?q=SELECT+id,name,phone+from+Account\
    +WHERE+Phone+LIKE+%27%255550100199%25%27";

fn resource() -> Resource {
    Resource::new(
        Secret::new("open sesame".to_owned()),
        Arc::new(Tokens::new(Clock::system())),
    )
}

fn token(resource: &Resource, client_id: &'static str, bound_to: Option<&[u8]>) -> String {
    let token = resource.tokens.issue(Granted {
        client_id,
        certificate_thumbprint: bound_to.map(thumbprint),
    });
    format!("Bearer {}", token.expose())
}

fn basic(password: &str) -> String {
    let pair = format!("{BASIC_USERNAME}:{password}");
    format!("Basic {}", STANDARD.encode(pair))
}

fn asked(method: Method, target: &str, authorization: &[&str], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn get(base: &str, path: &str, authorization: &str) -> Request<Bytes> {
    asked(Method::GET, &format!("{base}{path}"), &[authorization], "")
}

fn text(answer: Answer) -> String {
    let bytes = futures_util::FutureExt::now_or_never(answer.into_body().collect())
        .unwrap()
        .unwrap()
        .to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn assert_challenged(answer: &Answer, challenge: &str) {
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()[WWW_AUTHENTICATE], challenge);
}

#[test]
fn a_request_without_a_credential_is_challenged() {
    // RFC 9110 §15.5.2: a 401 carries a challenge; RFC 6750 §3.1: without error code here.
    let bearer = "Bearer realm=\"attache demo\"";
    for (base, challenge) in [
        (
            BASIC_BASE,
            "Basic realm=\"attache demo\", charset=\"UTF-8\"",
        ),
        (SECRET_BASE, bearer),
        (CERTIFICATE_BASE, bearer),
        (PASSWORD_BASE, bearer),
    ] {
        for path in ["", "/", "/echo", QUERY] {
            let request = asked(Method::GET, &format!("{base}{path}"), &[], "");

            let answer = resource().answer(&request, None);

            assert_challenged(&answer, challenge);
        }
    }
}

#[test]
fn the_credential_of_another_base_path_is_refused() {
    let resource = resource();
    let certificate = CertificateDer::from(b"a certificate".to_vec());
    let secret = token(&resource, SECRET_CLIENT, None);
    let password = token(&resource, PASSWORD_CLIENT, None);
    let bound = token(&resource, CERTIFICATE_CLIENT, Some(&certificate));
    for (base, wrong) in [
        (BASIC_BASE, &secret),
        (BASIC_BASE, &basic("open")),
        (SECRET_BASE, &basic("open sesame")),
        (SECRET_BASE, &password),
        (SECRET_BASE, &bound),
        (SECRET_BASE, &"Bearer".to_owned()),
        (SECRET_BASE, &"Bearer ".to_owned()),
        (PASSWORD_BASE, &secret),
        (CERTIFICATE_BASE, &secret),
    ] {
        let answer = resource.answer(&get(base, "/echo", wrong), Some(&certificate));

        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{base} {wrong}");
    }
}

#[test]
fn a_bound_token_is_refused_without_its_certificate_and_with_another() {
    // RFC 8705 §3.
    let resource = resource();
    let own = CertificateDer::from(b"own".to_vec());
    let other = CertificateDer::from(b"other".to_vec());
    let bound = token(&resource, CERTIFICATE_CLIENT, Some(&own));
    let unbound = token(&resource, CERTIFICATE_CLIENT, None);
    for (token, shown) in [
        (&bound, None),
        (&bound, Some(&other)),
        (&unbound, None),
        (&unbound, Some(&own)),
    ] {
        let answer = resource.answer(&get(CERTIFICATE_BASE, "/echo", token), shown);

        assert_challenged(
            &answer,
            "Bearer realm=\"attache demo\", error=\"invalid_token\"",
        );
    }
}

#[test]
fn two_credentials_at_once_are_refused() {
    let resource = resource();
    let good = basic("open sesame");
    let request = asked(Method::GET, "/basic/echo", &[&good, &good], "");

    let answer = resource.answer(&request, None);

    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn what_is_not_there_is_a_404_in_an_array() {
    let resource = resource();
    let good = basic("open sesame");
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/basics/echo"),
        (Method::GET, "/basic/services/data/v52.0/sobjects/Case/1"),
        (Method::PATCH, "/basic/services/data/v52.0/sobjects/Case/1"),
        (Method::POST, "/basic/services/data/v52.0/query"),
        (Method::GET, "/basic/echoes"),
    ] {
        let answer = resource.answer(&asked(method, target, &[&good], "{}"), None);

        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{target}");
        let body: Value = serde_json::from_str(&text(answer)).unwrap();
        assert_eq!(body[0]["errorCode"], "NOT_FOUND");
    }
}

#[test]
fn a_query_that_cannot_be_read_is_a_400_with_its_code() {
    let resource = resource();
    let good = basic("open sesame");
    for (query, code) in [
        ("", "MALFORMED_QUERY"),
        ("?q=SELECT", "MALFORMED_QUERY"),
        ("?q=SELECT+Id+FROM+Lead", "INVALID_TYPE"),
        ("?q=SELECT+Shoe+FROM+Case", "INVALID_FIELD"),
    ] {
        let path = format!("/services/data/v52.0/query{query}");
        let answer = resource.answer(&get(BASIC_BASE, &path, &good), None);

        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body: Value = serde_json::from_str(&text(answer)).unwrap();
        assert_eq!(body[0]["errorCode"], code);
    }
}

#[test]
fn the_right_credential_opens_each_base_path() {
    let resource = resource();
    let certificate = CertificateDer::from(b"a certificate".to_vec());
    for (base, authorization, shown) in [
        (BASIC_BASE, basic("open sesame"), None),
        (SECRET_BASE, token(&resource, SECRET_CLIENT, None), None),
        (PASSWORD_BASE, token(&resource, PASSWORD_CLIENT, None), None),
        (
            CERTIFICATE_BASE,
            token(&resource, CERTIFICATE_CLIENT, Some(&certificate)),
            Some(&certificate),
        ),
    ] {
        let answer = resource.answer(&get(base, QUERY, &authorization), shown);

        assert_eq!(answer.status(), StatusCode::OK, "{base}");
        let body: Value = serde_json::from_str(&text(answer)).unwrap();
        assert_eq!(body["records"][0]["Name"], "Northwind Traders");
    }
}

#[test]
fn a_case_takes_a_comment_in_json_and_nothing_else() {
    let resource = resource();
    let good = basic("open sesame");
    let target = format!(
        "/basic/services/data/v52.0/sobjects/Case/{}",
        records::CASE_ID
    );
    for (body, status) in [
        ("{\n    \"Comments\": \"called\"\n}", StatusCode::NO_CONTENT),
        ("", StatusCode::BAD_REQUEST),
        ("[]", StatusCode::BAD_REQUEST),
    ] {
        let answer = resource.answer(&asked(Method::PATCH, &target, &[&good], body), None);

        assert_eq!(answer.status(), status, "{body}");
    }
}

#[test]
fn the_echo_shows_fields_but_no_credential() {
    let resource = resource();
    let good = basic("open sesame");
    let mut request = asked(Method::POST, "/basic/echo/a?b=c", &[&good], "four");
    request
        .headers_mut()
        .insert(COOKIE, HeaderValue::from_static("session=hidden"));
    request
        .headers_mut()
        .insert("x-colour", HeaderValue::from_static("blue"));

    let echoed = text(resource.answer(&request, None));

    let (_, encoded) = good.split_once(' ').unwrap();
    assert!(
        !echoed.contains(encoded) && !echoed.contains("hidden"),
        "{echoed}"
    );
    let body: Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!(
        body,
        json!({
            "method": "POST",
            "target": "/basic/echo/a?b=c",
            "fields": [
                ["authorization", "Basic (not shown)"],
                ["cookie", "(not shown)"],
                ["x-colour", "blue"],
            ],
            "body_bytes": 4,
            "client_certificate": false,
        })
    );
}
