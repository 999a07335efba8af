//! Refused tokens, and what good ones give.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwt::{self, LEEWAY, Shown};
use super::{Disbelieved, identity};
use crate::config;
use crate::connector::{Organization, Role, SigningAlgorithm};
use crate::control::access::Scope;

const ALL: [SigningAlgorithm; 3] = [
    SigningAlgorithm::Rs256,
    SigningAlgorithm::Ps256,
    SigningAlgorithm::Es256,
];
const ISSUER: &str = "https://login.example.com";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn token(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(head), part(claims))
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": "attache",
        "sub": "ada",
        "exp": 1_800_000_300,
        "iat": 1_800_000_000,
        "roles": ["admins"],
    })
}

fn check(change: impl FnOnce(&mut Value)) -> Result<(), &'static str> {
    let mut claims = claims();
    change(&mut claims);
    jwt::check(&claims, ISSUER, "attache", now())
}

fn settings() -> config::Oidc {
    let roles = [
        ("readers", Role::HelpDeskAdmin),
        ("nobodies", Role::ReadOnlyAdmin),
        ("partners", Role::PartnerFullAdmin),
        ("admins", Role::FullAdmin),
    ];
    config::Oidc {
        issuer: ISSUER.to_owned(),
        audience: "attache".to_owned(),
        jwks_url: None,
        ca_bundle: None,
        role_claim: "roles".to_owned(),
        roles: roles.map(|(value, role)| (value.to_owned(), role)).into(),
        organization_claim: None,
        organization: Organization::default(),
        algorithms: ALL.to_vec(),
    }
}

fn role_of(roles: &Value) -> Option<Role> {
    let claims = json!({ "sub": "ada", "roles": roles });
    identity(&claims, &settings()).ok().map(|found| found.role)
}

/// RFC 8725 §§3.1, 3.2: the algorithm is ours to say, and `none` and the symmetric ones never are.
#[test]
fn a_token_signed_in_another_way_is_not_read() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("HS256"),
        json!("HS512"),
        json!("RS512"),
        json!("rs256"),
        json!("EdDSA"),
        json!(null),
        json!(["RS256"]),
    ] {
        let token = token(&json!({ "alg": alg, "kid": "a" }), &claims());
        assert!(Shown::read(&token, &ALL).is_err(), "{alg}");
    }
    let rs256 = token(&json!({ "alg": "RS256" }), &claims());
    assert!(Shown::read(&rs256, &ALL).is_ok());
    assert!(Shown::read(&rs256, &[SigningAlgorithm::Es256]).is_err());
}

/// RFC 8725 §3.11, RFC 9068 §4.
#[test]
fn a_token_made_for_another_purpose_is_not_read() {
    for typ in [
        json!("logout+jwt"),
        json!("client-authentication+jwt"),
        json!("dpop+jwt"),
        json!("secevent+jwt"),
        json!(""),
        json!(1),
    ] {
        let token = token(&json!({ "alg": "RS256", "typ": typ }), &claims());
        assert!(Shown::read(&token, &ALL).is_err(), "{typ}");
    }
    for typ in ["JWT", "at+jwt", "application/at+jwt", "AT+JWT"] {
        let token = token(&json!({ "alg": "RS256", "typ": typ }), &claims());
        assert!(Shown::read(&token, &ALL).is_ok(), "{typ}");
    }
}

/// RFC 7515 §4.1.11.
#[test]
fn a_token_that_wants_an_extension_understood_is_not_read() {
    let head = json!({ "alg": "RS256", "crit": ["b64"], "b64": false });

    assert!(Shown::read(&token(&head, &claims()), &ALL).is_err());
}

#[test]
fn what_is_no_signed_token_is_not_read() {
    let good = token(&json!({ "alg": "RS256" }), &claims());
    let long = format!("{good}{}", "A".repeat(8 * 1024));
    let list = token(&json!([]), &claims());
    let bare = token(&json!({ "alg": "RS256" }), &json!("ada"));
    let five = format!("{good}.a.b");
    for text in ["", ".", "..", "a.b", "a.b.c", &long, &list, &bare, &five] {
        assert!(Shown::read(text, &ALL).is_err(), "{text}");
    }
}

#[test]
fn a_token_of_another_issuer_or_for_another_audience_is_refused() {
    for issuer in [
        json!("https://login.example.com/"),
        json!("https://LOGIN.example.com"),
        json!("https://evil.example"),
        json!([ISSUER]),
        json!(null),
    ] {
        assert!(
            check(|claims| claims["iss"] = issuer.clone()).is_err(),
            "{issuer}"
        );
    }
    for audience in [
        json!("attache2"),
        json!(["other"]),
        json!([]),
        json!({ "attache": 1 }),
        json!(null),
    ] {
        assert!(
            check(|claims| claims["aud"] = audience.clone()).is_err(),
            "{audience}"
        );
    }
    assert_eq!(
        check(|claims| claims["aud"] = json!(["other", "attache"])),
        Ok(())
    );
}

