//! What is said of keys that nobody knows, and which texts may be repeated at all.

use super::document::{Entry, Written};
use super::error::{Fault, Problem};
use super::path::{Path, push_pointer};
use super::reader::{LISTED_MAX, Reader};

/// The longest unknown key that is compared with known ones, and shown, in bytes.
const KEY_BYTES_MAX: usize = 40;

impl Reader<'_> {
    /// Records that nobody knows `entry` at `path`.
    pub(super) fn unknown_key(
        &mut self,
        entry: &Entry,
        path: &Path<'_>,
        known: &'static [&'static str],
    ) {
        if self.faults.len() >= LISTED_MAX {
            self.unlisted += 1;
            return;
        }
        let (nearest, distance) = nearest(&entry.key, known);
        if may_be_shown(&entry.key, nearest, distance, path) {
            let mut key = self.place(path);
            match self.document.written {
                Written::Yaml if key.is_empty() => key.push_str(&entry.key),
                Written::Yaml => {
                    key.push('.');
                    key.push_str(&entry.key);
                }
                Written::Json => push_pointer(&mut key, &entry.key),
            }
            let problem = Problem::UnknownKey { nearest, known };
            self.faults.push(Fault::new(entry.at, key, problem));
        } else {
            let problem = Problem::UnknownUnshownKey { nearest, known };
            self.fault(entry.at, path, problem);
        }
    }
}

/// The name to write instead of something that looks like `${NAME}`: the one within, if the whole
/// text is that and it looks like a variable's, which is how it is known to be no secret.
pub(super) fn interpolated(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("${")?;
    let (inner, after) = rest.split_once('}')?;
    let whole = text.starts_with("${") && after.is_empty() && is_variable_name(inner);
    Some(if whole { inner } else { "NAME" }.to_owned())
}

/// Whether `text` looks like an environment variable's name and not like a secret.
pub(super) fn is_variable_name(text: &str) -> bool {
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(upper)
        && text
            .bytes()
            .all(|byte| upper(byte) || byte.is_ascii_digit())
}

fn nearest(key: &str, known: &'static [&'static str]) -> (&'static str, usize) {
    let short: String = key.chars().take(KEY_BYTES_MAX).collect();
    let by_distance = |known: &&'static str| (*known, strsim::osa_distance(&short, known));
    known
        .iter()
        .map(by_distance)
        .min_by_key(|(_, distance)| *distance)
        .unwrap_or(("", usize::MAX))
}

/// An unknown key may be a secret that slipped out of its place (`{ username: svc, hunter2 }`).
/// Within `auth`, `tls`, `keys` and `master_keys` only slips of the finger are shown, elsewhere what looks
/// like a key.
fn may_be_shown(key: &str, nearest: &str, distance: usize, path: &Path<'_>) -> bool {
    let like_a_key = key.len() <= KEY_BYTES_MAX
        && key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
    let slip = distance <= (nearest.len() / 3).max(1);
    let among_secrets = ["auth", "tls", "keys", "master_keys"]
        .iter()
        .any(|key| path.is_within(key));
    like_a_key && (slip || !among_secrets)
}
