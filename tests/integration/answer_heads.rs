//! The head that a flow receives: what the origin said, less what concerns one connection.

use crate::support::answer::Answer;
use crate::support::client::Client;
use crate::support::message::{Kind, Message};
use crate::support::origin::{self, Handler, Origin, Setup};
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;
use crate::support::{gateway::Running, within};

/// The connector's usual base path, and the same without one.
const BASES: [&str; 2] = ["/api", ""];

fn answering(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Handler {
    origin::whole(move |_| answer())
}

/// One GET for `/orders/x`.
async fn get(scene: &Scene) -> Message {
    let mut wire = Wire::plain(scene.gateway.flows()).await;
    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    wire.answer().await
}

#[tokio::test]
async fn status_fields_and_body_pass_through_unchanged() {
    // RFC 9110 §5.1, §5.3, §11.6.1, §14.2; protocol.md, lines 8, 9, 15 to 17.
    let scene = Scene::start(Plan::answering(origin::whole(|request| {
        let status = request.target.rsplit('/').next().unwrap();
        Answer::text("the origin's words")
            .with_status(status.parse().unwrap())
            .field("content-type", "text/x; q=1")
            .field("x-one", "b")
            .field("vary", "a")
            .field("x-one", "a, c")
            .field(
                "www-authenticate",
                "Bearer realm=\"o\", error=\"invalid_token\"",
            )
            .field("www-authenticate", "Basic realm=\"p\"")
            .field("retry-after", "7")
            .field("accept-ranges", "bytes")
            .field("content-range", "bytes 0-17/20")
            .field("content-encoding", "x-unknown")
    })))
    .await;

    for (status, mut client) in [
        ("200", Client::http1(scene.gateway.flows()).await),
        ("201", Client::http2(scene.gateway.flows()).await),
        ("206", Client::http1(scene.gateway.flows()).await),
        ("401", Client::http1(scene.gateway.flows()).await),
        ("403", Client::http2(scene.gateway.flows()).await),
        ("407", Client::http1(scene.gateway.flows()).await),
        ("416", Client::http2(scene.gateway.flows()).await),
        ("418", Client::http1(scene.gateway.flows()).await),
        ("421", Client::http1(scene.gateway.flows()).await),
        ("500", Client::http2(scene.gateway.flows()).await),
        ("503", Client::http1(scene.gateway.flows()).await),
        ("599", Client::http1(scene.gateway.flows()).await),
        ("799", Client::http2(scene.gateway.flows()).await),
    ] {
        let answered = client.get(&format!("/orders/{status}")).await;

        assert_eq!(answered.status.as_str(), status);
        assert_eq!(answered.text(), "the origin's words");
        assert_eq!(answered.all("x-one"), ["b", "a, c"]);
        assert_eq!(
            answered.all("www-authenticate"),
            [
                "Bearer realm=\"o\", error=\"invalid_token\"",
                "Basic realm=\"p\""
            ]
        );
        assert_eq!(answered.field("accept-ranges"), Some("bytes"));
        assert_eq!(answered.field("content-range"), Some("bytes 0-17/20"));
        assert_eq!(answered.field("retry-after"), Some("7"));
        assert_eq!(answered.field("content-type"), Some("text/x; q=1"));
        assert_eq!(answered.field("content-encoding"), Some("x-unknown"));
        assert_eq!(answered.field("content-length"), Some("18"));
        assert_eq!(answered.field("proxy-status"), None, "the origin spoke");
    }
}

#[tokio::test]
async fn fields_of_the_origins_connection_are_removed() {
    // RFC 9110 §7.6.1; protocol.md, lines 1 and 2, row 8, point 5.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut wire = Wire::plain(gateway.flows()).await;

    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin
        .write(
            b"HTTP/1.1 200 Fine\r\nConnection: X-Hop, \xff\r\nConnection: x-other\r\nX-Hop: 1\r\n\
              X-Other: 2\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
              Upgrade: h2c\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nX-Stays: 3\r\n\r\n\
              2\r\nok\r\n0\r\n\r\n",
        )
        .await;
    let answer = wire.answer().await;

    assert_eq!(answer.text(), "ok");
    let mut names: Vec<_> = answer
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.retain(|name| *name != "date");
    assert_eq!(names, ["x-stays", "transfer-encoding"]);
    gateway.drain().await;
}

#[tokio::test]
async fn set_cookie_is_dropped_unless_the_connector_passes_cookies() {
    for (lines, expected) in [
        (&[][..], &[][..]),
        (&["cookies: pass"], &["a=1; Path=/", "b=2", "a=3"]),
    ] {
        let scene = Scene::start(Plan {
            connector: lines,
            ..Plan::answering(answering(|| {
                Answer::text("ok")
                    .field("set-cookie", "a=1; Path=/")
                    .field("set-cookie", "b=2")
                    .field("x-between", "x")
                    .field("set-cookie", "a=3")
            }))
        })
        .await;

        // RFC 9110 §5.3: their order counts; protocol.md, line 8.
        assert_eq!(get(&scene).await.all("set-cookie"), expected);
    }
}

/// The `Location` a flow sees for what an origin with `base` says; `{origin}` stands for its own.
async fn located(base: &'static str, location: &'static str, by_field: bool) -> String {
    let port = std::sync::Arc::new(std::sync::OnceLock::new());
    let told = std::sync::Arc::clone(&port);
    let scene = Scene::start(Plan {
        base,
        ..Plan::answering(origin::whole(move |_| {
            let origin = format!("https://localhost:{}", told.get().unwrap());
            let location = location.replace("{origin}", &origin);
            let location = location.replace("{ORIGIN}", &origin.to_uppercase());
            Answer::status(302).field("location", &location)
        }))
    })
    .await;
    port.set(scene.origin.address().port()).unwrap();
    let mut client = Client::http1(scene.gateway.flows()).await;
    let answered = match by_field {
        true => {
            let field = [("connector-id", "orders")];
            client.call("GET", "/x", &field, "").await
        }
        false => client.get("/orders/x").await,
    };
    assert_eq!(answered.status, 302, "a redirect is never followed");
    let origin = format!("https://localhost:{}", scene.origin.address().port());
    let location = answered.field("location").unwrap();
    location.replace(&origin, "{origin}")
}

#[tokio::test]
async fn a_location_behind_the_base_path_is_rewritten_to_the_gateways_address() {
    for base in BASES {
        for (location, by_path, by_field) in [
            ("{origin}/api/y?z#f", "/orders/y?z#f", "/y?z#f"),
            ("{ORIGIN}/api/y", "/orders/y", "/y"),
            ("/api/y", "/orders/y", "/y"),
            ("{origin}/api", "/orders", "/"),
            ("/api?q", "/orders?q", "/?q"),
        ] {
            let behind = |text: &'static str| match base {
                "" => text.replace("/api/", "/").replace("/api", "/"),
                _ => text.to_owned(),
            };
            let expected = |text: &str| match (base, text) {
                ("", "/orders") => "/orders/".to_owned(),
                ("", "/orders?q") => "/orders/?q".to_owned(),
                _ => text.to_owned(),
            };
            let location: &'static str = behind(location).leak();

            let path = located(base, location, false).await;
            let field = located(base, location, true).await;

            assert_eq!(
                (path, field),
                (expected(by_path), by_field.to_owned()),
                "{location}"
            );
        }
    }
}

