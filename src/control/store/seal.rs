//! How secrets are at rest: sealed, each in its place.
//!
//! Every record (a connector's secrets of one slot, a shared token, a snapshot) has a data key of
//! its own, random, which is kept wrapped under the current master key. Both the wrapping and the
//! sealing are AES-256-GCM (NIST SP 800-38D) with a random nonce and associated data that say where
//! the bytes stand:
//!
//! ```text
//! data key   purpose · the record's place · sealing revision
//! secret     purpose · the record's place · sealing revision · field · destination
//! bytes      1 · nonce (12) · ciphertext · tag (16)
//! ```
//!
//! # Invariants
//!
//! What is opened is what was sealed in that very place: no row that was changed, cut or put in
//! another's place opens, and no secret opens beside a destination that it was not sealed for. Why
//! bytes do not open is not told, because whoever changed them would learn from it; only a master
//! key that is not held is named. A data key seals one record once, so that no nonce can meet itself
//! under it. Keys and opened bytes are overwritten when they are dropped.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::Secrets;
use super::keyring::{KeyId, Keyring};
use crate::connector::{ConnectorId, Organization};
use crate::secret::Secret;

/// The first byte of everything sealed here.
const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// How long a wrapped key is.
pub(super) const WRAPPED_BYTES: usize = 1 + NONCE_LEN + KEY_BYTES + TAG_BYTES;

/// Why something was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It does not open: it was changed, stands in another's place, or belongs to another
    /// destination. Which of these is not told.
    #[error("what was sealed does not open")]
    Unopened,
    /// The master key it is sealed under is not held.
    #[error("it is sealed under the master key {wanted}, which store.master_keys does not hold")]
    KeyMissing {
        /// The key that would open it.
        wanted: KeyId,
    },
    /// It could not be sealed: the system has no randomness to give, or it is too long.
    #[error("it cannot be sealed")]
    Unsealed,
}

/// Which of a connector's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Those in use.
    Current,
    /// Those that wait to be promoted.
    Staged,
    /// Those in use before the last promotion.
    Previous,
}

impl Slot {
    /// Every slot.
    pub const ALL: [Self; 3] = [Self::Current, Self::Staged, Self::Previous];

    /// The slot as it is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Staged => "staged",
            Self::Previous => "previous",
        }
    }

    /// Reads a slot as it was kept; `None` if `text` is none.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.as_str() == text)
    }
}

/// A connector's secrets of one slot: whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whose the connector is.
    pub organization: &'a Organization,
    /// The connector.
    pub connector: &'a ConnectorId,
    /// Which of its secrets.
    pub slot: Slot,
}

impl Place<'_> {
    fn parts(&self) -> [&[u8]; 4] {
        [
            b"connector",
            self.organization.as_str().as_bytes(),
            self.connector.as_str().as_bytes(),
            self.slot.as_str().as_bytes(),
        ]
    }
}

/// A data key under a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The master key.
    pub key_id: KeyId,
    /// The data key, sealed.
    pub bytes: Vec<u8>,
}

/// A connector's secrets of one slot, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecrets {
    /// What they are sealed under.
    pub key: WrappedKey,
    /// The store's revision when they were sealed.
    pub revision: u64,
    /// The secrets by their JSON pointers.
    pub fields: BTreeMap<String, Vec<u8>>,
}

/// One sealed value with a data key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedValue {
    /// What it is sealed under.
    pub key: WrappedKey,
    /// The value, sealed.
    pub bytes: Vec<u8>,
}

impl Keyring {
    /// Seals the `secrets` of `place` under a new data key. They open beside `destination` only
    /// ([`crate::config::stored`] says what that is made of).
    ///
    /// # Errors
    ///
    /// [`SealError::Unsealed`].
    pub fn seal_secrets(
        &self,
        place: Place<'_>,
        revision: u64,
        destination: &[u8; 32],
        secrets: &Secrets,
    ) -> Result<SealedSecrets, SealError> {
        let revision_bytes = revision.to_be_bytes();
        let place = [&place.parts()[..], &[&revision_bytes]].concat();
        let data_key = DataKey::random()?;
        let mut fields = BTreeMap::new();
        for (field, secret) in secrets {
            let context = [&place[..], &[field.as_bytes(), destination]].concat();
            let bytes = data_key.seal(&context, secret.expose().as_bytes())?;
            fields.insert(field.clone(), bytes);
        }
        Ok(SealedSecrets {
            key: self.wrap(&place, &data_key)?,
            revision,
            fields,
        })
    }

    /// Opens what [`Keyring::seal_secrets`] sealed.
    ///
    /// # Errors
    ///
    /// [`SealError::Unopened`], also if one of many does not open; [`SealError::KeyMissing`].
    pub fn open_secrets(
        &self,
        place: Place<'_>,
        destination: &[u8; 32],
        sealed: &SealedSecrets,
    ) -> Result<Secrets, SealError> {
        let revision_bytes = sealed.revision.to_be_bytes();
        let place = [&place.parts()[..], &[&revision_bytes]].concat();
        let data_key = self.unwrap(&place, &sealed.key)?;
        let mut secrets = Secrets::new();
        for (field, bytes) in &sealed.fields {
            let context = [&place[..], &[field.as_bytes(), destination]].concat();
            let plain = data_key.open(&context, bytes)?;
            let text = std::str::from_utf8(&plain).map_err(|_| SealError::Unopened)?;
            // `to_owned` takes exactly the room it needs: nothing is left behind by shrinking.
            secrets.insert(field.clone(), Secret::new(text.to_owned()));
        }
        Ok(secrets)
    }

