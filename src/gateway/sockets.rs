//! What a gateway listens on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::config::Config;

/// Connections the system queues while none is accepted.
const BACKLOG: i32 = 1024;

/// Everything that is bound before anything is started.
pub(super) struct Sockets {
    pub(super) flows: Vec<TcpListener>,
    pub(super) admin: TcpListener,
    pub(super) metrics: Option<TcpListener>,
}

/// What was bound, ports included.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) flows: Vec<SocketAddr>,
    pub(super) admin: SocketAddr,
    pub(super) metrics: Option<SocketAddr>,
}

impl Sockets {
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let flows = config.listen.iter().map(|address| bind(*address, "listen"));
        Ok(Self {
            flows: flows.collect::<Result<_, _>>()?,
            admin: bind(config.admin.listen, "admin.listen")?,
            metrics: match config.metrics.listen {
                Some(address) => Some(bind(address, "metrics.listen")?),
                None => None,
            },
        })
    }

    pub(super) fn addresses(&self) -> io::Result<Addresses> {
        let flows = self.flows.iter().map(TcpListener::local_addr);
        let metrics = self.metrics.as_ref().map(TcpListener::local_addr);
        Ok(Addresses {
            flows: flows.collect::<Result<_, _>>()?,
            admin: self.admin.local_addr()?,
            metrics: metrics.transpose()?,
        })
    }
}

fn bind(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // A restart must not wait for connections of the last process to be forgotten.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // Each address is listed by itself; "[::]" does not take IPv4's port with it.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map_err(|source| StartError::Bind {
        address,
        key,
        source,
    })
}