#[tokio::test]
async fn a_location_elsewhere_passes_untouched() {
    for location in [
        "https://elsewhere.example/api/y",
        "https://localhost.evil.example/api/y",
        "http://localhost/api/y",
        "//elsewhere.example/api/y",
        "{origin}/apiary",
        "{origin}/other",
        "{origin}/api/../crm/y",
        "y",
        "?q",
        "",
        "ftp://localhost/api",
    ] {
        assert_eq!(located("/api", location, false).await, location);
    }
}

#[tokio::test]
async fn a_location_never_leads_a_flow_to_another_connector() {
    // RFC 9110 §10.2.2: the flow resolves it against the gateway's address, where the first
    // segment names a connector, and that one's credential goes with it.
    for (base, location, told) in [
        ("/api", "/crm/y", "{origin}/crm/y"),
        ("/api", "../crm/y", "{origin}/crm/y"),
        ("/api", "/api/../crm/y?z", "{origin}/crm/y?z"),
        ("/api", "/api/%2e%2e/crm/y", "{origin}/crm/y"),
        ("/api", "/x/../api/y", "/orders/y"),
        // RFC 3986 §3.1: no scheme begins with a digit.
        ("/api", "1:/../../crm/y", "{origin}/crm/y"),
        // WHATWG URL §4.4, scheme state: without an authority these are relative.
        ("/api", "https:/crm/y", "{origin}/crm/y"),
        ("/api", "HTTPS:\\crm/y", "{origin}/crm/y"),
        ("/api", "https:/api/y", "/orders/y"),
        ("", "/../crm/y", "/orders/crm/y"),
        ("", "../../crm/y", "/orders/crm/y"),
    ] {
        assert_eq!(located(base, location, false).await, told, "{location}");
    }
}

