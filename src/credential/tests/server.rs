//! An authorization server that answers what it is told to, byte for byte, and keeps what it saw.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use url::form_urlencoded;

use crate::config::ServerTls;
use crate::connector::ClientCertificate;
use crate::secret::Secret;
use crate::tls::server::{Protocols, server_config};

/// A throw-away certificate authority.
pub(super) struct Pki(CertifiedIssuer<'static, KeyPair>);

impl Pki {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key()).expect("self-signed"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn issue(&self, name: &str) -> ClientCertificate {
        let (params, key) = (params(name), key());
        ClientCertificate {
            certificate_pem: params.signed_by(&key, &self.0).expect("signed").pem(),
            private_key_pem: Secret::new(key.serialize_pem()),
        }
    }
}

pub(super) fn self_signed(name: &str) -> ClientCertificate {
    let key = key();
    ClientCertificate {
        certificate_pem: params(name).self_signed(&key).expect("signed").pem(),
        private_key_pem: Secret::new(key.serialize_pem()),
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a name")
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: String,
    pub(super) showed_certificate: bool,
}

impl Seen {
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.body.as_bytes())
            .into_owned()
            .collect()
    }

    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut found = self.parameters().into_iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value);
        assert_eq!(found.next(), None, "RFC 6749 §3.2: {name} is repeated");
        value
    }

    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut found = self.head.lines().skip(1).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        });
        let value = found.next();
        assert_eq!(found.next(), None, "{name} is repeated");
        value
    }
}

/// The stand-in. Answers come in the order they were told; where none is left, a good one.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Mutex<VecDeque<Vec<u8>>>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    /// One permit for each answer that may be given.
    gate: Semaphore,
}

impl Server {
    pub(super) async fn start(pki: &Pki, name: &str, client_ca_pem: Option<String>) -> Self {
        let identity = pki.issue(name);
        let tls = ServerTls {
            certificate_pem: identity.certificate_pem,
            private_key_pem: identity.private_key_pem,
            client_ca_pem,
            client_crl_pem: None,
        };
        let config = server_config(&tls, Protocols::Http2AndHttp11).expect("a good identity");
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            answers: Mutex::default(),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move { shared.serve(acceptor, tcp).await });
            }
        });
        Self { address, shared }
    }

    pub(super) fn will_answer(&self, answer: impl Into<Vec<u8>>) {
        self.shared
            .answers
            .lock()
            .expect("whole")
            .push_back(answer.into());
    }

    /// From now on nothing is answered until [`Server::open`].
    pub(super) fn close(&self) {
        self.shared.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) fn open(&self) {
        self.shared.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(super) fn count(&self) -> usize {
        *self.shared.count.borrow()
    }

    pub(super) async fn has_seen(&self, count: usize) {
        let mut counted = self.shared.count.subscribe();
        counted.wait_for(|seen| *seen >= count).await.expect("open");
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("whole").clone()
    }

    pub(super) fn last(&self) -> Seen {
        self.seen().pop().expect("a request came")
    }
}

impl Shared {
    async fn serve(&self, acceptor: TlsAcceptor, tcp: TcpStream) -> Option<()> {
        let mut stream = acceptor.accept(tcp).await.ok()?;
        let negotiated = stream.get_ref().1.alpn_protocol() == Some(b"http/1.1");
        assert!(negotiated, "HTTP/2 was agreed on");
        let showed_certificate = stream.get_ref().1.peer_certificates().is_some();
        let mut bytes = Vec::new();
        let (head, body) = loop {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            if let Some(request) = whole(&bytes) {
                break request;
            }
        };
        self.seen.lock().expect("whole").push(Seen {
            head,
            body,
            showed_certificate,
        });
        self.count.send_modify(|count| *count += 1);
        let number = *self.count.borrow();
        self.gate.acquire().await.ok()?.forget();
        let told = self.answers.lock().expect("whole").pop_front();
        let answer = told.unwrap_or_else(|| token(&format!("token-{number}"), 3600));
        stream.write_all(&answer).await.ok()?;
        stream.shutdown().await.ok()
    }
}

fn whole(bytes: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(bytes).expect("ASCII");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>())
    });
    let length = length.expect("a length").expect("a number");
    (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
}

/// An answer with `status` and `body`, `fields` before the length.
pub(super) fn answer(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

pub(super) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, "Content-Type: application/json\r\n", body)
}

pub(super) fn token(token: &str, expires_in: u64) -> Vec<u8> {
    let body =
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#);
    json(200, &body)
}
