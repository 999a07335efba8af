//! The origin of benches/end_to_end: no contender has figures without the credential, because
//! nobody is answered without it.

use http::StatusCode;

#[path = "../../benches/end_to_end/origin/room.rs"]
#[allow(dead_code, reason = "the harness uses what is not used here")]
mod room;

use room::{Room, basic, lasting_token};

const ASKED: [&str; 5] = ["/b/100", "/o/b/100", "/h2/o/b/100", "/upload", "/o/upload"];

fn status(room: &Room, path: &str, authorization: Option<&str>) -> StatusCode {
    room.answer(path, authorization.map(str::as_bytes)).0
}

/// A token that the origin gives out.
fn token(room: &Room) -> String {
    let (_, answer) = room.answer("/token", None);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_request_without_the_credential_is_not_answered() {
    let room = Room::default();
    let twice = basic() + &basic();
    let token = lasting_token();
    let short = format!("Bearer {}", &token[..token.len() - 30]);
    let no_scheme = token.as_str();
    for path in ASKED {
        for wrong in [
            None,
            Some(""),
            Some("Basic eDp5"),
            Some(&twice),
            Some(&short),
        ] {
            assert_eq!(status(&room, path, wrong), 401, "{path} {wrong:?}");
        }
        assert_eq!(status(&room, path, Some(no_scheme)), 401, "{path}");
    }
}

#[test]
fn a_request_with_the_password_or_a_token_is_answered() {
    let room = Room::default();
    let (lasting, given) = (lasting_token(), token(&room));
    for path in ASKED {
        assert_eq!(status(&room, path, Some(&basic())), 200, "{path}");
        for token in [&lasting, &given] {
            let bearer = format!("Bearer {token}");
            assert_eq!(status(&room, path, Some(&bearer)), 200, "{path}");
        }
    }
}

#[test]
fn a_token_whose_lifetime_is_over_is_refused() {
    let room = Room::default();
    room.lifetime_ms
        .store(0, std::sync::atomic::Ordering::Relaxed);

    let bearer = format!("Bearer {}", token(&room));

    assert_eq!(status(&room, "/b/100", Some(&bearer)), 401);
}

/// A relay that does not read HTTP can add no credential.
#[test]
fn a_path_below_open_asks_for_no_credential() {
    let room = Room::default();
    assert_eq!(status(&room, "/open/b/100", None), 200);
    assert_eq!(status(&room, "/open/upload", None), 200);
}

/// What is measured as an answer of so many bytes is one.
#[test]
fn an_answer_has_as_many_bytes_as_were_asked_for() {
    let room = Room::default();
    let basic = basic();
    for bytes in [0, 100, 16 * 1024, 1024 * 1024] {
        let (_, body) = room.answer(&format!("/o/b/{bytes}"), Some(basic.as_bytes()));
        assert_eq!(body.len(), bytes);
    }
}

/// A token on the wire costs what a password does: the two are compared.
#[test]
fn a_token_is_as_long_as_a_password() {
    let bearer = format!("Bearer {}", lasting_token());
    assert!(bearer.len().abs_diff(basic().len()) <= 8, "{bearer}");
}
