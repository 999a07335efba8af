//! What the gateway sent with a request does not come back to the flow that made it.

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, bearer};
use crate::support::body::Pen;
use crate::support::canary::Canaries;
use crate::support::client::{Answered, Client};
use crate::support::connector::oauth2;
use crate::support::exchange::Recorded;
use crate::support::gateway::{Running, get, process};
use crate::support::origin::{self, Handler, Origin, Setup};
use crate::support::scene::{CREDENTIAL, Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::within;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];
/// A secret that every encoding changes, yet a field value may hold.
const SECRET: &str = "c4nary/s3cr&t+w=rd~";
const TOKEN: &str = "c4nary~t0ken/with+odd.ends==";
/// The password of [`CREDENTIAL`].
const PASSWORD: &str = "pa-ss-word";
const MASKED: &str = "Basic *******************=";

/// What a thorough origin writes about the value of a field it received.
fn shown(secret: &str) -> String {
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let lower = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut shown = vec![secret.to_owned(), lower, percent, form];
    for before in ["", "u", "us"] {
        let text = format!("{before}{secret}!");
        shown.push(STANDARD.encode(&text));
        shown.push(URL_SAFE_NO_PAD.encode(&text));
    }
    shown.join(", ")
}

/// What a request carried: the value of `name`, and for Basic the pair in it.
fn carried(request: &Recorded, name: &str) -> Vec<String> {
    let value = request.field(name).unwrap().to_owned();
    match value.strip_prefix("Basic ") {
        Some(word) => {
            let pair = String::from_utf8(STANDARD.decode(word).unwrap()).unwrap();
            let password = pair.split_once(':').unwrap().1.to_owned();
            vec![word.to_owned(), pair, password, value]
        }
        None => vec![value],
    }
}

/// An origin that shows what came as `name`, in a field and in its body.
fn echoing(name: &'static str) -> Handler {
    origin::whole(move |request| {
        let carried = carried(request, name);
        let echo: Vec<_> = carried.iter().map(|secret| shown(secret)).collect();
        let echo = echo.join("; ");
        Answer::text(&echo)
            .field("content-type", "text/plain")
            .field("x-echo", &echo)
    })
}

/// An origin that answers with `body` as `content_type`.
fn saying(content_type: &'static str, body: &'static str) -> Handler {
    origin::whole(move |_| Answer::text(body).field("content-type", content_type))
}

/// An origin whose one answer a pen writes, as `content_type`.
fn penned(content_type: &str) -> (Pen, Handler) {
    let (pen, answer) = Answer::streamed();
    let once = Mutex::new(Some(answer.field("content-type", content_type)));
    let handler = origin::whole(move |_| once.lock().unwrap().take().unwrap());
    (pen, handler)
}

fn all(handler: Handler, protocols: Protocols) -> Plan {
    Plan {
        protocols,
        connector: &["scrub: all"],
        ..Plan::answering(handler)
    }
}

async fn client(gateway: &Running, protocols: Protocols) -> Client {
    match protocols {
        Protocols::Http2 => Client::http2(gateway.flows()).await,
        Protocols::Http1 | Protocols::Both => Client::http1(gateway.flows()).await,
    }
}

