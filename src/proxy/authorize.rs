//! Who may do what: the only room that makes a [`Permit`].

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version, header, request};

use super::caller::Caller;
use super::error::Refusal;
use super::fields::{Field, Fields};
use super::principal::{self, KeyDigest, Principal};
use super::resolve::{Addressed, Route};
use super::rewrite::{self, Via};
use super::upgrade;
use crate::clock::Clock;
use crate::connector::{self, Asked};
use crate::directory::{Entry, Snapshot};

/// The proof that a request may go to its origin. Without one, nothing is forwarded.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Route,
    /// What was permitted.
    method: Method,
    /// Where the protocol that the request may upgrade to stands in the connector's list.
    upgrade: Option<usize>,
    /// To whom an upgrade was permitted, which is to be asked about again.
    bearer: Option<Box<Bearer>>,
}

/// Who holds a permit for longer than a request, and what else it was granted by.
#[derive(Debug)]
struct Bearer {
    principal: Option<Arc<connector::Principal>>,
    key: Option<KeyDigest>,
    path: Box<str>,
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

    /// Whether `caller` would be granted under `snapshot`, at the time `now`, the upgrade that it was
    /// granted: by the same name, and to the same place.
    pub(crate) fn stands(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        time: (&Clock, Duration),
    ) -> bool {
        let (then, settings) = (self.entry(), &snapshot.settings);
        let Some(now) = snapshot.entry(then.connector.id.as_str()) else {
            return false;
        };
        let (connector, protocol) = (&now.connector, self.upgrade());
        let listed = |name: &String| Some(name.as_str()) == protocol;
        let leads_there = Arc::ptr_eq(now, then)
            || (connector.enabled
                && connector.requests.upgrades.iter().any(listed)
                && connector.kind == then.connector.kind
                && now.upstream.pool == then.upstream.pool);
        let bearer = self.bearer.as_deref();
        let shown = || bearer.and_then(|bearer| bearer.key);
        let Ok(principal) = principal::identify(caller, settings, time, shown) else {
            return false;
        };
        let was = bearer.and_then(|bearer| bearer.principal.as_ref());
        let asked = Asked {
            principal: principal.named().map(|named| &*named.name),
            method: &self.method,
            path: bearer.map_or("", |bearer| &bearer.path),
            from: caller.peer().ip(),
        };
        let allow = connector.requests.allow.as_ref();
        leads_there
            && was.is_none_or(|was| principal.named() == Some(was))
            && principal.reaches(&connector.organization)
            && allow.is_none_or(|allow| allow.permits(&asked))
    }

    /// The protocol that the request asks for and may upgrade to, if it has no body.
    pub(crate) fn upgrade(&self) -> Option<&str> {
        let upgrades = &self.entry().connector.requests.upgrades;
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

/// Refuses what h2 lets pass of a head and RFC 9113 §8.1.1 takes for malformed: a name that HTTP/1.1,
/// which is where the request may go, has no room for (§8.2.1), and a length that is empty, which is
/// none (RFC 9110 §8.6).
pub(crate) fn check_head(flow: &request::Parts) -> Result<(), Refusal> {
    if flow.version != Version::HTTP_2 {
        return Ok(());
    }
    if flow.headers.keys().any(rewrite::is_quoted) {
        return Err(Refusal::BadRequest(
            "A field's name holds a quotation mark.",
        ));
    }
    let length = flow.headers.get(header::CONTENT_LENGTH);
    if length.is_some_and(HeaderValue::is_empty) {
        return Err(Refusal::BadRequest("Content-Length is empty."));
    }
    Ok(())
}

/// Decides whether `principal`, which is `caller`, may send `flow` along `route`.
pub(crate) fn authorize(
    route: Route,
    (flow, fields): (&request::Parts, Fields),
    (caller, principal): (&Caller, Principal<'_>),
    via: &Via,
) -> Result<Permit, Refusal> {
    if let Some(allow) = &route.entry.connector.requests.allow {
        let asked = Asked {
            principal: principal.named().map(|named| &*named.name),
            method: &flow.method,
            path: request_path(flow, &route),
            from: caller.peer().ip(),
        };
        if !allow.permits(&asked) {
            return Err(Refusal::CallerDenied);
        }
    }
    if !route.entry.connector.enabled {
        return Err(Refusal::ConnectorInactive);
    }
    if fields.has(Field::Via) {
        refuse_loops(&flow.headers, via)?;
    }
    let upgrade = match fields.has(Field::Upgrade) {
        true => upgrade::wanted(flow, &route.entry.connector.requests.upgrades),
        false => None,
    };
    let bearer = upgrade.map(|_| {
        Box::new(Bearer {
            principal: principal.named().cloned(),
            key: principal.key().copied(),
            path: request_path(flow, &route).into(),
        })
    });
    Ok(Permit {
        route,
        upgrade,
        bearer,
        method: flow.method.clone(),
    })
}

/// What stands behind the connector's ID, without the query.
fn request_path<'f>(flow: &'f request::Parts, route: &Route) -> &'f str {
    let path = flow.uri.path();
    match route.addressed {
        Addressed::ByField => path,
        Addressed::ByPath => {
            let id = route.entry.connector.id.as_str();
            path.get(1 + id.len()..).unwrap_or_default()
        }
    }
}

fn refuse_loops(headers: &HeaderMap, via: &Via) -> Result<(), Refusal> {
    if via.is_in(headers) {
        return Err(Refusal::Loop);
    }
    Ok(())
}
