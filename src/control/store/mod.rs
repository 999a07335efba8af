//! What administrators manage, kept: connectors with their sealed secrets, organizations,
//! administrators' tokens, the audit log, and the tokens that replicas share.
//!
//! # Invariants
//!
//! What was acknowledged is on disk. Every change is one transaction: the connector, its secrets,
//! its audit entry and the store's revision, or nothing of it. The revision grows with every change
//! and in the order of commits, so that whoever has seen revision *n* asks for what came after it
//! and misses nothing. No secret is at rest here but sealed.

mod keyring;
mod records;
mod seal;

pub use keyring::{KeyId, Keyring, NoMasterKey};
pub use records::{
    AdminToken, AuditEntry, AuditOutcome, ConnectorRecord, OrganizationRecord, Phase, Secrets,
    Staged,
};
pub use seal::{Place, SealError, SealedSecrets, SealedValue, Slot, WrappedKey};
