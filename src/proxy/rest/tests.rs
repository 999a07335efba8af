use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::super::malformed::Malformed;
use super::super::meter::{Patience, Phase, REST_AFTER, Signal, Tick};
use super::super::sweep::{Registration, Side, Sweep};
use super::*;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HEAD_LIMIT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(75);

/// A connection that is served by hand, one poll at a time.
struct Room {
    served: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
    meter: Arc<Meter>,
    tick: Tick,
    sweep: Arc<Sweep>,
    carried: Arc<AtomicUsize>,
    _watched: Registration,
}

impl Room {
    fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (tick, sweep) = (Tick::default(), Arc::new(Sweep::default()));
        let meter = Meter::new(tick.clone());
        let patience = Patience {
            handshake: IDLE,
            head: HEAD_LIMIT,
            idle: IDLE,
            write: IDLE,
        };
        let watched = sweep.watch(&meter, patience, Side::Client);
        let carried = Arc::new(AtomicUsize::new(0));
        let (asked, count) = (Arc::clone(&meter), Arc::clone(&carried));
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            asked.request_began();
            count.fetch_add(1, Ordering::Relaxed);
            asked.request_ended();
            std::future::ready(Ok(Response::new(Relay::nothing())))
        });
        let malformed = Arc::new(Malformed::new(HeaderValue::from_static("r1")));
        let io = Io::new(stream, Bytes::new(), Arc::clone(&meter)).of_http1_client(malformed);
        let speak = |io, service| {
            let builder = http1::Builder::new();
            Box::pin(builder.serve_connection(TokioIo::new(io), service))
        };
        let (connection, own) = (speak(io, service), Arc::clone(&meter));
        let served = Box::pin(async move { serve(connection, speak, &own).await.0 });
        Self {
            served,
            meter,
            tick,
            sweep,
            carried,
            _watched: watched,
        }
    }

    /// A room, its client, and its first request answered.
    fn after_a_request() -> (Self, DuplexStream) {
        let (mut client, stream) = duplex(64 * 1024);
        let mut room = Self::new(stream);
        write(&mut client, HEAD);
        assert!(!room.has_ended());
        assert_eq!(answers(&mut client), 1);
        (room, client)
    }

    fn has_ended(&mut self) -> bool {
        let polled = self
            .served
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        polled.is_ready()
    }

    /// Lets the sweep look when `at` has come.
    fn look(&self, at: Duration) {
        self.tick.set(at);
        self.sweep.run();
    }

    fn rests(&self) -> bool {
        self.meter.is(Phase::Resting)
    }

    fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}

fn write(client: &mut DuplexStream, text: &str) {
    let written = client.write_all(text.as_bytes()).now_or_never();
    assert!(matches!(written, Some(Ok(()))));
}

