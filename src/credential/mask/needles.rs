//! Looks for all forms of a secret at once.
//!
//! Wu and Manber's search (1994): a window as long as the shortest needle moves over the text, and
//! two bytes at its end say how far it may move on. An automaton (the `aho-corasick` crate) would
//! take some hundred kilobytes for each token of a kilobyte, keep copies that nobody wipes, and not
//! tell where an unfinished needle begins, which a streamed body needs.
//!
//! # Invariants
//!
//! Every byte of every needle in a text lies in a [`Span`], however needles overlap. Spans are in
//! the order of the text and do not overlap.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use super::super::forms::Form;

/// Where in a text something secret stands.
pub(crate) type Span = Range<usize>;

/// The bytes that are looked up together.
const BLOCK: usize = 2;
/// A wider window would fill the table with blocks of ever more needles.
const WINDOW_MAX: usize = 16;
const SHIFTS: usize = 1024;

/// The forms that are looked for.
pub(crate) struct Needles {
    /// All of them, one behind the other, in the order of their bytes.
    bytes: Zeroizing<Vec<u8>>,
    /// Where each one lies in `bytes`.
    places: Box<[Range<usize>]>,
    window: usize,
    /// By the hash of a window's last block: how far the next place lies where a needle can begin.
    shifts: Box<[u8; SHIFTS]>,
}

/// What a text that may go on holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) spans: Vec<Span>,
    /// Where the first needle begins that the text ends within; the text's end if none does.
    pub(crate) live_from: usize,
}

impl Needles {
    pub(super) fn new(mut needles: Vec<Form>) -> Self {
        needles.sort_unstable_by(|one, other| one[..].cmp(&other[..]));
        needles.dedup();
        needles.retain(|needle| needle.len() >= BLOCK);
        let shortest = needles.iter().map(|needle| needle.len()).min();
        let window = shortest.unwrap_or(BLOCK).min(WINDOW_MAX);
        let farthest = window - BLOCK + 1;
        let mut shifts = Box::new([u8::try_from(farthest).unwrap_or(1); SHIFTS]);
        let mut bytes = Zeroizing::new(Vec::with_capacity(needles.iter().map(|n| n.len()).sum()));
        let mut places = Vec::with_capacity(needles.len());
        for needle in &needles {
            for (at, block) in needle[..window].windows(BLOCK).enumerate() {
                let shift = u8::try_from(window - BLOCK - at).unwrap_or(0);
                let held = &mut shifts[slot(block)];
                *held = shift.min(*held);
            }
            places.push(bytes.len()..bytes.len() + needle.len());
            bytes.extend_from_slice(needle);
        }
        Self {
            bytes,
            places: places.into(),
            window,
            shifts,
        }
    }

    /// Where `text` holds needles.
    pub(crate) fn find(&self, text: &[u8]) -> Vec<Span> {
        let mut spans = Vec::new();
        self.candidates(text, |at| note(&mut spans, at, self.longest_at(text, at)));
        spans
    }

    /// The same for a text that may go on.
    pub(crate) fn find_open(&self, text: &[u8]) -> Open {
        let mut open = Open {
            spans: Vec::new(),
            live_from: text.len(),
        };
        let mut look = |at| {
            note(&mut open.spans, at, self.longest_at(text, at));
            if open.live_from == text.len() && self.is_live_at(text, at) {
                open.live_from = at;
            }
        };
        let end = self.candidates(text, &mut look);
        // No window fits behind here, but the beginning of a needle may.
        (end..text.len()).for_each(look);
        open
    }

    /// Calls `look` wherever a window in which a needle may begin fits; says where the next one
    /// would begin.
    fn candidates(&self, text: &[u8], mut look: impl FnMut(usize)) -> usize {
        let mut at = 0;
        while let Some(block) = text.get(at + self.window - BLOCK..at + self.window) {
            match self.shifts[slot(block)] {
                0 => {
                    look(at);
                    at += 1;
                }
                shift => at += usize::from(shift),
            }
        }
        at
    }

    fn needles(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[place.clone()])
    }

    /// The end of the longest needle that begins at `at`.
    fn longest_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = &text[at..];
        let here = self.needles().filter(|needle| rest.starts_with(needle));
        here.map(|needle| at + needle.len()).max()
    }

    /// Whether the text ends within a needle that begins at `at`.
    fn is_live_at(&self, text: &[u8], at: usize) -> bool {
        let rest = &text[at..];
        self.needles()
            .any(|needle| needle.len() > rest.len() && needle.starts_with(rest))
    }
}

