//! What of a request's credential must not come back.
//!
//! An origin that repeats what it was sent hands the credential to the flow. [`Mask`] knows what is
//! secret in one credential and finds each of its forms in an answer.
//!
//! # Invariants
//!
//! Nothing here shows a secret, and whatever is made of one is wiped when it goes. A needle is
//! never shorter than [`SECRET_BYTES_MIN`]. The needles are made when an answer first holds a text
//! long enough to be one: a credential that is never repeated costs a length.

use std::fmt;
#[cfg(test)]
use std::sync::Arc;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::forms::{Form, forms};

mod needles;

pub(crate) use needles::Needles;

/// The shortest secret that is looked for by itself, in bytes. Shorter ones stand in innocent
/// text; the pair or the field value they are part of is looked for all the same.
const SECRET_BYTES_MIN: usize = 6;

/// Finds one credential in answers.
pub struct Mask {
    value: HeaderValue,
    /// Whether the value follows RFC 9110 §11.4: a scheme, and the credential behind it.
    shape: Shape,
    /// No text shorter than this holds anything secret.
    shortest: usize,
    /// Apart, since most masks never have any.
    needles: OnceLock<Box<Needles>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Authorization,
    Other,
}

impl Mask {
    /// The mask of what the field `name` carries.
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Self {
        let shape = match *name == header::AUTHORIZATION {
            true => Shape::Authorization,
            false => Shape::Other,
        };
        let shortest = secrets(shape, value.as_bytes())
            .iter()
            .map(|secret| secret.len())
            .min();
        Self {
            value: value.clone(),
            shape,
            // No form of a secret is shorter than the secret.
            shortest: shortest.unwrap_or(usize::MAX),
            needles: OnceLock::new(),
        }
    }

    /// Whether a text of `length` bytes may hold something secret.
    pub(crate) fn may_stand_in(&self, length: usize) -> bool {
        length >= self.shortest
    }

    /// Whether nothing is long enough to be looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.shortest == usize::MAX
    }

    /// What to look for.
    pub(crate) fn needles(&self) -> &Needles {
        self.needles.get_or_init(|| {
            let secrets = secrets(self.shape, self.value.as_bytes());
            let all = secrets.iter().flat_map(|secret| forms(secret));
            Box::new(Needles::new(all.collect()))
        })
    }
}

/// The mask of a field, for tests of other rooms.
#[cfg(test)]
pub(crate) fn mask_of(name: HeaderName, value: &str) -> Arc<Mask> {
    let value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
    Arc::new(Mask::of(&name, &value))
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mask").finish_non_exhaustive()
    }
}

/// What is secret in a field's value: what stands behind the scheme, and for Basic (RFC 7617 §2)
/// the pair and the password in it. What is too short for that is secret with its scheme.
fn secrets(shape: Shape, value: &[u8]) -> Vec<Form> {
    let mut secrets = Vec::new();
    let behind_scheme = Some(value)
        .filter(|_| shape == Shape::Authorization)
        .and_then(|value| {
            let at = value.iter().position(|byte| *byte == b' ')?;
            let word = value[at..].trim_ascii();
            (!word.contains(&b' ')).then_some((&value[..at], word))
        });
    if let Some((scheme, word)) = behind_scheme {
        if scheme.eq_ignore_ascii_case(b"basic") {
            secrets.extend(pair(word));
        }
        // Padding tells nothing, and is often left out.
        let end = word.iter().rposition(|byte| *byte != b'=');
        let unpadded = &word[..end.map_or(0, |last| last + 1)];
        secrets.push(Zeroizing::new(unpadded.to_vec()));
    }
    let long_enough = |secret: &Form| secret.len() >= SECRET_BYTES_MIN;
    secrets.retain(long_enough);
    if secrets.is_empty() {
        secrets.push(Zeroizing::new(value.to_vec()));
        secrets.retain(long_enough);
    }
    secrets
}

