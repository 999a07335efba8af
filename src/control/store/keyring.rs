//! The master keys of the configuration, by their IDs.
//!
//! # Invariants
//!
//! The first key is current: everything is sealed under it. The others only open. An ID tells which
//! key it is and nothing of the key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use crate::config::MasterKey;

/// Which master key: the first 64 bits of HMAC-SHA256(key, "attache key id"), in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The ID of `key`.
    pub fn of(key: &MasterKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let tag = hmac::sign(&key, b"attache key id");
        let hex = |byte: &u8| format!("{byte:02x}");
        let id: String = tag.as_ref().iter().take(8).map(hex).collect();
        Self(id.into())
    }

    /// Reads an ID as it was kept; `None` if `text` is none.
    pub fn read(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 16 && text.bytes().all(digit)).then(|| Self(text.into()))
    }

    /// The ID as it is kept and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A new master key.
///
/// # Errors
///
/// [`NoRandomness`] if the system has none to give.
pub fn new_master_key() -> Result<MasterKey, NoRandomness> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(MasterKey::new(bytes))
}

/// No key could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct NoRandomness;

/// The master keys a process holds; a clone is cheap.
#[derive(Clone, Debug)]
pub struct Keyring {
    current: (KeyId, MasterKey),
    others: Arc<[(KeyId, MasterKey)]>,
}

/// There is no key to seal under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no master key")]
pub struct NoMasterKey;

impl Keyring {
    /// Holds `keys`; the first is current.
    ///
    /// # Errors
    ///
    /// [`NoMasterKey`] if there is none, which no checked configuration has.
    pub fn new(keys: &[MasterKey]) -> Result<Self, NoMasterKey> {
        let named = |key: &MasterKey| (KeyId::of(key), key.clone());
        let (current, others) = keys.split_first().ok_or(NoMasterKey)?;
        Ok(Self {
            current: named(current),
            others: others.iter().map(named).collect(),
        })
    }

    /// The key that everything is sealed under.
    pub fn current(&self) -> &KeyId {
        &self.current.0
    }

    /// Every key that is held, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.all().map(|(id, _)| id)
    }

    /// Whether what is sealed under `id` can be opened.
    pub fn holds(&self, id: &KeyId) -> bool {
        self.key(id).is_some()
    }

    /// HMAC-SHA256 of `text` under every key that is held, the current one first: what tells whether
    /// a text is the same as before, and nobody without the keys what it may be.
    pub fn digests(&self, text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        self.all().map(move |(_, key)| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
            let mut context = hmac::Context::with_key(&key);
            // What is signed elsewhere under the same key begins with other words.
            context.update(b"attache text digest:");
            context.update(text);
            context.sign().as_ref().to_vec()
        })
    }

    /// A key for `purpose` that every holder of the current one comes to, and nobody else.
    pub(super) fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.current_key().expose());
        let tag = hmac::sign(&key, format!("attache key for {purpose}").as_bytes());
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(tag.as_ref());
        derived
    }

    pub(super) fn current_key(&self) -> &MasterKey {
        &self.current.1
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<&MasterKey> {
        self.all()
            .find_map(|(held, key)| (held == id).then_some(key))
    }

    fn all(&self) -> impl Iterator<Item = &(KeyId, MasterKey)> {
        std::iter::once(&self.current).chain(self.others.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn an_id_is_the_beginning_of_an_hmac_and_nothing_of_the_key() {
        // HMAC-SHA256 of "attache key id" under 32 zero bytes, as computed with OpenSSL.
        assert_eq!(KeyId::of(&key(0)).as_str(), "6a7ec4103fe5fd9d");
        assert_ne!(KeyId::of(&key(0)), KeyId::of(&key(1)));
    }

    #[test]
    fn an_id_that_was_not_written_by_us_is_none() {
        let id = KeyId::of(&key(7));
        assert_eq!(KeyId::read(id.as_str()), Some(id));
        for text in [
            "",
            "0123",
            "0123456789ABCDEF",
            "0123456789abcdefa",
            "0123456789abcdeg",
        ] {
            assert_eq!(KeyId::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_key_is_current_and_the_others_are_held() {
        let keyring = Keyring::new(&[key(1), key(2)]).unwrap();

        assert_eq!(keyring.current(), &KeyId::of(&key(1)));
        assert!(keyring.holds(&KeyId::of(&key(2))));
        assert!(!keyring.holds(&KeyId::of(&key(3))));
        assert_eq!(keyring.ids().count(), 2);
        assert!(Keyring::new(&[]).is_err());
    }
}