#[test]
fn a_token_is_of_now_give_or_take_the_leeway() {
    let (now, leeway) = (1_800_000_000_u64, LEEWAY.as_secs());
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(
        check(|claims| claims["exp"] = json!(now - leeway + 1)),
        Ok(())
    );
    assert!(check(|claims| claims["exp"] = json!(now - leeway)).is_err());
    assert_eq!(check(|claims| claims["nbf"] = json!(now + leeway)), Ok(()));
    assert!(check(|claims| claims["nbf"] = json!(now + leeway + 1)).is_err());
    assert_eq!(check(|claims| claims["iat"] = json!(now + leeway)), Ok(()));
    assert!(check(|claims| claims["iat"] = json!(now + leeway + 1)).is_err());
    for wrong in [json!("1900000000"), json!(null), json!([1])] {
        for claim in ["exp", "nbf", "iat"] {
            assert!(
                check(|claims| claims[claim] = wrong.clone()).is_err(),
                "{claim} {wrong}"
            );
        }
    }
    let endless = check(|claims| drop(claims.as_object_mut().unwrap().remove("exp")));
    assert_eq!(endless, Err("it has no end"));
}

/// RFC 7800 §3: who is shown such a token has to see the proof.
#[test]
fn a_token_that_is_bound_to_a_key_is_refused() {
    assert!(check(|claims| claims["cnf"] = json!({ "jkt": "a" })).is_err());
}

#[test]
fn of_several_roles_the_most_powerful_counts() {
    assert_eq!(
        role_of(&json!(["readers", "admins", "x"])),
        Some(Role::FullAdmin)
    );
    assert_eq!(
        role_of(&json!(["partners", "admins"])),
        Some(Role::FullAdmin)
    );
    assert_eq!(
        role_of(&json!(["nobodies", "readers"])),
        Some(Role::HelpDeskAdmin)
    );
    assert_eq!(role_of(&json!("partners")), Some(Role::PartnerFullAdmin));
}

#[test]
fn a_token_without_a_mapped_role_names_nobody() {
    for roles in [
        json!([]),
        json!(["Admins"]),
        json!("admins readers"),
        json!([["admins"]]),
        json!({ "admins": true }),
        json!(true),
        json!(null),
    ] {
        assert_eq!(role_of(&roles), None, "{roles}");
    }
    let none = identity(&json!({ "sub": "ada" }), &settings());
    assert!(matches!(none, Err(Disbelieved::NoRole { subject }) if subject == "oidc:ada"));
}

#[test]
fn a_nested_claim_is_found_by_its_pointer_alone() {
    let mut settings = settings();
    settings.role_claim = "/realm_access/roles".to_owned();
    let claims = json!({ "sub": "ada", "realm_access": { "roles": ["admins"] } });

    assert_eq!(identity(&claims, &settings).unwrap().role, Role::FullAdmin);
    settings.role_claim = "realm_access".to_owned();
    assert!(identity(&claims, &settings).is_err());
}

#[test]
fn the_organization_is_the_claims_and_never_every() {
    let mut settings = settings();
    settings.organization_claim = Some("org".to_owned());
    let named = |org: Value| {
        let claims = json!({ "sub": "ada", "roles": "admins", "org": org });
        identity(&claims, &settings).map(|found| found.scope)
    };

    let scope = named(json!("acme")).unwrap();

    assert_eq!(scope, Scope::One(Organization::parse("acme").unwrap()));
    for wrong in [
        json!("*"),
        json!("Acme"),
        json!(["acme"]),
        json!(null),
        json!(""),
    ] {
        assert!(named(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_subject_that_could_mislead_a_reader_is_none() {
    for subject in [json!(""), json!("a\nb"), json!(7), json!("a".repeat(256))] {
        let claims = json!({ "sub": subject, "roles": "admins" });
        assert!(identity(&claims, &settings()).is_err(), "{subject}");
    }
    let claims =
        json!({ "sub": "ada", "roles": "admins", "name": "Ada\r\nL", "email": "a@b.example" });
    let found = identity(&claims, &settings()).unwrap();
    assert_eq!(
        (found.name.as_str(), found.title.as_str()),
        ("oidc:ada", "a@b.example")
    );
}
