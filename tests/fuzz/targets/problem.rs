//! What the command line shows of a server's refusal: `cli::remote::problem`.
//!
//! The first line is a status and what `Retry-After` says, the rest is JSON. Nothing in it moves a
//! cursor, and what is shown is not much longer than what was sent.

#![no_main]

use attache::cli;
use attache_fuzz::message;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (head, _) = message(&data[..end]);
    let head = head.first().copied().unwrap_or_default();
    let mut words = std::str::from_utf8(head).unwrap_or_default().split(' ');
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    let status = number(words.next()).and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let retry_after = number(words.next());
    let body = serde_json::from_slice(&data[end..]).unwrap_or_default();

    let told = cli::doors::sentences(status.unwrap_or(StatusCode::CONFLICT), &body, retry_after);

    assert!(
        !told.contains(|c: char| c.is_control() && c != '\n'),
        "{told:?}"
    );
    assert!(
        told.len() <= 32 * data.len() + 1024,
        "{} of {}",
        told.len(),
        data.len()
    );
});