async fn next(body: &mut Incoming) -> Bytes {
    let frame = within("a piece of an answer", body.frame()).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

async fn scrubbed(gateway: &Running) -> f64 {
    let labels = [("connector", "orders")];
    gateway.sample("attache_scrubbed_total", &labels).await
}

/// Claims that an answer shows nothing of `secrets`, and is as long as it was.
fn assert_masked(answered: &Answered, secrets: &[&str]) {
    let mut canaries = Canaries::default();
    for secret in secrets {
        canaries.watch("a credential", secret);
    }
    canaries.assert_absent("a field", answered.field("x-echo").unwrap());
    canaries.assert_absent("a body", &answered.text());
    assert!(answered.text().contains("****"));
    let length = answered.field("content-length").unwrap();
    assert_eq!(length, answered.body.len().to_string());
}

#[tokio::test]
async fn a_basic_credential_is_masked_in_every_form() {
    for protocols in BOTH {
        let auth = format!("auth: {{ basic: {{ username: svc, password: {SECRET:?} }} }}");
        let scene = Scene::start(Plan {
            connector: vec!["scrub: all", String::leak(auth)].leak(),
            ..all(echoing("authorization"), protocols)
        })
        .await;

        let answered = client(&scene.gateway, protocols)
            .await
            .get("/orders/x")
            .await;

        let pair = format!("svc:{SECRET}");
        let word = STANDARD.encode(&pair);
        assert_masked(&answered, &[SECRET, &pair, word.trim_end_matches('=')]);
        assert!(scrubbed(&scene.gateway).await >= 2.0);
    }
}

#[tokio::test]
async fn a_fixed_field_is_masked_in_every_form() {
    for protocols in BOTH {
        let auth = format!("auth: {{ header: {{ name: X-Api-Key, value: {SECRET:?} }} }}");
        let scene = Scene::start(Plan {
            connector: vec!["scrub: all", String::leak(auth)].leak(),
            ..all(echoing("x-api-key"), protocols)
        })
        .await;

        let answered = client(&scene.gateway, protocols)
            .await
            .get("/orders/x")
            .await;

        assert_masked(&answered, &[SECRET]);
    }
}

/// A gateway whose connector has a token, before `handler`.
async fn with_tokens(stage: &Stage, handler: Handler) -> (Origin, Authority, String) {
    let origin = Origin::start(Setup::new(&stage.server()), handler).await;
    let authority = Authority::plain(&stage.server()).await;
    let auth = oauth2(
        &authority.token_url(),
        "client_id: client, client_secret: client-secret",
    );
    let auth = format!("auth: {auth}");
    let own = orders(&origin.url("/"), &[&auth, "scrub: all"]);
    (origin, authority, own)
}

#[tokio::test]
async fn a_token_is_masked_in_every_form() {
    let stage = Stage::new();
    let (_origin, authority, own) = with_tokens(&stage, echoing("authorization")).await;
    authority.answer_with(|_, _| bearer(TOKEN, 3600));
    let gateway = Running::start(&stage, &own).await;

    for protocols in BOTH {
        let answered = client(&gateway, protocols).await.get("/orders/x").await;

        assert_masked(&answered, &[TOKEN, TOKEN.trim_end_matches('=')]);
    }
}

#[tokio::test]
async fn the_token_that_a_request_carried_is_masked_though_there_is_a_newer_one() {
    let stage = Stage::new();
    let (pen, answer) = Answer::streamed();
    let first = Mutex::new(Some(answer.field("content-type", "text/plain")));
    let handler = origin::whole(move |_| {
        let first = first.lock().unwrap().take();
        first.unwrap_or_else(|| Answer::text("token-number-1").field("content-type", "text/plain"))
    });
    let (_origin, authority, own) = with_tokens(&stage, handler).await;
    authority.answer_with(|n, _| bearer(&format!("token-number-{n}"), 60));
    let (gateway, turned) = Running::start_turned(&stage, &own).await;
    let mut client = Client::http2(gateway.flows()).await;

    let waiting = client.send("GET", "/orders/x", &[], "").await.unwrap();
    turned.advance(Duration::from_secs(3600));
    let second = client.get("/orders/x").await;
    pen.write("token-number-1 token-number-2").await;
    drop(pen);
    let first = Answered::read(waiting).await.unwrap();

    assert_eq!(authority.count(), 2);
    assert_eq!(first.text(), "************** token-number-2");
    assert_eq!(second.text(), "token-number-1", "no secret of that request");
}

#[tokio::test]
async fn the_switch_says_where_a_credential_is_masked() {
    const WARNED: &str = "Basic realm=\"x\", seen=\"Basic c3ZjOnBhLXNzLXdvcmQ=\"";
    let masked = WARNED.replace(CREDENTIAL, MASKED);
    for (lines, field, body, count) in [
        (&["scrub: off"][..], WARNED, CREDENTIAL, 0.0),
        (&["scrub: fields"], &masked, CREDENTIAL, 1.0),
        (&[], &masked, CREDENTIAL, 1.0),
        (&["scrub: all"], &masked, MASKED, 2.0),
    ] {
        let scene = Scene::start(Plan {
            connector: lines,
            ..Plan::answering(origin::whole(|_| {
                Answer::text(CREDENTIAL)
                    .with_status(401)
                    .field("content-type", "text/html")
                    .field("www-authenticate", WARNED)
            }))
        })
        .await;

        let answered = scene.gateway.get("/orders/x").await;

        assert_eq!(answered.status, 401);
        assert_eq!(answered.field("www-authenticate"), Some(field), "{lines:?}");
        assert_eq!(answered.text(), body, "{lines:?}");
        assert_eq!(scrubbed(&scene.gateway).await, count, "{lines:?}");
    }
}

#[tokio::test]
async fn a_credential_is_masked_wherever_the_pieces_of_a_body_are_cut() {
    let text = format!("a {PASSWORD}{PASSWORD} {CREDENTIAL} pa-ss-wor {PASSWORD}");
    let stars = "*".repeat(PASSWORD.len());
    let expected = format!("a {stars}{stars} {MASKED} pa-ss-wor {stars}");
    for protocols in BOTH {
        let (hand, pens) = std::sync::mpsc::channel();
        let hand = Mutex::new(hand);
        let handler = origin::whole(move |_| {
            let (pen, answer) = Answer::streamed();
            hand.lock().unwrap().send(pen).unwrap();
            answer.field("content-type", "application/json")
        });
        let scene = Scene::start(all(handler, protocols)).await;
        let mut client = client(&scene.gateway, protocols).await;

        for cut in 0..=text.len() {
            let answering = client.send("GET", "/orders/x", &[], "").await.unwrap();
            let pen = pens.recv().unwrap();
            let (before, after) = text.split_at(cut);
            let writing = async {
                pen.write(before.to_owned()).await;
                pen.write(after.to_owned()).await;
                drop(pen);
            };
            let (answered, ()) = tokio::join!(Answered::read(answering), writing);

            assert_eq!(answered.unwrap().text(), expected, "{protocols:?} {cut}");
        }
        let count = 4 * (text.len() + 1);
        assert_eq!(scrubbed(&scene.gateway).await, count as f64);
    }
}

#[tokio::test]
async fn an_event_arrives_at_once_and_only_a_live_beginning_waits() {
    for protocols in BOTH {
        let (pen, handler) = penned("text/event-stream");
        let scene = Scene::start(all(handler, protocols)).await;
        let mut client = client(&scene.gateway, protocols).await;
        let answering = client.send("GET", "/orders/x", &[], "").await;
        let mut body = answering.unwrap().into_body();

        // Each is there while the stream stays open.
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            pen.write(event).await;
            assert_eq!(next(&mut body).await, event, "{protocols:?}");
        }
        // What may be the credential waits, until it is or is not.
        pen.write("data: pa-ss").await;
        assert_eq!(next(&mut body).await, "data: ");
        pen.write("ive\n\n").await;
        assert_eq!(next(&mut body).await, "pa-ssive\n\n");
        pen.write("data: pa-ss").await;
        assert_eq!(next(&mut body).await, "data: ");
        pen.write("-word\n\n").await;
        assert_eq!(next(&mut body).await, "**********\n\n");
        // Or the stream ends.
        pen.write("data: pa-ss-wor").await;
        assert_eq!(next(&mut body).await, "data: ");
        drop(pen);
        assert_eq!(next(&mut body).await, "pa-ss-wor");
        assert!(within("the end", body.frame()).await.is_none());
        assert_eq!(scrubbed(&scene.gateway).await, 1.0);
    }
}

