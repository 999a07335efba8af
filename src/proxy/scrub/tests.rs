//! Bodies and fields through the mask.

use std::collections::VecDeque;
use std::convert::Infallible;

use futures_util::task::noop_waker_ref;

use super::*;
use crate::credential::mask_of;

const TOKEN: &str = "tok-abab-ababc";

/// Frames as an origin sends them; `None` is a pause.
struct Frames {
    frames: VecDeque<Option<Frame<Bytes>>>,
    /// Whether the end is known with the last frame, as it is where a length was given.
    ends_early: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends_early && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().flatten().filter_map(Frame::data_ref);
        SizeHint::with_exact(data.map(|data| data.len() as u64).sum())
    }
}

fn token_mask() -> Arc<Mask> {
    mask_of(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))
}

fn text_frame(text: &str) -> Option<Frame<Bytes>> {
    Some(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

fn screened<const N: usize>(frames: [Option<Frame<Bytes>>; N]) -> Scrubbed<Frames> {
    let body = Frames {
        frames: frames.into(),
        ends_early: false,
    };
    Scrubbed::new(&mut HeaderMap::new(), body, Some(token_mask()), Scrub::All)
}

/// What one poll gives: content, trailers, a pause or the end.
#[derive(Debug, PartialEq)]
enum Given {
    Content(String),
    Trailers(HeaderMap),
    Pause,
    End,
}

fn poll(body: &mut Scrubbed<Frames>) -> Given {
    let mut cx = Context::from_waker(noop_waker_ref());
    match Pin::new(body).poll_frame(&mut cx) {
        Poll::Pending => Given::Pause,
        Poll::Ready(None) => Given::End,
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) => Given::Content(String::from_utf8_lossy(&data).into_owned()),
            Err(frame) => Given::Trailers(frame.into_trailers().expect("trailers")),
        },
    }
}

/// All content of a body, and how many secrets were masked in it. Its size must be true all along.
fn drained(body: &mut Scrubbed<Frames>) -> (String, u64) {
    let mut whole = String::new();
    let all = body.size_hint().exact().expect("an exact size");
    loop {
        let left = body.size_hint().exact().expect("an exact size");
        assert_eq!(left + whole.len() as u64, all);
        match poll(body) {
            Given::Content(content) => {
                assert!(!content.is_empty());
                whole += &content;
            }
            Given::Trailers(_) | Given::Pause => {}
            Given::End => return (whole, body.take_masked()),
        }
    }
}

fn content(text: &str) -> Given {
    Given::Content(text.to_owned())
}

#[test]
fn a_secret_is_masked_wherever_frames_cut_it() {
    let text = format!("a {TOKEN} tok-ab{TOKEN}{TOKEN} tok-abab-abab {TOKEN}");
    let stars = "*".repeat(TOKEN.len());
    let expected = format!("a {stars} tok-ab{stars}{stars} tok-abab-abab {stars}");
    for first in 0..=text.len() {
        for second in first..=text.len() {
            for ends_early in [false, true] {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
                let body = Frames {
                    frames: pieces.map(text_frame).collect(),
                    ends_early,
                };
                let mask = Some(token_mask());
                let mut body = Scrubbed::new(&mut HeaderMap::new(), body, mask, Scrub::All);

                assert_eq!(
                    drained(&mut body),
                    (expected.clone(), 4),
                    "{first} {second}"
                );
            }
        }
    }
}

#[test]
fn a_secret_is_masked_byte_by_byte_in_every_form() {
    for form in [
        "dG9rLWFiYWItYWJhYmM",
        "XRvay1hYmFiLWFiYWJj",
        "%74%6F%6B%2D%61%62%61%62%2D%61%62%61%62%63",
        "tok%2dabab%2dababc",
    ] {
        let mut body = screened([]);
        let bytes = form.chars().map(|c| text_frame(&c.to_string()));
        body.body.frames = bytes.collect();

        let (whole, masked) = drained(&mut body);

        assert_eq!(masked, 1, "{form}: {whole}");
        assert!(
            whole.matches('*').count() >= form.len() - 2,
            "{form}: {whole}"
        );
    }
}

#[test]
fn only_a_live_beginning_is_held_and_no_longer_than_it_lives() {
    let mut body = screened([
        text_frame("data: x\n\n"),
        None,
        text_frame("data: tok"),
        None,
        text_frame("-a"),
        None,
        text_frame("x\n\n"),
        None,
        text_frame("tok-abab"),
    ]);

    assert_eq!(poll(&mut body), content("data: x\n\n"), "nothing is held");
    assert_eq!(poll(&mut body), Given::Pause);
    assert_eq!(poll(&mut body), content("data: "));
    assert_eq!(body.size_hint().lower(), 2 + 3 + 8 + 3);
    assert_eq!(poll(&mut body), Given::Pause);
    assert!(!body.is_end_stream());
    // The frame that adds to what is held gives nothing, and the one behind it is asked for at once.
    assert_eq!(poll(&mut body), Given::Pause);
    assert_eq!(poll(&mut body), content("tok-ax\n\n"));
    assert_eq!(poll(&mut body), Given::Pause);
    assert_eq!(poll(&mut body), content("tok-abab"), "the body ended");
    assert_eq!(poll(&mut body), Given::End);
    assert_eq!(body.take_masked(), 0);
}

#[test]
fn a_beginning_within_a_beginning_stays_held_when_the_longer_one_dies() {
    // As aaab in aaaab.
    let mask = mask_of(HeaderName::from_static("x-key"), "aaaaab");
    let body = Frames {
        frames: "aaaaaaaab"
            .chars()
            .map(|c| text_frame(&c.to_string()))
            .collect(),
        ends_early: false,
    };
    let mut body = Scrubbed::new(&mut HeaderMap::new(), body, Some(mask), Scrub::All);

    assert_eq!(drained(&mut body), ("aaa******".to_owned(), 1));
}

