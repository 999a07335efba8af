//! Doors into the rooms of a request's way, for `benches/micro` and `tests/fuzz` alone.
//!
//! The rooms are private, and a bench is another crate. They are called here as `carry` calls
//! them, with what a request would have brought as far as that. What a bench is given is only kept
//! from being optimised away; what a fuzz target is given it judges. A feature would hide this better, and make of what is
//! measured another build than the one that runs; the linker drops what nothing calls.

use std::io;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, request};
use http_body_util::Empty;

use super::authorize::{self, Permit};
use super::caller::Caller;
use super::error::Refusal;
use super::fields::Fields;
use super::outbound::Outbound;
use super::principal::Principal;
use super::resolve::Route;
use super::rewrite::{self, Injected, Via};
use super::{location, resolve, scrub};
use crate::connector::ConnectorId;
use crate::credential::Credential;
use crate::directory::Snapshot;
use crate::proxy_protocol::Ends;

/// A flow at the doors.
#[derive(Debug)]
pub struct Doors {
    caller: Caller,
    via: Via,
    request_id: HeaderValue,
}

/// A request that has come as far as its permit.
#[derive(Debug)]
pub struct Permitted(Permit);

impl Doors {
    /// A flow at the other end of `socket`.
    ///
    /// # Errors
    ///
    /// The system's, if the socket is not connected.
    pub fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self::between(socket.peer_addr()?, socket.local_addr()?))
    }

    /// A flow at `peer` that reached the gateway at `local`.
    pub fn between(peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            caller: Caller::between(Ends {
                source: peer,
                destination: local,
            }),
            via: Via::new("00000000-0000-0000-0000-000000000000"),
            request_id: HeaderValue::from_static("00000000-0000-0000-0000-000000000000"),
        }
    }

    /// Finds the route of `flow`.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of one that has none.
    pub fn resolve(
        &self,
        flow: &request::Parts,
        snapshot: &Snapshot,
    ) -> Result<impl Sized, Refusal> {
        self.route(flow, snapshot)
    }

    /// Finds the route of `flow` and permits it.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of one that has no route or may not take it.
    pub fn permit(&self, flow: &request::Parts, snapshot: &Snapshot) -> Result<Permitted, Refusal> {
        let fields = Fields::of(&flow.headers);
        let route = self.route(flow, snapshot)?;
        let who = (&self.caller, Principal::Network);
        authorize::authorize(route, (flow, fields), who, &self.via).map(Permitted)
    }

    fn route(&self, flow: &request::Parts, snapshot: &Snapshot) -> Result<Route, Refusal> {
        let flow = (flow, Fields::of(&flow.headers));
        resolve::resolve(flow, &self.caller, Principal::Network, snapshot)
    }

    /// Builds the head that the origin receives.
    pub fn rewrite(
        &self,
        flow: &request::Parts,
        Permitted(permit): &Permitted,
        credential: Credential,
    ) -> impl Sized + use<> {
        self.rewritten(flow, permit, credential)
    }

    /// The head that the origin receives.
    pub fn head(
        &self,
        flow: &request::Parts,
        Permitted(permit): &Permitted,
        credential: Credential,
    ) -> request::Parts {
        self.rewritten(flow, permit, credential).into_parts().0
    }

    fn rewritten(
        &self,
        flow: &request::Parts,
        permit: &Permit,
        credential: Credential,
    ) -> Request<Outbound> {
        let injected = Injected {
            credential,
            request_id: &self.request_id,
            via: self.via.line(flow.version),
            caller: &self.caller,
        };
        let flow = (flow, Fields::of(&flow.headers));
        rewrite::rewrite(flow, permit, injected, Outbound::Empty)
    }
}

impl Permitted {
    /// The connector that the request goes to.
    pub fn connector(&self) -> &ConnectorId {
        &self.0.entry().connector.id
    }

    /// Path and query on its origin.
    pub fn target(&self) -> &PathAndQuery {
        self.0.target()
    }

    /// Makes a `Location` in the fields of an answer the gateway's own address, where it is one.
    pub fn relocate(&self, fields: &mut HeaderMap) {
        location::relocate(fields, &self.0);
    }

    /// Masks `credential` in the fields of an answer, and says how often it was there.
    pub fn scrub(&self, fields: &mut HeaderMap, credential: &Credential) -> u64 {
        let connector = &self.0.entry().connector;
        let mask = scrub::mask(credential, connector);
        scrub::Scrubbed::new(fields, Empty::<Bytes>::new(), mask, connector.scrub).take_masked()
    }
}