#[tokio::test]
async fn a_body_that_is_no_text_or_encoded_passes_unchanged() {
    for (content_type, coding) in [
        ("application/octet-stream", None),
        ("image/png", None),
        ("application/grpc", None),
        ("text/plain", Some("gzip")),
        ("application/json", Some("br")),
    ] {
        let scene = Scene::start(all(
            origin::whole(move |_| {
                let answer = Answer::text(CREDENTIAL).field("content-type", content_type);
                match coding {
                    Some(coding) => answer.field("content-encoding", coding),
                    None => answer,
                }
            }),
            Protocols::Http1,
        ))
        .await;

        let answered = scene.gateway.get("/orders/x").await;

        assert_eq!(answered.text(), CREDENTIAL, "{content_type} {coding:?}");
        assert_eq!(scrubbed(&scene.gateway).await, 0.0);
    }
}

#[tokio::test]
async fn identity_is_asked_for_where_bodies_are_looked_into_and_nowhere_else() {
    // RFC 9110 §12.5.3.
    for (lines, asked) in [
        (&["scrub: all"][..], vec!["identity"]),
        (&["scrub: fields"], vec!["gzip", "br"]),
        (&["scrub: all", "auth: none"], vec!["gzip", "br"]),
    ] {
        let scene = Scene::start(Plan {
            connector: lines,
            ..Plan::new()
        })
        .await;
        let mut client = Client::http1(scene.gateway.flows()).await;
        let fields = [("accept-encoding", "gzip"), ("accept-encoding", "br")];

        client.call("GET", "/orders/x", &fields, "").await;

        let request = scene.origin.only_request();
        assert_eq!(request.all("accept-encoding"), asked, "{lines:?}");
    }
}

