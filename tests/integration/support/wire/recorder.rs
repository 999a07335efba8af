//! A resource domain that keeps every byte it receives, and answers each request with what it was.
//!
//! Requests are told apart by the client they came from, which the gateway says in `Forwarded`: each
//! stream has a loopback address of its own. What is no canonical request is a fault, and ends its
//! connection.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::canonical;
use super::corpus::escape;
use crate::support::message::{self, Kind, Message, Stream};
use crate::support::pki::Identity;
use crate::support::tls::{self, Ask, Protocols};
use crate::support::within;

/// A request as it reached an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Which of the recorders it reached.
    pub(crate) recorder: usize,
    pub(crate) message: Message,
    /// Whether its connection did not end before it.
    pub(crate) whole: bool,
}

/// What reached all recorders.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What may stand in no request.
    unwanted: Option<&'static str>,
    arrived: Mutex<HashMap<Ipv4Addr, Vec<Arrived>>>,
    faults: Mutex<Vec<String>>,
    /// Connections to recorders.
    open: watch::Sender<usize>,
}

impl Ledger {
    /// One for clients that send `unwanted` only where it may not travel.
    pub(crate) fn without(unwanted: &'static str) -> Self {
        Self {
            unwanted: Some(unwanted),
            ..Self::default()
        }
    }

    /// Everything that came from `client`, in order, which is then forgotten.
    pub(crate) fn take(&self, client: Ipv4Addr) -> Vec<Arrived> {
        let mut arrived = lock(&self.arrived);
        arrived.remove(&client).unwrap_or_default()
    }

    /// What was no canonical request.
    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    /// What came of clients whose requests were judged already.
    pub(crate) fn late(&self) -> Vec<String> {
        let arrived = lock(&self.arrived);
        arrived
            .iter()
            .map(|(client, late)| format!("late, of {client}: {late:?}"))
            .collect()
    }

    /// Waits until no recorder has a connection.
    pub(crate) async fn until_all_closed(&self) {
        let mut open = self.open.subscribe();
        let waiting = open.wait_for(|open| *open == 0);
        within("the recorders' connections to end", waiting)
            .await
            .unwrap();
    }

    /// Keeps a request, or finds fault with it.
    fn keep(&self, arrived: Arrived, host: &str) -> Result<(), String> {
        let message = &arrived.message;
        canonical::check(message, host)?;
        let mut values = message.fields.iter().chain(&message.trailers);
        let found =
            |(_, value): &(String, String)| self.unwanted.is_some_and(|it| value.contains(it));
        if let Some((name, _)) = values.find(|field| found(field)) {
            return Err(format!("what is the client's own, in {name}"));
        }
        let client = client_of(&arrived.message).ok_or("no client in Forwarded")?;
        lock(&self.arrived).entry(client).or_default().push(arrived);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Whose request it is, in the gateway's words.
fn client_of(message: &Message) -> Option<Ipv4Addr> {
    let [forwarded] = message.all("forwarded")[..] else {
        return None;
    };
    let node = forwarded
        .strip_prefix("for=")?
        .strip_suffix(";proto=http")?;
    node.parse().ok()
}

/// A running recorder.
pub(crate) struct Recorder {
    port: u16,
    accepting: AbortHandle,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What all connections of a recorder share.
struct Book {
    number: usize,
    host: String,
    ledger: Arc<Ledger>,
}

impl Recorder {
    /// Starts the recorder of this number.
    pub(crate) async fn start(number: usize, identity: &Identity, ledger: Arc<Ledger>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(tls::server(identity, &Ask::Nothing, Protocols::Http1));
        let book = Arc::new(Book {
            number,
            host: format!("localhost:{port}"),
            ledger,
        });
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, book) = (acceptor.clone(), Arc::clone(&book));
                book.ledger.open.send_modify(|open| *open += 1);
                connections.spawn(async move {
                    record(tcp, acceptor, &book).await;
                    book.ledger.open.send_modify(|open| *open -= 1);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            accepting: accepting.abort_handle(),
        }
    }

    /// What `Host` names it.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

async fn record(tcp: TcpStream, acceptor: TlsAcceptor, book: &Book) {
    tcp.set_nodelay(true).unwrap();
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return;
    };
    let mut bytes = Vec::new();
    let mut answered_early = false;
    loop {
        match next(&bytes, book) {
            Err(fault) => {
                let fault = format!("{fault}\n  of: {}", escape(&bytes));
                lock(&book.ledger.faults).push(fault);
                return;
            }
            Ok(Some((message, taken))) => {
                bytes.drain(..taken);
                let early = std::mem::take(&mut answered_early);
                if !early
                    && stream
                        .write_all(&answer(book.number, &message, false))
                        .await
                        .is_err()
                {
                    return;
                }
                continue;
            }
            Ok(None) => {}
        }
        if let Ok(Some(begun)) = message::begun(&bytes, Kind::Request)
            && is_early(begun.target())
            && !answered_early
        {
            answered_early = true;
            if stream
                .write_all(&answer(book.number, &begun, true))
                .await
                .is_err()
            {
                return;
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    if let Err(fault) = cut(&bytes, book) {
        lock(&book.ledger.faults).push(fault);
    }
}

/// Takes the next whole request into the ledger.
fn next(bytes: &[u8], book: &Book) -> Result<Option<(Message, usize)>, String> {
    let Some((message, taken)) = message::read(bytes, Kind::Request, Stream::Open)? else {
        return Ok(None);
    };
    let arrived = Arrived {
        recorder: book.number,
        message: message.clone(),
        whole: true,
    };
    book.ledger.keep(arrived, &book.host)?;
    Ok(Some((message, taken)))
}

/// Takes what there is of a request whose connection has ended.
fn cut(bytes: &[u8], book: &Book) -> Result<(), String> {
    match message::begun(bytes, Kind::Request)? {
        None => Ok(()),
        Some(message) => {
            let arrived = Arrived {
                recorder: book.number,
                message,
                whole: false,
            };
            book.ledger.keep(arrived, &book.host)
        }
    }
}

/// Whether a request for `target` is answered before its body.
pub(crate) fn is_early(target: &str) -> bool {
    target.contains("/early")
}

/// What the recorder of `number` says of a request, in `X-Echo`.
pub(crate) fn echo(number: usize, method: &str, target: &str, body: &[u8]) -> String {
    let target = target.escape_default();
    match is_early(&target.to_string()) {
        true => format!("{number} {method} {target} early"),
        false => format!("{number} {method} {target} {} {:x}", body.len(), sum(body)),
    }
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn answer(number: usize, message: &Message, early: bool) -> Vec<u8> {
    let echo = echo(number, message.method(), message.target(), &message.body);
    let close = if early { "Connection: close\r\n" } else { "" };
    let content = if message.method() == "HEAD" { "" } else { "ok" };
    format!("HTTP/1.1 200 OK\r\nX-Echo: {echo}\r\n{close}Content-Length: 2\r\n\r\n{content}")
        .into_bytes()
}