/// How many answers have come since this was last asked.
fn answers(client: &mut DuplexStream) -> usize {
    let mut read = vec![0; 64 * 1024];
    let count = client.read(&mut read).now_or_never();
    let count = count.map_or(0, |read| read.unwrap());
    let text = String::from_utf8_lossy(&read[..count]).into_owned();
    text.matches("HTTP/1.1 200 OK").count()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn what_a_client_asks_after_a_rest_is_carried_and_it_may_rest_again() {
    let (mut room, mut client) = Room::after_a_request();
    for round in 1..4 {
        room.look(seconds(round * 2));
        assert!(!room.has_ended());
        assert!(room.rests());

        write(&mut client, HEAD);
        assert!(!room.has_ended());

        assert!(!room.rests());
        assert_eq!(answers(&mut client), 1);
    }
}

#[test]
fn a_connection_is_not_asked_to_rest_before_its_time() {
    let (mut room, _client) = Room::after_a_request();

    room.look(Duration::from_millis(999));

    assert!(!room.has_ended());
    assert!(!room.rests());
}

#[test]
fn what_was_read_of_a_request_before_a_rest_is_read_again() {
    let (mut client, stream) = duplex(64 * 1024);
    let mut room = Room::new(stream);
    let (first, second) = HEAD.split_at(9);
    write(&mut client, &(HEAD.to_owned() + first));
    assert!(!room.has_ended());

    room.look(seconds(2));
    assert!(!room.has_ended());
    write(&mut client, second);
    assert!(!room.has_ended());

    assert_eq!((room.carried(), answers(&mut client)), (2, 2));
}

#[test]
fn requests_that_arrive_as_the_rest_is_asked_for_are_carried_first() {
    let (mut room, mut client) = Room::after_a_request();

    room.look(seconds(2));
    write(&mut client, &HEAD.repeat(3));
    assert!(!room.has_ended());

    assert!(!room.rests());
    assert_eq!((room.carried(), answers(&mut client)), (4, 3));
    room.look(seconds(4));
    assert!(!room.has_ended());
    assert!(room.rests());
}

/// A stream that has something to read at each poll of which that is said, and nothing before.
struct Scripted(VecDeque<Option<&'static str>>);

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front().flatten() {
            None => Poll::Pending,
            Some(text) => {
                buf.put_slice(text.as_bytes());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_request_that_arrives_while_the_connection_is_taken_apart_is_carried() {
    // Nothing when hyper looks for the last time, and a request when nobody but the rest does.
    let script = [Some(HEAD), None, None, Some("G"), Some(&HEAD[1..]), None];
    let mut room = Room::new(Scripted(script.into()));
    assert!(!room.has_ended());
    assert_eq!(room.carried(), 1);

    room.look(seconds(2));
    assert!(!room.has_ended());

    assert_eq!(room.carried(), 2);
}

#[test]
fn idle_time_counts_from_the_last_answer_and_not_from_the_rest() {
    let (mut room, _client) = Room::after_a_request();
    room.look(seconds(40));
    assert!(!room.has_ended());
    assert!(room.rests());

    room.look(IDLE - seconds(1));
    assert!(!room.has_ended());
    room.look(IDLE);

    assert!(room.has_ended());
}

#[test]
fn a_request_that_arrives_as_a_rest_runs_out_of_time_is_carried_once() {
    let (mut room, mut client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());

    room.look(IDLE);
    write(&mut client, HEAD);
    room.has_ended();

    assert_eq!((room.carried(), answers(&mut client)), (2, 1));
}

#[test]
fn a_head_that_begins_after_a_rest_and_never_ends_is_overdue() {
    let (mut room, mut client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());
    write(&mut client, "GET / HT");
    assert!(!room.has_ended());

    room.look(seconds(1) + HEAD_LIMIT);
    assert!(!room.has_ended());
    room.look(seconds(2) + HEAD_LIMIT);

    assert!(room.has_ended());
}

#[test]
fn a_thousand_idle_connections_begin_to_rest_in_several_looks() {
    let (tick, sweep) = (Tick::default(), Arc::new(Sweep::default()));
    let patience = Patience {
        handshake: IDLE,
        head: IDLE,
        idle: IDLE,
        write: IDLE,
    };
    let watched: Vec<_> = std::iter::repeat_with(|| {
        let meter = Meter::new(tick.clone());
        meter.let_rest();
        meter.enter(Phase::Idle);
        let registration = sweep.watch(&meter, patience, Side::Client);
        (meter, registration)
    })
    .take(1000)
    .collect();
    tick.set(REST_AFTER);

    let begun = [(); 3].map(|()| {
        sweep.run();
        let begins = |(meter, _): &&(Arc<Meter>, Registration)| meter.begin_rest();
        watched.iter().filter(begins).count()
    });

    assert_eq!(begun, [512, 488, 0]);
}

#[test]
fn a_drain_leaves_a_resting_connection_its_grace_and_then_closes_it() {
    let (mut room, mut client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());

    room.meter.signal(Signal::Drain);
    assert!(!room.has_ended());
    write(&mut client, HEAD);
    assert!(!room.has_ended());
    assert_eq!(answers(&mut client), 1);
    room.sweep.close_idle_clients(seconds(1));
    assert!(!room.has_ended(), "its grace has begun anew");
    room.look(seconds(3));
    room.sweep.close_idle_clients(seconds(1));

    assert!(room.has_ended());
}

#[test]
fn a_drain_closes_a_connection_that_has_rested_longer_than_its_grace() {
    let (mut room, _client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());

    room.sweep.close_idle_clients(seconds(1));

    assert!(room.has_ended());
}

#[test]
fn a_connection_that_rests_ends_with_its_client_and_with_the_gateway() {
    let (mut room, client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());
    drop(client);
    assert!(room.has_ended());

    let (mut room, _client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());
    room.meter.signal(Signal::Stop);
    assert!(room.has_ended());
}

#[test]
fn what_is_malformed_after_a_rest_is_told_as_such() {
    let (mut room, mut client) = Room::after_a_request();
    room.look(seconds(2));
    assert!(!room.has_ended());

    write(&mut client, "no request\r\n\r\n");
    room.has_ended();

    let mut told = [0; 1024];
    let count = client.read(&mut told).now_or_never().unwrap().unwrap();
    let told = String::from_utf8_lossy(&told[..count]);
    assert!(told.contains("urn:attache:problem:bad-request"), "{told}");
}

/// Leaves something to do on an idle connection.
type Leave = fn(&Meter);

#[test]
fn a_connection_with_anything_left_to_do_is_not_due_to_rest() {
    let tick = Tick::default();
    let idle = || {
        let meter = Meter::new(tick.clone());
        meter.let_rest();
        meter.request_began();
        meter.request_ended();
        meter.all_written.store(true, Ordering::Release);
        meter
    };
    let cases: [(&str, Leave); 6] = [
        ("another request", |meter| meter.request_began()),
        ("bytes of a head", |meter| meter.enter(Phase::Head)),
        ("a body that still comes", |meter| meter.expect_body(true)),
        ("an answer that is not out", |meter| {
            meter.all_written.store(false, Ordering::Release);
        }),
        ("one that is not taken", |meter| {
            meter.blocked_since_ms.store(1, Ordering::Release);
        }),
        ("a drain", |meter| meter.signal(Signal::Drain)),
    ];
    let meters = cases.map(|(what, leave)| {
        let meter = idle();
        leave(&meter);
        (what, meter)
    });
    let (rests, http2) = (idle(), Meter::new(tick.clone()));
    http2.request_began();
    http2.request_ended();
    http2.all_written.store(true, Ordering::Release);
    tick.set(REST_AFTER);

    assert!(rests.is_due_to_rest());
    assert!(!http2.is_due_to_rest());
    for (what, meter) in meters {
        assert!(!meter.is_due_to_rest(), "{what}");
    }
}
