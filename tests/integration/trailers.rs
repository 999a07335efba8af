//! Trailers that must not travel although they look like any other.

use crate::support::body::Outgoing;
use crate::support::client::{Answered, Client};
use crate::support::gateway::Running;
use crate::support::message::Kind;
use crate::support::origin::Setup;
use crate::support::raw::RawOrigin;
use crate::support::scene::{Plan, Scene, orders};
use crate::support::stage::Stage;
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

const BOTH: [Protocols; 2] = [Protocols::Http1, Protocols::Http2];

#[tokio::test]
async fn trailers_that_a_requests_connection_names_do_not_travel() {
    // RFC 9110 §7.6.1; protocol.md, line 1.
    for protocols in BOTH {
        let scene = Scene::start(Plan {
            protocols,
            ..Plan::new()
        })
        .await;
        let mut wire = Wire::plain(scene.gateway.flows()).await;

        wire.write(
            "POST /orders/x HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE, X-Hop\r\n\
             Connection: close,x-other\r\nTrailer: X-Hop, X-Stays, X-Other\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
             X-Hop: 1\r\nX-Stays: 2\r\nX-Other: 3\r\n\r\n",
        )
        .await;
        assert_eq!(wire.answer().await.status(), 200);

        let arrived = scene.origin.only_request();
        assert_eq!(arrived.text(), "hi");
        let stays = [("x-stays".to_owned(), "2".to_owned())];
        assert_eq!(arrived.trailers, stays, "{protocols:?}");
    }
}

#[tokio::test]
async fn trailers_that_an_answers_connection_names_do_not_travel() {
    // RFC 9110 §7.6.1; protocol.md, line 1.
    let stage = Stage::new();
    let raw = RawOrigin::start(Setup {
        protocols: Protocols::Http1,
        ..Setup::new(&stage.server())
    })
    .await;
    let gateway = Running::start(&stage, &orders(&raw.url(""), &[])).await;
    let mut wire = Wire::plain(gateway.flows()).await;

    wire.write(
        "GET /orders/x HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    )
    .await;
    let mut origin = raw.accept().await;
    origin.message(Kind::Request).await.unwrap();
    origin
        .write(
            "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nConnection: x-other\r\n\
             Trailer: X-Hop, X-Stays, X-Other\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nX-Hop: 1\r\nX-Stays: 2\r\nX-Other: 3\r\n\r\n",
        )
        .await;
    let answer = wire.answer().await;

    assert_eq!(answer.text(), "ok");
    let trailers = answer.trailers.iter();
    let trailers: Vec<_> = trailers.map(|(_, value)| value.as_str()).collect();
    assert_eq!(trailers, ["2"]);
    gateway.drain().await;
}

#[tokio::test]
async fn no_trailer_has_the_name_of_the_credentials_field() {
    // RFC 9110 §6.5.1; protocol.md, line 27 and row 33.
    for flow in BOTH {
        for protocols in BOTH {
            let scene = Scene::start(Plan {
                protocols,
                connector: &["auth: { header: { name: X-Api-Key, value: k-1 } }"],
                ..Plan::new()
            })
            .await;
            let mut client = match flow {
                Protocols::Http2 => Client::http2(scene.gateway.flows()).await,
                Protocols::Http1 | Protocols::Both => Client::http1(scene.gateway.flows()).await,
            };
            let (pen, body) = Outgoing::streamed();
            let fields = [("trailer", "x-api-key, x_api_key, x-stays")];

            let asking = client.send("POST", "/orders/x", &fields, body);
            let writing = async {
                pen.write("hello").await;
                pen.trailers(&[
                    ("x-api-key", "of the flow"),
                    ("x_api_key", "of the flow"),
                    ("x-stays", "2"),
                ])
                .await;
            };
            let (answer, ()) = tokio::join!(asking, writing);
            Answered::read(answer.unwrap()).await.unwrap();

            let arrived = scene.origin.only_request();
            assert_eq!(arrived.field("x-api-key"), Some("k-1"));
            let stays = [("x-stays".to_owned(), "2".to_owned())];
            assert_eq!(arrived.trailers, stays, "{flow:?} {protocols:?}");
        }
    }
}