#[tokio::test]
async fn an_answer_that_repeats_nothing_is_the_same_byte_for_byte() {
    let text: String = (0..20_000).map(|n| format!("pa-ss-{n} ")).collect();
    for protocols in BOTH {
        let sent = text.clone();
        let scene = Scene::start(all(
            origin::whole(move |_| {
                Answer::text(&sent)
                    .field("content-type", "text/plain")
                    .field("x-near", "Basic c3ZjOnBhLXNz")
            }),
            protocols,
        ))
        .await;

        let answered = client(&scene.gateway, protocols)
            .await
            .get("/orders/x")
            .await;

        assert!(answered.text() == text, "{protocols:?}");
        assert_eq!(answered.field("x-near"), Some("Basic c3ZjOnBhLXNz"));
        assert_eq!(scrubbed(&scene.gateway).await, 0.0);
    }
}

#[tokio::test]
async fn lengths_stay_true_with_and_without_content() {
    // RFC 9110 §8.6, §9.3.2.
    let body = "x pa-ss-word";
    let scene = Scene::start(all(saying("text/plain", body), Protocols::Http1)).await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    let head = client.call("HEAD", "/orders/x", &[], "").await;
    let whole = client.get("/orders/x").await;

    assert_eq!(head.field("content-length"), Some("12"));
    assert_eq!(whole.field("content-length"), Some("12"));
    assert_eq!(whole.text(), "x **********");
}

#[tokio::test]
async fn trailers_are_masked_behind_what_was_held_back() {
    for protocols in BOTH {
        let (pen, handler) = penned("text/plain");
        let scene = Scene::start(all(handler, Protocols::Http2)).await;
        let mut client = client(&scene.gateway, protocols).await;
        let fields = [("te", "trailers")];
        let answering = client.send("GET", "/orders/x", &fields, "").await.unwrap();

        let writing = async {
            pen.write("the end is pa-ss-wor").await;
            pen.trailers(&[("x-echo", "svc:pa-ss-word")]).await;
        };
        let (answered, ()) = tokio::join!(Answered::read(answering), writing);
        let answered = answered.unwrap();

        assert_eq!(answered.text(), "the end is pa-ss-wor");
        let echoed: Vec<_> = answered.trailers.iter().map(|(_, value)| value).collect();
        match protocols {
            Protocols::Http2 => assert_eq!(echoed, ["**************"]),
            // HTTP/1.1 carries no trailers that the origin's head did not announce.
            Protocols::Http1 | Protocols::Both => assert!(echoed.is_empty()),
        }
        assert_eq!(scrubbed(&scene.gateway).await, 1.0);
    }
}

#[tokio::test]
async fn a_location_is_rewritten_and_masked() {
    let located = origin::whole(|_| {
        Answer::status(302).field("location", "/api/login?as=svc%3Apa-ss-word#pa-ss-word")
    });
    let scene = Scene::start(Plan::answering(located)).await;

    let answered = scene.gateway.get("/orders/x").await;

    assert_eq!(
        answered.field("location"),
        Some("/orders/login?as=****************#**********")
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to_break_off() {
    let (pen, handler) = penned("text/plain");
    let scene = Scene::start(all(handler, Protocols::Http1)).await;
    let mut client = Client::http1(scene.gateway.flows()).await;
    let answering = client.send("GET", "/orders/x", &[], "").await;

    pen.write("x pa-ss").await;
    pen.fail().await;

    assert!(Answered::read(answering.unwrap()).await.is_err());
}

#[tokio::test]
async fn the_log_warns_once_of_an_origin_that_repeats_its_credential() {
    let stage = Stage::new();
    let echo = origin::whole(|_| Answer::text("ok").field("x-echo", CREDENTIAL));
    let origin = Origin::start(Setup::new(&stage.server()), echo).await;
    let child = process(&stage.config_file(&orders(&origin.url("/"), &[])));
    let served = |line: &str| line.contains("flows are served");
    let line = child.stderr.line("an address", served).await;
    let flows = line.rsplit_once("address=").unwrap().1.parse().unwrap();

    for _ in 0..3 {
        assert_eq!(get(flows, "/orders/x").await.field("x-echo"), Some(MASKED));
    }
    child.signal("TERM");
    let log = child.exited().await.stderr;

    let warned = |line: &&str| line.contains("repeats the credential");
    assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
    assert!(log.lines().find(warned).unwrap().contains("orders"));
    assert!(!log.contains("c3ZjOnBh"), "{log}");
}