/// The user-id and password of Basic, and the password alone. Where there is none, the user-id is
/// what an API calls its key.
fn pair(word: &[u8]) -> Vec<Form> {
    let Ok(pair) = STANDARD.decode(word).map(Zeroizing::new) else {
        return Vec::new();
    };
    let alone = pair.iter().position(|byte| *byte == b':').map(|colon| {
        let (user_id, password) = (&pair[..colon], &pair[colon + 1..]);
        match password.is_empty() {
            true => user_id,
            false => password,
        }
    });
    let alone = alone.map(|secret| Zeroizing::new(secret.to_vec()));
    alone.into_iter().chain([pair]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(name: HeaderName, value: &str) -> Mask {
        Mask::of(&name, &HeaderValue::from_str(value).expect("a legal value"))
    }

    /// `text` with everything masked that `mask` finds.
    fn masked(mask: &Mask, text: &str) -> String {
        let mut masked = text.as_bytes().to_vec();
        for span in mask.needles().find(text.as_bytes()) {
            masked[span].fill(b'*');
        }
        String::from_utf8(masked).expect("text")
    }

    #[test]
    fn a_bearer_token_is_masked_and_its_scheme_is_not() {
        let mask = mask(header::AUTHORIZATION, "Bearer abc.def-123==");

        assert_eq!(
            masked(&mask, "Bearer abc.def-123== and abc.def-123"),
            "Bearer ***********== and ***********"
        );
    }

    #[test]
    fn of_basic_the_word_the_pair_and_the_password_are_masked() {
        // svc:pa-ss-word
        let mask = mask(header::AUTHORIZATION, "Basic c3ZjOnBhLXNzLXdvcmQ=");

        assert_eq!(
            masked(
                &mask,
                "c3ZjOnBhLXNzLXdvcmQ= svc:pa-ss-word svc%3Apa-ss-word pa-ss-word svc"
            ),
            "*******************= ************** **************** ********** svc"
        );
    }

    #[test]
    fn a_password_too_short_is_masked_within_its_pair_alone() {
        // service:12345
        let mask = mask(header::AUTHORIZATION, "Basic c2VydmljZToxMjM0NQ==");

        assert_eq!(masked(&mask, "12345 service:12345"), "12345 *************");
    }

    #[test]
    fn a_user_id_without_a_password_is_the_secret() {
        // key-0123456789:
        let mask = mask(header::AUTHORIZATION, "Basic a2V5LTAxMjM0NTY3ODk6");

        assert_eq!(
            masked(&mask, "no such key: key-0123456789"),
            "no such key: **************"
        );
    }

    #[test]
    fn a_word_too_short_is_masked_behind_its_scheme_alone() {
        let mask = mask(header::AUTHORIZATION, "Bearer ab");

        assert_eq!(masked(&mask, "about Bearer ab"), "about *********");
    }

    #[test]
    fn of_another_field_the_whole_value_is_masked() {
        let own = mask(HeaderName::from_static("x-api-key"), "open sesame");
        assert_eq!(masked(&own, "sesame open sesame"), "sesame ***********");

        let digest = mask(header::AUTHORIZATION, "Digest a=b, c=d");
        assert_eq!(
            masked(&digest, "c=d, Digest a=b, c=d"),
            "c=d, ***************"
        );
    }

    #[test]
    fn a_value_too_short_is_masked_nowhere() {
        let mask = mask(HeaderName::from_static("x-api-key"), "12345");

        assert!(mask.is_empty());
        assert!(!mask.may_stand_in(1 << 20));
    }

    #[test]
    fn needles_are_made_when_a_text_is_long_enough_and_no_sooner() {
        let mask = mask(header::AUTHORIZATION, "Bearer 0123456789");

        assert!(!mask.may_stand_in(9));
        assert!(mask.may_stand_in(10));
        assert!(mask.needles.get().is_none());
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let mask = mask(HeaderName::from_static("x-api-key"), "0123456789");
        mask.needles();

        assert!(!format!("{mask:?} {:?}", mask.needles()).contains("012345"));
    }
}
