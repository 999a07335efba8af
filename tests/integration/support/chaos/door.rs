//! A peer's address: shut, jammed or open.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Tasks;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// The most connections it takes to jam a door.
const JAM_MAX: usize = 16;
/// How long a connection over loopback is tried before it counts as swallowed.
const JAM_PATIENCE: Duration = Duration::from_millis(100);

type Serve = Box<dyn Fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// An address that is bound from the start, so that nobody else gets it while nobody listens.
pub(super) struct Door {
    socket: Socket,
    /// What to do with connections, until the door is open.
    serve: Option<Serve>,
    /// Connections that keep the door jammed.
    jam: Vec<std::net::TcpStream>,
    accepting: Tasks,
}

impl Door {
    /// A shut one: nobody listens, and who comes is refused.
    pub(super) fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&address.into()).unwrap();
        Self {
            socket,
            serve: Some(Box::new(move |tcp| Box::pin(serve(tcp)))),
            jam: Vec::new(),
            accepting: Tasks::new(),
        }
    }

    /// The address.
    pub(super) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// The same, open.
    pub(super) fn opened(mut self) -> Self {
        self.open();
        self
    }

    /// The same, with so many before it who are not let in that nobody else is even heard.
    pub(super) fn jammed(mut self) -> Self {
        self.socket.listen(0).unwrap();
        for _ in 0..JAM_MAX {
            match std::net::TcpStream::connect_timeout(&self.address(), JAM_PATIENCE) {
                Ok(stream) => self.jam.push(stream),
                Err(_) => return self,
            }
        }
        panic!("{JAM_MAX} connections wait at a door for none");
    }

    /// Lets in who comes, and who waits; once is enough.
    pub(super) fn open(&mut self) {
        let Some(serve) = self.serve.take() else {
            return;
        };
        self.socket.listen(BACKLOG).unwrap();
        self.jam.clear();
        let listener: std::net::TcpListener = self.socket.try_clone().unwrap().into();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        self.accepting.spawn(async move {
            let mut connections = Tasks::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                connections.spawn(serve(tcp));
                while connections.try_join_next().is_some() {}
            }
        });
    }
}
