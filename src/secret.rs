//! Text that must not leave the process by accident.
//!
//! # Invariants
//!
//! A [`Secret`] has no `Display`, no `Serialize` and a `Debug` that shows nothing; its memory is
//! overwritten when it is dropped. The only way to read it is [`Secret::expose`], so a search for
//! that word finds every place where a secret is used. Neither taking a text as one nor reading it
//! from a file leaves a copy behind.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

/// The least room that is made to read into, in bytes.
const ROOM_MIN: usize = 4 * 1024;

/// A password, client secret, API key or PEM private key at rest in memory.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: String) -> Self {
        if text.capacity() == text.len() {
            return Self(SecretString::from(text));
        }
        // To give back the room that is too much may be to move, which leaves the text where it was.
        let wide = Zeroizing::new(text);
        Self(SecretString::from(wide.as_str().to_owned()))
    }

    /// The secret itself. Callers keep the result out of logs, errors and labels.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Two configurations are compared to see whether a connector changed; both sides are ours, so
/// this comparison needs no constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads all of `from`, of which about `bytes_expected` are expected, into memory that is overwritten
/// when it is dropped, and when it grows. The caller bounds `from`.
///
/// # Errors
///
/// Those of `from`.
pub fn read_all(mut from: impl Read, bytes_expected: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // One more, so that the end is seen without growing.
    let mut bytes = Zeroizing::new(vec![0; (bytes_expected + 1).max(ROOM_MIN)]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            let mut wider = Zeroizing::new(vec![0; 2 * length]);
            wider[..length].copy_from_slice(&bytes);
            bytes = wider;
        }
        match from.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// `bytes` for whoever takes no other; overwritten when the last to hold them drops them.
pub fn wiped_bytes(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    Bytes::from_owner(bytes)
}

/// Overwrites `bytes` if nobody else holds them; what somebody holds is theirs to overwrite.
pub fn wipe(bytes: Bytes) {
    if let Ok(mut own) = bytes.try_into_mut() {
        own.as_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_nothing_of_it() {
        let secret = Secret::new("hunter2".to_owned());

        let shown = format!("{secret:?} {:#?}", Some(&secret));

        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_text_with_room_to_spare_is_taken_as_it_is() {
        let mut text = String::with_capacity(100);
        text.push_str("hunter2");

        assert_eq!(Secret::new(text).expose(), "hunter2");
    }

    /// Hands out a byte at a time, and is interrupted before each.
    struct Drip(Vec<u8>, bool);

    impl Read for Drip {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let Some(byte) = self.0.pop() else {
                return Ok(0);
            };
            into[0] = byte;
            Ok(1)
        }
    }

    #[test]
    fn everything_is_read_whatever_was_expected() {
        for length in [0, 1, ROOM_MIN - 1, ROOM_MIN, ROOM_MIN + 1, 3 * ROOM_MIN] {
            for expected in [0, length, 2 * length] {
                let read = read_all(Drip(vec![b'x'; length], false), expected).unwrap();

                assert_eq!(*read, vec![b'x'; length]);
            }
        }
        assert!(read_all(Broken, 0).is_err());
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn bytes_that_somebody_else_holds_are_not_overwritten() {
        let bytes = Bytes::from(b"hunter2".to_vec());
        let held = bytes.clone();

        wipe(bytes);

        assert_eq!(held, "hunter2");
    }
}