#[tokio::test]
async fn a_location_never_leads_a_flow_to_a_host_that_its_path_names() {
    // RFC 3986 §4.2: the origin says a path that begins with two slashes, not an authority.
    for (location, told) in [
        (
            "{origin}//elsewhere.example/y",
            "{origin}//elsewhere.example/y",
        ),
        ("/.//elsewhere.example/y", "{origin}//elsewhere.example/y"),
    ] {
        assert_eq!(located("", location, true).await, told);
    }
    let by_path = located("", "{origin}//elsewhere.example/y", false).await;
    assert_eq!(by_path, "/orders//elsewhere.example/y");

    // Browsers take a backslash for a slash, so this names a host.
    for by_field in [false, true] {
        let told = located("", "/\\elsewhere.example/y", by_field).await;
        assert_eq!(told, "https://elsewhere.example/y");
    }
}

#[tokio::test]
async fn a_relative_location_stays_behind_a_connector_that_was_asked_for_its_base() {
    let answered = origin::whole(|_| Answer::status(302).field("location", "crm/y?z"));
    let scene = Scene::start(Plan {
        base: "/api/",
        ..Plan::answering(answered)
    })
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    let answered = client.get("/orders").await;

    assert_eq!(answered.field("location"), Some("/orders/crm/y?z"));
}

#[tokio::test]
async fn a_redirect_is_never_followed_wherever_it_leads() {
    // protocol.md, row 57.
    let stage = Stage::new();
    let decoy = Origin::plain(&stage.server()).await;
    let to = decoy.url("/steal");
    let scene = Scene::start(Plan::answering(origin::whole(move |request| {
        let status = request.target.rsplit('/').next().unwrap();
        Answer::status(status.parse().unwrap()).field("location", &to)
    })))
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    for status in ["301", "302", "303", "307", "308"] {
        let answered = client
            .call("POST", &format!("/orders/{status}"), &[], "x")
            .await;
        assert_eq!(answered.status.as_str(), status);
        assert_eq!(answered.field("location"), Some(&*decoy.url("/steal")));
    }

    assert_eq!(decoy.tally().accepted, 0);
}

#[tokio::test]
async fn an_answer_without_content_leaves_both_connections_usable() {
    // RFC 9110 §6.4.1.
    let scene = Scene::start(Plan::answering(origin::whole(|request| {
        match request.target.as_str() {
            "/api/204" => Answer::status(204),
            "/api/304" => Answer::status(304).field("etag", "\"x\""),
            "/api/empty" => Answer::status(200),
            _ => Answer::text("some words"),
        }
    })))
    .await;
    let mut client = Client::http1(scene.gateway.flows()).await;

    let no_content = client.get("/orders/204").await;
    let not_modified = client.get("/orders/304").await;
    let empty = client.get("/orders/empty").await;
    let head = client.call("HEAD", "/orders/x", &[], "").await;
    let last = client.get("/orders/x").await;

    assert_eq!(no_content.field("content-length"), None);
    assert_eq!(not_modified.field("etag"), Some("\"x\""));
    assert_eq!(empty.field("content-length"), Some("0"));
    assert_eq!(head.field("content-length"), Some("10"));
    assert_eq!(last.text(), "some words");
    assert_eq!(scene.origin.tally().accepted, 1);
}

#[tokio::test]
async fn interim_answers_do_not_stand_for_the_final_one() {
    // RFC 9110 §15.2; protocol.md, line 14: 103 is dropped, as README says.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut wire = Wire::plain(gateway.flows()).await;

    wire.write("GET /orders/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin
        .write(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
        .await;
    let answer = wire.answer().await;

    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
    gateway.drain().await;
}

#[tokio::test]
async fn an_answer_until_the_end_of_the_connection_is_whole_for_the_flow() {
    // RFC 9112 §6.3.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut client = Client::http1(gateway.flows()).await;

    let (answered, ()) = within("an answer", async {
        tokio::join!(client.get("/orders/x"), async {
            let mut origin = raw.accept().await;
            origin.message(Kind::Request).await.unwrap();
            origin.write("HTTP/1.1 200 OK\r\n\r\nall of it").await;
            origin.half_close().await;
        })
    })
    .await;

    assert_eq!(answered.text(), "all of it");
    gateway.drain().await;
}
