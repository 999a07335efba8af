//! From what the store keeps of a connector to the connector that is served.

use std::sync::Arc;

use serde_json::Value;

use crate::config::ConnectorDefaults;
use crate::config::stored::{FieldFault, Identity, Secrets, read_with};
use crate::connector::{Connector, Fallback, Scheme, Stored};
use crate::control::store::{ConnectorRecord, Opened, Phase, Previous};

/// What becomes of a connector that was changed.
pub(super) enum Reading {
    /// Flows find it, be it active or not.
    Served(Arc<Connector>),
    /// It was deleted.
    Gone,
    /// It cannot be served, and why.
    Broken(String),
}

/// Reads one.
pub(super) fn read(opened: &Opened, defaults: &ConnectorDefaults) -> Reading {
    let Opened {
        record,
        secrets,
        previous,
    } = opened;
    let read = match record.state {
        Phase::Deleted => return Reading::Gone,
        Phase::Inactive => read_bare(record, defaults),
        Phase::Active => match secrets {
            Ok(secrets) => connector(record, secrets, defaults),
            Err(error) => return Reading::Broken(error.to_string()),
        },
    };
    match read {
        Ok(mut connector) => {
            let previous = previous.as_ref().filter(|_| connector.enabled);
            connector.stored = Some(Arc::new(Stored {
                revision: record.served_revision,
                fallback: previous.and_then(|one| fallback(record, one, defaults)),
            }));
            Reading::Served(Arc::new(connector))
        }
        Err(faults) => Reading::Broken(told(&faults)),
    }
}

/// An inactive connector without its secrets: nothing is sent for it, and after it was restored it
/// has none.
fn read_bare(
    record: &ConnectorRecord,
    defaults: &ConnectorDefaults,
) -> Result<Connector, Vec<FieldFault>> {
    let mut bare = record.clone();
    if let Value::Object(document) = &mut bare.document {
        document.insert("auth".to_owned(), "none".into());
        // Only what has a token to obtain may ask for it early.
        document.remove("warm");
    }
    connector(&bare, &Secrets::new(), defaults)
}

fn connector(
    record: &ConnectorRecord,
    secrets: &Secrets,
    defaults: &ConnectorDefaults,
) -> Result<Connector, Vec<FieldFault>> {
    let identity = Identity {
        id: &record.id,
        organization: &record.organization,
        name: &record.name,
        kind: &record.kind,
        enabled: record.state == Phase::Active,
    };
    read_with(&identity, &record.document, secrets, defaults)
}

/// The client as it was before new secrets took its secrets' place. One that does not open or read
/// is none: the connector itself is served all the same.
fn fallback(
    record: &ConnectorRecord,
    previous: &Previous,
    defaults: &ConnectorDefaults,
) -> Option<Fallback> {
    let secrets = previous.secrets.as_ref();
    let before = secrets
        .map_err(ToString::to_string)
        .and_then(|secrets| connector(record, secrets, defaults).map_err(|faults| told(&faults)));
    match before {
        Ok(before) => match before.kind.scheme() {
            Scheme::OAuth2(oauth2) => Some(Fallback {
                oauth2: Arc::clone(oauth2),
                until: previous.until,
            }),
            Scheme::None | Scheme::Basic(_) | Scheme::Header(_) | Scheme::ClientCertificate(_) => {
                None
            }
        },
        Err(error) => {
            tracing::warn!(
                connector = %record.id,
                error,
                "the secrets before the last promotion cannot be used"
            );
            None
        }
    }
}

/// What is wrong with a document, in one line. No fault repeats a value.
fn told(faults: &[FieldFault]) -> String {
    let each = faults
        .iter()
        .map(|FieldFault { field, detail }| format!("{field} {detail}"));
    each.collect::<Vec<_>>().join("; ")
}
