//! What a connector is called and whose it is.

use std::collections::HashMap;

use super::document::{Content, Node, Position};
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use crate::connector::{ConnectorId, Organization};

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// The IDs and names that earlier connectors have, and where.
#[derive(Default)]
pub(super) struct Taken<'d> {
    ids: HashMap<ConnectorId, Position>,
    /// Within each organization.
    names: HashMap<(Organization, &'d str), Position>,
    /// One of each, however many connectors it has.
    organizations: HashMap<&'d str, Organization>,
}

/// The ID that `node` says, if it is one.
pub(super) fn legal_id<'d>(reader: &Reader<'d>, node: &'d Node) -> Option<&'d str> {
    let Content::Map(entries) = &node.content else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == "id")?;
    let document = reader.document;
    let text = document.text(&entry.value)?;
    ConnectorId::parse(text).is_ok().then_some(text)
}

pub(super) fn connector_id<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    taken: &mut Taken<'d>,
) -> Option<ConnectorId> {
    let text = reader.required_text(section, path, "id", ID_FORM)?;
    let at = section.place("id");
    let path = path.key("id");
    match ConnectorId::parse(text) {
        Err(error) => {
            reader.fault(at, &path, Problem::ConnectorId(error));
            None
        }
        Ok(id) => {
            if let Some(first) = taken.ids.get(&id) {
                let first = first.line;
                reader.fault(at, &path, Problem::DuplicateId { first });
            } else {
                taken.ids.insert(id.clone(), at);
            }
            Some(id)
        }
    }
}

const ID_FORM: &str = "an ID of 1 to 64 of a-z, 0-9 and '-' that never changes";

/// One that cannot be read is a fault, and stands for `default` until that is told.
pub(super) fn organization<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    taken: &mut Taken<'d>,
) -> Organization {
    let Some(node) = section.optional("organization") else {
        return Organization::default();
    };
    let path = path.key("organization");
    let Some(text) = reader.text(node, &path, ORGANIZATION_FORM) else {
        return Organization::default();
    };
    if let Some(known) = taken.organizations.get(text) {
        return known.clone();
    }
    match Organization::parse(text) {
        Ok(organization) => {
            taken.organizations.insert(text, organization.clone());
            organization
        }
        Err(_) => {
            reader.fault(node.at, &path, Problem::MustBe(ORGANIZATION_FORM));
            Organization::default()
        }
    }
}

const ORGANIZATION_FORM: &str = "an organization of 1 to 64 of a-z, 0-9 and '-'";
const NAME_FORM: &str = "a name of 1 to 200 bytes without control characters";

pub(super) fn connector_name<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    (taken, organization): (&mut Taken<'d>, &Organization),
) -> Option<&'d str> {
    let name = reader.required_text(section, path, "name", NAME_FORM)?;
    let at = section.place("name");
    let path = path.key("name");
    if name.len() > NAME_BYTES_MAX {
        reader.fault(at, &path, Problem::MustBe(NAME_FORM));
        return None;
    }
    if let Some(first) = taken.names.insert((organization.clone(), name), at) {
        let first = first.line;
        reader.fault(at, &path, Problem::DuplicateName { first });
    }
    Some(name)
}
