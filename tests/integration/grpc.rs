//! gRPC (its HTTP/2 protocol) end to end: messages both ways, trailers, cancellation, deadlines.
//!
//! Both ends are h2 itself, so that streams, trailers and resets are seen as they are on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::sync::mpsc;

use crate::support::gateway::Running;
use crate::support::message::reason;
use crate::support::origin::Setup;
use crate::support::raw::RawOrigin;
use crate::support::scene::{CREDENTIAL, orders};
use crate::support::stage::Stage;
use crate::support::tls::{self, Protocols};
use crate::support::wire::Wire;
use crate::support::within;

const TLS: &str = "tls: { certificate: { file: gw.pem }, private_key: { file: gw.key } }\n";

/// How a flow speaks HTTP/2.
#[derive(Clone, Copy, Debug)]
enum Flow {
    /// With prior knowledge (RFC 9113 §3.3).
    Plain,
    /// By ALPN.
    Tls,
}

/// A gateway between a gRPC client's connection and a gRPC server's.
struct Between {
    client: h2::client::SendRequest<Bytes>,
    calls: mpsc::UnboundedReceiver<(Request<RecvStream>, SendResponse<Bytes>)>,
    _gateway: Running,
}

impl Between {
    async fn start(flow: Flow, lines: &[&str]) -> Self {
        let stage = Stage::new();
        let raw = RawOrigin::start(Setup {
            protocols: Protocols::Http2,
            ..Setup::new(&stage.server())
        })
        .await;
        let mut yaml = orders(&raw.url(""), lines);
        if matches!(flow, Flow::Tls) {
            stage.server().write(stage.directory(), "gw");
            yaml += TLS;
        }
        let gateway = Running::start(&stage, &yaml).await;
        let wire = match flow {
            Flow::Plain => Wire::plain(gateway.flows()).await,
            Flow::Tls => {
                let offer = tls::client(&stage.ca, None, Protocols::Http2);
                Wire::tls(gateway.flows(), offer).await
            }
        };
        let (client, connection) = h2::client::handshake(wire.into_stream()).await.unwrap();
        tokio::spawn(connection);
        let (tell, calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let stream = raw.accept().await.into_stream();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    while let Some(Ok(call)) = connection.accept().await {
                        // The test may be over.
                        let _ = tell.send(call);
                    }
                });
            }
        });
        Self {
            client,
            calls,
            _gateway: gateway,
        }
    }

    /// Begins a call, which `more` fields belong to; its messages are yet to come.
    fn call(&mut self, more: &[(&str, &str)]) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder()
            .method("POST")
            .uri("http://localhost/orders/shop.Orders/Place")
            .header("te", "trailers")
            .header("content-type", "application/grpc+proto");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        self.client
            .send_request(request.body(()).unwrap(), false)
            .unwrap()
    }

    /// The call as the server sees it.
    async fn arrived(&mut self) -> (Request<RecvStream>, SendResponse<Bytes>) {
        within("a call", self.calls.recv()).await.unwrap()
    }
}

/// A message as it is framed: a flag, four bytes of length, the message.
fn framed(message: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message.as_bytes());
    bytes.freeze()
}

/// The messages of one direction, however its bytes were cut into frames.
struct Messages {
    stream: RecvStream,
    read: Vec<u8>,
}

impl Messages {
    fn of(stream: RecvStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The next one; `None` where they end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((head, rest)) = self.read.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if rest.len() >= length {
                    let message = String::from_utf8(rest[..length].to_vec()).unwrap();
                    self.read.drain(..5 + length);
                    return Some(message);
                }
            }
            let data = within("a message", self.stream.data()).await?.unwrap();
            self.stream
                .flow_control()
                .release_capacity(data.len())
                .unwrap();
            self.read.extend_from_slice(&data);
        }
    }

    async fn trailers(&mut self) -> HeaderMap {
        let trailers = within("trailers", self.stream.trailers()).await;
        trailers.unwrap().unwrap_or_default()
    }

    /// Why the stream was reset.
    async fn reset(&mut self) -> Option<Reason> {
        loop {
            match within("a reset", self.stream.data()).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    }
}

fn status(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn ok() -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc+proto");
    response.body(()).unwrap()
}

#[tokio::test]
async fn a_call_crosses_with_its_deadline_its_metadata_and_its_status() {
    for flow in [Flow::Plain, Flow::Tls] {
        let mut between = Between::start(flow, &[]).await;
        let fields = [
            ("grpc-timeout", "1500m"),
            ("grpc-encoding", "identity"),
            ("order-bin", "AAEC"),
        ];
        let (answer, mut sending) = between.call(&fields);
        sending.send_data(framed("order"), true).unwrap();

        let (request, mut respond) = between.arrived().await;
        let (head, body) = request.into_parts();
        let mut messages = Messages::of(body);
        assert_eq!(messages.next().await.as_deref(), Some("order"));
        assert_eq!(messages.next().await, None);
        let mut answering = respond.send_response(ok(), false).unwrap();
        answering.send_data(framed("placed"), false).unwrap();
        let trailers = status(&[
            ("grpc-status", "0"),
            ("grpc-message", "all%20is%20well"),
            ("grpc-status-details-bin", "CAUSA29vcA"),
            ("x-own", "kept"),
        ]);
        answering.send_trailers(trailers.clone()).unwrap();

        let answer = within("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc+proto");
        let mut messages = Messages::of(answer.into_body());
        assert_eq!(messages.next().await.as_deref(), Some("placed"));
        assert_eq!(messages.next().await, None);
        assert_eq!(messages.trailers().await, trailers, "{flow:?}");
        assert_eq!(head.uri.path(), "/shop.Orders/Place");
        assert_eq!(head.headers["te"], "trailers");
        assert_eq!(head.headers["authorization"], CREDENTIAL);
        assert_eq!(head.headers["content-type"], "application/grpc+proto");
        for (name, value) in fields {
            assert_eq!(head.headers[name], value);
        }
    }
}