/// Two bytes' slot in the table. Blocks that share one make a window look where it need not.
fn slot(block: &[u8]) -> usize {
    let number = usize::from(block[0]) << 8 | usize::from(block[1]);
    (number.wrapping_mul(0x9E37_79B1) >> 14) % SHIFTS
}

/// Adds what begins at `at`, behind all that is in `spans`; what overlaps the last becomes one.
fn note(spans: &mut Vec<Span>, at: usize, end: Option<usize>) {
    let Some(end) = end else { return };
    match spans.last_mut() {
        Some(last) if at < last.end => last.end = last.end.max(end),
        Some(_) | None => spans.push(at..end),
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(all: &[&str]) -> Needles {
        let form = |needle: &&str| Zeroizing::new(needle.as_bytes().to_vec());
        Needles::new(all.iter().map(form).collect())
    }

    /// Which bytes of `text` belong to a needle, found by trying everything everywhere.
    fn naive(all: &[&str], text: &[u8]) -> Vec<bool> {
        let mut masked = vec![false; text.len()];
        for needle in all {
            for at in 0..text.len() {
                if text[at..].starts_with(needle.as_bytes()) {
                    masked[at..at + needle.len()].fill(true);
                }
            }
        }
        masked
    }

    fn naive_live(all: &[&str], text: &[u8]) -> usize {
        let lives = |at: usize| {
            let mut needles = all.iter().map(|needle| needle.as_bytes());
            needles.any(|needle| needle.len() > text.len() - at && needle.starts_with(&text[at..]))
        };
        (0..text.len()).find(|at| lives(*at)).unwrap_or(text.len())
    }

    fn covered(spans: &[Span], length: usize) -> Vec<bool> {
        let mut masked = vec![false; length];
        for span in spans {
            masked[span.clone()].fill(true);
        }
        masked
    }

    #[test]
    fn every_text_of_a_small_alphabet_is_searched_as_a_naive_search_does() {
        let sets: [&[&str]; 6] = [
            &["ab"],
            &["aab", "abaa"],
            &["aba", "bab", "babaab"],
            &["aaa"],
            &["abb", "bbabba", "abbabb"],
            &["abab", "ba", "aababb"],
        ];
        for set in sets {
            let needles = needles(set);
            for length in 0..=11_u32 {
                for number in 0..1_u32 << length {
                    let letter = |bit| if number >> bit & 1 == 0 { b'a' } else { b'b' };
                    let text: Vec<u8> = (0..length).map(letter).collect();

                    let open = needles.find_open(&text);

                    assert_eq!(
                        covered(&open.spans, text.len()),
                        naive(set, &text),
                        "{set:?}"
                    );
                    assert_eq!(open.live_from, naive_live(set, &text), "{set:?} {text:?}");
                    assert_eq!(needles.find(&text), open.spans);
                }
            }
        }
    }

    #[test]
    fn needles_longer_than_a_window_are_found_at_every_place() {
        let all = [
            "the-first-of-them-is-long",
            "another-one-at-last",
            "seventeen-letters",
        ];
        let needles = needles(&all);
        for needle in all {
            for before in 0..40 {
                let text = format!("{}{needle}{}", "x".repeat(before), "y".repeat(before % 3));

                let found = needles.find(text.as_bytes());
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(found[0], before..before + needle.len());
            }
        }
    }

    #[test]
    fn two_in_a_row_are_two_and_two_that_overlap_are_one() {
        let needles = needles(&["abcabc"]);

        assert_eq!(needles.find(b"abcabcabcabx").first(), Some(&(0..9)));
        assert_eq!(needles.find(b"abcabcabcabx").len(), 1);
        assert_eq!(needles.find(b"abcabc-abcabc"), [0..6, 7..13]);
        assert!(needles.find(b"abcab").is_empty());
    }

    #[test]
    fn without_needles_nothing_is_found() {
        let needles = needles(&[]);

        assert!(needles.find(b"anything").is_empty());
        assert_eq!(needles.find_open(b"anything").live_from, 8);
    }
}