    /// Wraps the data key of `place`'s secrets, sealed at `revision`, under the current master key.
    /// The secrets stay as they are.
    ///
    /// # Errors
    ///
    /// As [`Keyring::open_secrets`] and [`Keyring::seal_secrets`].
    pub fn rewrap_secrets(
        &self,
        place: Place<'_>,
        revision: u64,
        key: &WrappedKey,
    ) -> Result<WrappedKey, SealError> {
        let revision_bytes = revision.to_be_bytes();
        self.rewrap(&[&place.parts()[..], &[&revision_bytes]].concat(), key)
    }

    /// Seals one value under a new data key. `context` says what it is, first its purpose (no
    /// connector's, which is `connector`), then where it stands; it must be given again to open it.
    ///
    /// # Errors
    ///
    /// [`SealError::Unsealed`].
    pub fn seal_value(&self, context: &[&[u8]], value: &[u8]) -> Result<SealedValue, SealError> {
        let data_key = DataKey::random()?;
        Ok(SealedValue {
            bytes: data_key.seal(&[context, &[b"value"]].concat(), value)?,
            key: self.wrap(context, &data_key)?,
        })
    }

    /// Opens what [`Keyring::seal_value`] sealed.
    ///
    /// # Errors
    ///
    /// [`SealError::Unopened`], [`SealError::KeyMissing`].
    pub fn open_value(
        &self,
        context: &[&[u8]],
        sealed: &SealedValue,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let data_key = self.unwrap(context, &sealed.key)?;
        data_key.open(&[context, &[b"value"]].concat(), &sealed.bytes)
    }

    /// Wraps the data key of a value under the current master key; the value stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Keyring::open_value`] and [`Keyring::seal_value`].
    pub fn rewrap(&self, context: &[&[u8]], key: &WrappedKey) -> Result<WrappedKey, SealError> {
        let data_key = self.unwrap(context, key)?;
        self.wrap(context, &data_key)
    }

    fn wrap(&self, context: &[&[u8]], data_key: &DataKey) -> Result<WrappedKey, SealError> {
        let key_id = self.current().clone();
        let context = [
            &[b"data key".as_slice()],
            context,
            &[key_id.as_str().as_bytes()],
        ]
        .concat();
        let bytes = seal(self.current_key().expose(), &context, &data_key.0[..])?;
        Ok(WrappedKey { key_id, bytes })
    }

    fn unwrap(&self, context: &[&[u8]], wrapped: &WrappedKey) -> Result<DataKey, SealError> {
        let Some(key) = self.key(&wrapped.key_id) else {
            let wanted = wrapped.key_id.clone();
            return Err(SealError::KeyMissing { wanted });
        };
        let id = wrapped.key_id.as_str().as_bytes();
        let context = [&[b"data key".as_slice()], context, &[id]].concat();
        let opened = open(key.expose(), &context, &wrapped.bytes)?;
        let mut data_key = DataKey(Zeroizing::new([0; KEY_BYTES]));
        if opened.len() != KEY_BYTES {
            return Err(SealError::Unopened);
        }
        data_key.0.copy_from_slice(&opened);
        Ok(data_key)
    }
}

/// The key of one record.
struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError::Unsealed)?;
        Ok(Self(bytes))
    }

    fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(&self.0, &[&[b"secret".as_slice()], context].concat(), plain)
    }

    fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(
            &self.0,
            &[&[b"secret".as_slice()], context].concat(),
            sealed,
        )
    }
}

/// The parts of a context as one text, each behind its length: no two lists of parts give the same.
fn associated_data(context: &[&[u8]]) -> Aad<Vec<u8>> {
    let mut joined = Vec::new();
    for part in [b"attache".as_slice(), &[FORMAT]].iter().chain(context) {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    Aad::from(joined)
}

fn seal(key: &[u8; KEY_BYTES], context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| SealError::Unsealed)?;
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::Unsealed)?;
    let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + TAG_BYTES);
    sealed.push(FORMAT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            associated_data(context),
            &mut sealed[1 + NONCE_LEN..],
        )
        .map_err(|_| SealError::Unsealed)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open(
    key: &[u8; KEY_BYTES],
    context: &[&[u8]],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (&[format], rest) = sealed.split_first_chunk().ok_or(SealError::Unopened)?;
    let (nonce, rest) = rest.split_first_chunk().ok_or(SealError::Unopened)?;
    if format != FORMAT {
        return Err(SealError::Unopened);
    }
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| SealError::Unopened)?;
    let mut bytes = Zeroizing::new(rest.to_vec());
    let plain_bytes = LessSafeKey::new(key)
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            associated_data(context),
            &mut bytes,
        )
        .map_err(|_| SealError::Unopened)?
        .len();
    bytes.truncate(plain_bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