#[tokio::test]
async fn an_answer_of_trailers_alone_stays_one_and_ends_the_call_early() {
    // A call that fails at once: one head that ends the stream, the request's body not read.
    let mut between = Between::start(Flow::Plain, &[]).await;
    let (answer, mut sending) = between.call(&[]);
    sending.send_data(framed("half an order"), false).unwrap();

    let (request, mut respond) = between.arrived().await;
    let denied = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "7")
        .header("grpc-message", "denied");
    respond
        .send_response(denied.body(()).unwrap(), true)
        .unwrap();
    drop((request, respond));

    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "7");
    assert_eq!(answer.headers()["grpc-message"], "denied");
    assert!(answer.body().is_end_stream());
    // What is wrong with one call is not wrong with the next.
    let (answer, mut sending) = between.call(&[]);
    sending.send_data(framed("x"), true).unwrap();
    let (_request, mut respond) = between.arrived().await;
    respond.send_response(ok(), true).unwrap();
    assert_eq!(within("an answer", answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn messages_go_back_and_forth_while_both_directions_stay_open() {
    for flow in [Flow::Plain, Flow::Tls] {
        let mut between = Between::start(flow, &[]).await;
        let (answer, mut sending) = between.call(&[]);
        let (request, mut respond) = between.arrived().await;
        let mut orders = Messages::of(request.into_body());
        // The head is answered before the first message.
        let mut answering = respond.send_response(ok(), false).unwrap();
        let answer = within("an answer", answer).await.unwrap();
        let mut receipts = Messages::of(answer.into_body());

        for number in 0..20 {
            let message = format!("message {number}");
            sending.send_data(framed(&message), false).unwrap();
            assert_eq!(orders.next().await, Some(message.clone()));
            answering.send_data(framed(&message), false).unwrap();
            assert_eq!(receipts.next().await, Some(message));
        }
        sending.send_data(Bytes::new(), true).unwrap();
        assert_eq!(orders.next().await, None);
        answering.send_data(framed("last"), false).unwrap();
        assert_eq!(receipts.next().await.as_deref(), Some("last"));
        answering
            .send_trailers(status(&[("grpc-status", "0")]))
            .unwrap();

        assert_eq!(receipts.next().await, None);
        assert_eq!(receipts.trailers().await["grpc-status"], "0");
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_cancelled_at_the_server() {
    // RFC 9113 §7: CANCEL, which gRPC servers read as such.
    for answered in [false, true] {
        let mut between = Between::start(Flow::Plain, &[]).await;
        let (answer, mut sending) = between.call(&[]);
        let (request, mut respond) = between.arrived().await;
        let mut held = None;
        if answered {
            held = Some(respond.send_response(ok(), false).unwrap());
        }
        let answer = match answered {
            true => Some(within("an answer", answer).await.unwrap()),
            false => {
                drop(answer);
                None
            }
        };

        sending.send_reset(Reason::CANCEL);

        let mut messages = Messages::of(request.into_body());
        assert_eq!(messages.reset().await, Some(Reason::CANCEL), "{answered}");
        drop((held, answer));
    }
}

#[tokio::test]
async fn a_reset_amid_an_answer_has_the_same_reason_for_the_flow() {
    for code in [
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::ENHANCE_YOUR_CALM,
        Reason::REFUSED_STREAM,
    ] {
        let mut between = Between::start(Flow::Plain, &[]).await;
        let (answer, _sending) = between.call(&[]);
        let (_request, mut respond) = between.arrived().await;
        let mut answering = respond.send_response(ok(), false).unwrap();
        answering.send_data(framed("half"), false).unwrap();
        let answer = within("an answer", answer).await.unwrap();
        let mut messages = Messages::of(answer.into_body());
        assert_eq!(messages.next().await.as_deref(), Some("half"));

        answering.send_reset(code);

        assert_eq!(messages.reset().await, Some(code));
    }
}

#[tokio::test]
async fn a_reset_before_the_answer_is_told_as_a_problem_that_grpc_reads_as_unavailable() {
    // gRPC's mapping of statuses: 502, 503 and 504 are UNAVAILABLE.
    let mut between = Between::start(Flow::Plain, &[]).await;
    let (answer, mut sending) = between.call(&[]);
    sending.send_data(framed("x"), true).unwrap();
    let (_request, mut respond) = between.arrived().await;

    respond.send_reset(Reason::INTERNAL_ERROR);

    let answer = within("an answer", answer).await.unwrap();
    assert_eq!(answer.status(), 502);
    let mut body = answer.into_body();
    let problem = within("a problem", body.data()).await.unwrap().unwrap();
    assert_eq!(reason(&problem), "origin-protocol");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_at_the_limit_and_told_so() {
    let lines = &["upstream: { response_head: 300ms }"];
    let mut between = Between::start(Flow::Plain, lines).await;
    let (answer, mut sending) = between.call(&[("grpc-timeout", "1H")]);
    sending.send_data(framed("x"), true).unwrap();
    let (request, mut respond) = between.arrived().await;

    let answer = within("an answer", answer).await.unwrap();

    assert_eq!(answer.status(), 504);
    let told = std::future::poll_fn(|cx| respond.poll_reset(cx));
    assert_eq!(within("a reset", told).await.unwrap(), Reason::CANCEL);
    drop(request);
}
