//! Who may do what: the only room that makes a [`Permit`].

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, header, request};

use super::error::Refusal;
use super::fields::{Field, Fields};
use super::resolve::{Addressed, Route};
use super::rewrite::{self, Via};
use super::upgrade;
use crate::directory::Entry;

/// The proof that a request may go to its origin. Without one, nothing is forwarded.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Route,
    /// What was permitted.
    method: Method,
    /// Where the protocol that the request may upgrade to stands in the connector's list.
    upgrade: Option<usize>,
}

impl Permit {
    /// The connector, whole.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.route.entry
    }

    /// Path and query on the origin.
    pub(crate) fn target(&self) -> &PathAndQuery {
        &self.route.target
    }

    /// How the request named its connector.
    pub(crate) fn addressed(&self) -> Addressed {
        self.route.addressed
    }

    /// The permitted method.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The protocol that the request asks for and may upgrade to, if it has no body.
    pub(crate) fn upgrade(&self) -> Option<&str> {
        let upgrades = &self.entry().connector.upgrades;
        self.upgrade
            .and_then(|index| upgrades.get(index))
            .map(String::as_str)
    }
}

/// Refuses what no connector carries, before anything is looked up.
pub(crate) fn check_method(method: &Method) -> Result<(), Refusal> {
    if rewrite::is_refused_method(method) {
        return Err(Refusal::Method);
    }
    Ok(())
}

/// Refuses a body under any transfer coding but one `chunked`: what is beneath another would reach
/// the origin without a word of it (RFC 9112 §6.1).
pub(crate) fn check_codings(headers: &HeaderMap, fields: Fields) -> Result<(), Refusal> {
    if !fields.has(Field::TransferEncoding) {
        return Ok(());
    }
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let known = lines
        .next()
        .is_none_or(|line| line.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !known || lines.next().is_some() {
        return Err(Refusal::BadRequest(
            "The only transfer coding that is understood is chunked, once.",
        ));
    }
    Ok(())
}

/// Decides whether `flow` may be sent along `route`.
///
/// Whoever is led to a connector may use it while it is active; lists of principals, methods and
/// paths per connector come with inbound trust.
pub(crate) fn authorize(
    route: Route,
    (flow, fields): (&request::Parts, Fields),
    via: &Via,
) -> Result<Permit, Refusal> {
    if !route.entry.connector.enabled {
        return Err(Refusal::ConnectorInactive);
    }
    if fields.has(Field::Via) {
        refuse_loops(&flow.headers, via)?;
    }
    let upgrade = match fields.has(Field::Upgrade) {
        true => upgrade::wanted(flow, &route.entry.connector.upgrades),
        false => None,
    };
    Ok(Permit {
        route,
        upgrade,
        method: flow.method.clone(),
    })
}

fn refuse_loops(headers: &HeaderMap, via: &Via) -> Result<(), Refusal> {
    if via.is_in(headers) {
        return Err(Refusal::Loop);
    }
    Ok(())
}
