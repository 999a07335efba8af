//! When a connector's requests are sent again: `expired_on`, `replay_body_bytes_max`, `retry`.

use http::StatusCode;

use super::document::Node;
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Count, Size, Sort, Span};
use crate::connector::{BodySign, ExpiredOn, Recovery, Retry, Scheme};

pub(super) const EXPIRED_ON_KEYS: &[&str] = &["statuses", "pointer", "equals"];
pub(super) const RETRY_KEYS: &[&str] = &["statuses", "attempts", "wait_max", "budget_percent"];

/// The most statuses of one list.
const STATUSES_MAX: usize = 32;
const STATUS_FORM: &str = "a status from 400 to 599";

pub(super) const REPLAY_BODY_BYTES_MAX: Bounded<Size> = Bounded {
    key: "replay_body_bytes_max",
    default: Size::kib(64),
    min: Size(0),
    max: Size::mib(1),
};
pub(super) const ATTEMPTS: Bounded<Count> = Bounded {
    key: "attempts",
    default: Count(2),
    min: Count(2),
    max: Count(5),
};
pub(super) const WAIT_MAX: Bounded<Span> = Bounded {
    key: "wait_max",
    default: Span::secs(1),
    min: Span::secs(0),
    max: Span::secs(30),
};
pub(super) const BUDGET_PERCENT: Bounded<Count> = Bounded {
    key: "budget_percent",
    default: Count(20),
    min: Count(1),
    max: Count(100),
};

const NO_TOKEN: &str = "changes nothing: only a token (auth.oauth2) can be replaced by another";

/// Reads what `connector` does about answers that need not be the last word; `scheme` is how it
/// authenticates, if that could be read.
pub(super) fn recovery<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
    scheme: Option<&Scheme>,
) -> Recovery {
    let expired_on = expired_on(reader, connector, path);
    let has_token = scheme.is_none_or(|scheme| matches!(scheme, Scheme::OAuth2(_)));
    if !has_token && expired_on != Recovery::default().expired_on {
        let at = connector.place("expired_on");
        reader.warn(at, &path.key("expired_on"), NO_TOKEN);
    }
    Recovery {
        expired_on,
        replay_body_bytes_max: reader.quantity(connector, path, &REPLAY_BODY_BYTES_MAX).0,
        retry: retry(reader, connector, path),
    }
}

fn expired_on<'d>(reader: &mut Reader<'d>, connector: &Section<'d>, path: &Path<'_>) -> ExpiredOn {
    let section = reader.section(connector, path, "expired_on", EXPIRED_ON_KEYS);
    let path = path.key("expired_on");
    let statuses = match section.written("statuses") {
        Some(node) => statuses(reader, node, &path.key("statuses")),
        None => Recovery::default().expired_on.statuses,
    };
    ExpiredOn {
        statuses,
        body: body_sign(reader, &section, &path),
    }
}

const POINTER_FORM: &str = "a JSON pointer such as /error/code (RFC 6901)";
const EQUALS_FORM: &str = "the string, number, true or false that stands at the pointer";

fn body_sign<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<BodySign> {
    if section.optional("pointer").is_none() && section.optional("equals").is_none() {
        return None;
    }
    let pointer = reader.required_text(section, path, "pointer", POINTER_FORM);
    let equals = equals(reader, section, path);
    let pointer = pointer.filter(|pointer| {
        let legal = is_pointer(pointer);
        if !legal {
            let at = section.place("pointer");
            reader.fault(at, &path.key("pointer"), Problem::MustBe(POINTER_FORM));
        }
        legal
    });
    Some(BodySign {
        pointer: pointer?.to_owned(),
        equals: equals?.to_owned(),
    })
}

/// A number or truth value is compared as it is written.
fn equals<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Option<&'d str> {
    let Some(node) = section.optional("equals") else {
        return reader.required_text(section, path, "equals", EQUALS_FORM);
    };
    let path = path.key("equals");
    let text = reader.sorted(node, &path, Sort::Either, EQUALS_FORM)?;
    reader.plain(node, &path, text, EQUALS_FORM)
}

/// Whether `text` points at something within a document (RFC 6901 §3).
fn is_pointer(text: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    text.starts_with('/') && text.split('~').skip(1).all(escaped)
}

fn retry<'d>(reader: &mut Reader<'d>, connector: &Section<'d>, path: &Path<'_>) -> Option<Retry> {
    let node = connector.optional("retry")?;
    let path = path.key("retry");
    let section = reader.mapping(node, &path, RETRY_KEYS)?;
    let written = section.written("statuses");
    let statuses = written.map(|node| statuses(reader, node, &path.key("statuses")));
    Some(Retry {
        statuses: statuses.unwrap_or_default(),
        attempts: reader.quantity(&section, &path, &ATTEMPTS).as_u32(),
        wait_max: reader.duration(&section, &path, &WAIT_MAX),
        budget_percent: reader.quantity(&section, &path, &BUDGET_PERCENT).as_u32(),
    })
}

fn statuses<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Vec<StatusCode> {
    let nodes = reader.list(node, path, STATUSES_MAX);
    let mut statuses = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(text) = reader.sorted(node, &path, Sort::Bare, STATUS_FORM) else {
            continue;
        };
        let status = text.parse::<u16>().ok();
        let status = status.filter(|status| (400..600).contains(status));
        match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) => statuses.push(status),
            None => reader.fault(node.at, &path, Problem::MustBe(STATUS_FORM)),
        }
    }
    statuses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_points_nowhere_is_no_pointer() {
        for bad in ["", "errcode", "/a~2", "/a~", "#/a"] {
            assert!(!is_pointer(bad), "{bad:?}");
        }
        for good in ["/", "/errcode", "/a~0b/~1c", "/0/é"] {
            assert!(is_pointer(good), "{good:?}");
        }
    }
}