#[test]
fn a_whole_secret_that_may_go_on_as_a_longer_one_is_masked_either_way() {
    // The password ends the pair, and "pa-pa-" begins and ends it.
    for (text, expected) in [
        ("x pa-pa-pa-pa-", "x ************"),
        ("x pa-pa-", "x pa-pa-"),
        (
            "svc:pa-pa-pa-pa- x",
            "**************** x".to_owned().as_str(),
        ),
        ("pa-pa-pa-pa-pa-", "***************"),
    ] {
        let mask = mask_of(header::AUTHORIZATION, "Basic c3ZjOnBhLXBhLXBhLXBhLQ==");
        let body = Frames {
            frames: text.chars().map(|c| text_frame(&c.to_string())).collect(),
            ends_early: false,
        };
        let mut body = Scrubbed::new(&mut HeaderMap::new(), body, Some(mask), Scrub::All);

        assert_eq!(drained(&mut body).0, expected);
    }
}

#[test]
fn trailers_come_behind_what_was_held_and_are_masked() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-echo", HeaderValue::from_static(TOKEN));
    let mut body = screened([text_frame("x tok-"), Some(Frame::trailers(trailers))]);

    assert_eq!(poll(&mut body), content("x "));
    assert_eq!(poll(&mut body), content("tok-"));
    assert!(!body.is_end_stream());
    let Given::Trailers(trailers) = poll(&mut body) else {
        panic!("no trailers");
    };
    assert_eq!(trailers["x-echo"], "**************");
    assert_eq!(poll(&mut body), Given::End);
    assert_eq!(body.take_masked(), 1);
}

#[test]
fn what_holds_no_secret_is_passed_without_a_copy() {
    let data = Bytes::from_static(b"nothing to see here, as often as not");
    let at = data.as_ptr();
    let mut body = screened([Some(Frame::data(data))]);
    let mut cx = Context::from_waker(noop_waker_ref());

    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
        panic!("no frame");
    };

    assert_eq!(frame.data_ref().map(|data| data.as_ptr()), Some(at));
}

#[test]
fn no_more_is_held_than_the_longest_form_is_long() {
    let mut body = screened([]);
    let endless = TOKEN[..TOKEN.len() - 1].repeat(1000);
    body.body.frames = endless
        .chars()
        .map(|c| text_frame(&c.to_string()))
        .collect();
    while poll(&mut body) != Given::End {
        assert!(body.held() < 3 * TOKEN.len() as u64);
    }
}

#[test]
fn an_empty_frame_passes_while_something_is_held() {
    let mut body = screened([text_frame("tok"), text_frame(""), text_frame("x")]);

    assert_eq!(poll(&mut body), content(""));
    assert_eq!(poll(&mut body), content("tokx"));
}

#[test]
fn fields_are_masked_at_equal_length_and_stay_legal() {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("x-echo", format!("Bearer {TOKEN}")),
        ("x-twice", format!("{TOKEN}, \u{e9} {TOKEN}")),
        ("x-other", "Bearer tok-abab-abab".to_owned()),
    ] {
        fields.insert(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("legal"),
        );
    }

    let masked = mask_fields(&mut fields, &token_mask());

    assert_eq!(masked, 3);
    assert_eq!(fields["x-echo"], "Bearer **************");
    assert_eq!(
        fields["x-twice"].as_bytes(),
        "**************, é **************".as_bytes()
    );
    assert_eq!(fields["x-other"], "Bearer tok-abab-abab");
}

#[test]
fn a_credential_of_digits_does_not_break_the_framing() {
    let mask = mask_of(HeaderName::from_static("x-key"), "123456");
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("123456"));
    fields.insert(
        header::CONTENT_RANGE,
        HeaderValue::from_static("bytes 0-123455/1234567"),
    );
    fields.insert(header::ETAG, HeaderValue::from_static("\"123456\""));

    assert_eq!(mask_fields(&mut fields, &mask), 1);

    assert_eq!(fields[header::CONTENT_LENGTH], "123456");
    assert_eq!(fields[header::CONTENT_RANGE], "bytes 0-123455/1234567");
    assert_eq!(fields[header::ETAG], "\"******\"");
}

#[test]
fn a_body_passes_as_it_is_where_fields_alone_are_masked() {
    let frames = VecDeque::from([text_frame(TOKEN)]);
    let body = Frames {
        frames,
        ends_early: false,
    };
    let mask = Some(token_mask());
    let mut body = Scrubbed::new(&mut HeaderMap::new(), body, mask, Scrub::Fields);

    assert_eq!(poll(&mut body), content(TOKEN));
}

#[test]
fn a_secret_that_a_longer_one_begins_with_is_masked_at_the_end_whether_or_not_it_is_foretold() {
    // The password is the user-id too: svc-pass-word:svc-pass-word.
    let word = "Basic c3ZjLXBhc3Mtd29yZDpzdmMtcGFzcy13b3Jk";
    let text = "it is svc-pass-word";
    for cut in 1..text.len() {
        for ends_early in [false, true] {
            let body = Frames {
                frames: [text_frame(&text[..cut]), text_frame(&text[cut..])].into(),
                ends_early,
            };
            let mask = Some(mask_of(header::AUTHORIZATION, word));
            let mut body = Scrubbed::new(&mut HeaderMap::new(), body, mask, Scrub::All);

            let seen = drained(&mut body);

            assert_eq!(seen, ("it is *************".to_owned(), 1), "{cut}");
        }
    }
}
