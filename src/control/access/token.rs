//! Administrators' tokens: `attache_<id>_<secret>`.
//!
//! # Invariants
//!
//! The secret is 256 bits of chance, followed by a checksum over itself and the ID: a typo is told
//! from a wrong token without a look at the store, and a scanner for leaked secrets can be sure of
//! what it found. At rest is an argon2id hash alone; the token is shown once, by whoever minted it.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest::{self, Context, SHA256};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "attache_";
/// What an ID is made of: no character that is easily taken for another.
const ID_ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const ID_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// The secret and its checksum in base64: a whole number of groups, so there is one way to write it.
const TAIL_BYTES: usize = (SECRET_BYTES + CHECKSUM_BYTES) / 3 * 4;
const SALT_BYTES: usize = 16;
/// What OWASP's Password Storage Cheat Sheet asks of argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Nobody's hash, at the cost of anybody's: what an unknown ID is compared with.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCEhIQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A token as somebody shows it, well formed but not yet believed.
#[derive(Clone)]
pub struct Token {
    id: String,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

/// A new token.
#[derive(Debug)]
pub struct Minted {
    /// Names it in the store and in the audit log.
    pub id: String,
    /// The token itself, to be shown once.
    pub token: Secret,
    /// What is kept of it: a PHC string.
    pub hash: String,
}

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Chance(#[source] aws_lc_rs::error::Unspecified),
    /// The hash could not be computed.
    #[error("the token's hash could not be computed")]
    Hash(#[source] argon2::password_hash::Error),
    /// It was not computed to the end.
    #[error("the token's hash was not computed to its end")]
    Ended,
}

impl Minted {
    /// Makes a token. Takes tens of milliseconds of a whole core.
    ///
    /// # Errors
    ///
    /// [`HashError`] if there is no chance or no memory to be had.
    pub fn new() -> Result<Self, HashError> {
        let chosen = chance::<ID_BYTES>()?;
        let id: String = chosen
            .iter()
            .map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)]))
            .collect();
        let secret = Zeroizing::new(chance::<SECRET_BYTES>()?);
        let mut tail = Zeroizing::new(Vec::with_capacity(SECRET_BYTES + CHECKSUM_BYTES));
        tail.extend_from_slice(&*secret);
        tail.extend_from_slice(&checksum(&id, &secret));
        let tail = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*tail));
        let token = Secret::new(format!("{TOKEN_PREFIX}{id}_{}", &*tail));
        let hash = argon2()?
            .hash_password_with_salt(&*secret, &chance::<SALT_BYTES>()?)
            .map_err(HashError::Hash)?
            .to_string();
        Ok(Self { id, token, hash })
    }
}

impl Token {
    /// Reads what was shown; `None` if it is no token, or one with a typo in it.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, tail) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let well_formed = id.len() == ID_BYTES
            && id.bytes().all(|byte| ID_ALPHABET.contains(&byte))
            && tail.len() == TAIL_BYTES;
        if !well_formed {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(tail).ok()?);
        let (secret, shown) = bytes.split_first_chunk::<SECRET_BYTES>()?;
        // A checksum proves nothing, so there is nothing to be learned from how long this takes.
        (shown == checksum(id, secret)).then(|| Self {
            id: id.to_owned(),
            secret: Zeroizing::new(*secret),
        })
    }

    /// The ID it claims.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is the one whose hash is kept, at the same cost where none is. Takes tens of
    /// milliseconds of a whole core.
    pub fn is_kept_as(&self, hash: Option<&str>) -> bool {
        // What the store holds is ours; a hash that cannot be read lets nobody in.
        let kept = PasswordHash::new(hash.unwrap_or(NOBODY));
        let argon2 = Argon2::default();
        let equal = kept.is_ok_and(|kept| argon2.verify_password(&*self.secret, &kept).is_ok());
        equal && hash.is_some()
    }

    /// What it is known again by; tells nothing of it.
    pub(super) fn mark(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(self.id.as_bytes());
        context.update(&*self.secret);
        digest_of(&context.finish())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn argon2() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| HashError::Hash(error.into()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn chance<const BYTES: usize>() -> Result<[u8; BYTES], HashError> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(HashError::Chance)?;
    Ok(bytes)
}

fn checksum(id: &str, secret: &[u8; SECRET_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(b"attache token checksum");
    context.update(id.as_bytes());
    context.update(secret);
    let [a, b, c, d, ..] = digest_of(&context.finish());
    [a, b, c, d]
}

fn digest_of(digest: &digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_is_kept_as_its_own_hash_and_as_no_other() {
        let (one, other) = (Minted::new().unwrap(), Minted::new().unwrap());

        let token = Token::parse(one.token.expose()).unwrap();

        assert_eq!(token.id(), one.id);
        assert!(token.is_kept_as(Some(&one.hash)));
        assert!(!token.is_kept_as(Some(&other.hash)));
        assert!(!token.is_kept_as(None));
        assert!(!token.is_kept_as(Some("not a hash")));
        assert!(one.hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    /// The constant has to be a hash that can be read, or an unknown ID would be told by its speed.
    #[test]
    fn nobodys_hash_costs_what_anybodys_does() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let somebody = Minted::new().unwrap().hash;
        let somebody = PasswordHash::new(&somebody).unwrap();

        assert_eq!(nobody.algorithm, somebody.algorithm);
        assert_eq!(nobody.version, somebody.version);
        assert_eq!(nobody.params.to_string(), somebody.params.to_string());
        assert_eq!(
            nobody.hash.map(|hash| hash.len()),
            somebody.hash.map(|hash| hash.len())
        );
    }

    #[test]
    fn a_token_with_a_typo_is_no_token() {
        let minted = Minted::new().unwrap();
        let text = minted.token.expose();

        for at in 0..text.len() {
            let mut typo = text.as_bytes().to_vec();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            let typo = String::from_utf8(typo).unwrap();

            assert!(Token::parse(&typo).is_none(), "{at}");
        }
        for cut in [
            &text[..text.len() - 1],
            &text[1..],
            "attache_",
            "attache__",
            "",
        ] {
            assert!(Token::parse(cut).is_none());
        }
        assert!(Token::parse(&format!("{text}A")).is_none());
    }

    #[test]
    fn debug_output_shows_nothing_of_it() {
        let minted = Minted::new().unwrap();
        let token = Token::parse(minted.token.expose()).unwrap();

        let shown = format!("{token:?} {minted:?}");

        let tail = minted.token.expose().rsplit('_').next().unwrap();
        assert!(!shown.contains(tail), "{shown}");
    }
}
