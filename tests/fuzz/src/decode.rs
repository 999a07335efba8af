//! A reader of paths that shares no code with the gateway: as servers do it that decode what they
//! should not.

/// How often a path that was let through may at most be decoded to something new.
const DECODINGS_MAX: usize = 16;

/// Whether some server reads `path` as one that leads out of where it begins, or as no path.
pub fn climbs(path: &[u8]) -> bool {
    let mut seen = path.to_vec();
    for _ in 0..DECODINGS_MAX {
        if seen.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
            return true;
        }
        let mut name = Vec::new();
        let mut parameter = false;
        // One slash more ends the last name too.
        for byte in seen.iter().chain(b"/") {
            match byte {
                b'/' | b'\\' => {
                    if name == b"." || name == b".." {
                        return true;
                    }
                    name.clear();
                    parameter = false;
                }
                b';' => parameter = true,
                other if !parameter => name.push(*other),
                _ => {}
            }
        }
        let next = decode(&seen);
        if next == seen {
            return false;
        }
        seen = next;
    }
    true
}

/// `path` percent-decoded once (RFC 3986 §2.1).
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        let byte = *path.get(at)?;
        char::from(byte).to_digit(16).map(|digit| digit as u8)
    };
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < path.len() {
        match (path[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}
