//! Quantities as an operator writes them: counts, sizes (`64KiB`) and durations (`1500ms`).
//!
//! # Invariants
//!
//! Every quantity of the configuration is a [`Bounded`]: its default, least and most stand beside
//! its key, so that the error, the reference and the program cannot disagree.

use std::fmt;
use std::time::Duration;

/// A key that holds a quantity, with its default and its bounds (both included).
#[derive(Debug)]
pub(super) struct Bounded<Q> {
    /// The key as it is written.
    pub(super) key: &'static str,
    /// What holds where the key is absent.
    pub(super) default: Q,
    /// The least that is allowed.
    pub(super) min: Q,
    /// The most that is allowed.
    pub(super) max: Q,
}

impl<Q: Quantity> Bounded<Q> {
    /// Reads `text`; `None` if it is no such quantity or out of bounds.
    pub(super) fn parse(&self, text: &str) -> Option<Q> {
        Q::parse(text).filter(|quantity| (self.min..=self.max).contains(quantity))
    }

    /// What is allowed, as errors and the reference say it.
    pub(super) fn allowed(&self) -> String {
        format!("{} to {}", self.min, self.max)
    }
}

/// A sort of quantity.
pub(super) trait Quantity: Copy + PartialOrd + fmt::Display {
    /// How one is written.
    const FORM: &'static str;
    /// What JSON has for one.
    const SORT: Sort = Sort::Either;

    /// Reads one; `None` if `text` is none or does not fit.
    fn parse(text: &str) -> Option<Self>;
}

/// What a scalar is where texts and numbers differ, as they do in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A string.
    Text,
    /// A number or a truth value.
    Bare,
    /// Any of them.
    Either,
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Count(pub(super) u64);

impl Count {
    /// The number, or the most a `usize` holds; bounds keep that from happening.
    pub(super) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number, or the most a `u32` holds; bounds keep that from happening.
    pub(super) fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Quantity for Count {
    const FORM: &'static str = "a whole number";
    const SORT: Sort = Sort::Bare;

    fn parse(text: &str) -> Option<Self> {
        digits(text).map(Self)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Size {
    pub(super) const fn kib(count: u64) -> Self {
        Self(count * KIB)
    }

    pub(super) const fn mib(count: u64) -> Self {
        Self(count * MIB)
    }

    pub(super) const fn gib(count: u64) -> Self {
        Self(count * GIB)
    }

    /// The number, or the most a `usize` holds; bounds keep that from happening.
    pub(super) fn as_usize(self) -> usize {
        Count(self.0).as_usize()
    }
}

impl Quantity for Size {
    const FORM: &'static str = "a size in bytes, KiB, MiB or GiB such as 64KiB";

    fn parse(text: &str) -> Option<Self> {
        let units = [("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("", 1)];
        scaled(text, &units).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        write_scaled(
            f,
            self.0,
            &[("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("", 1)],
        )
    }
}

/// A duration, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(u64);

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Span {
    pub(super) const fn millis(count: u64) -> Self {
        Self(count)
    }

    pub(super) const fn secs(count: u64) -> Self {
        Self(count * SECOND)
    }

    pub(super) const fn minutes(count: u64) -> Self {
        Self(count * MINUTE)
    }

    pub(super) const fn hours(count: u64) -> Self {
        Self(count * HOUR)
    }

    pub(super) const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Quantity for Span {
    const FORM: &'static str = "a duration such as 1500ms, 30s, 10m or 2h";

    fn parse(text: &str) -> Option<Self> {
        // `ms` stands before `s` and `m`, which it would be mistaken for.
        let units = [("ms", 1), ("s", SECOND), ("m", MINUTE), ("h", HOUR)];
        scaled(text, &units).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        write_scaled(
            f,
            self.0,
            &[("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)],
        )
    }
}

/// A part of a whole, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part(u32);

impl Part {
    pub(super) const fn percent(hundredths: u32) -> Self {
        Self(hundredths)
    }

    pub(super) const fn as_percent(self) -> u32 {
        self.0
    }
}

impl Quantity for Part {
    const FORM: &'static str = "a part such as 0.8, of two digits at most";

    fn parse(text: &str) -> Option<Self> {
        let fraction = text.strip_prefix("0.")?;
        let scale = match fraction.len() {
            1 => 10,
            2 => 1,
            _ => return None,
        };
        let hundredths = digits(fraction)? * scale;
        u32::try_from(hundredths).ok().map(Self)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "0.{}", self.0 / 10),
            _ => write!(f, "0.{:02}", self.0),
        }
    }
}

/// Reads decimal digits and nothing else: no sign, no `_`, no other base.
fn digits(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    digits(number)?.checked_mul(scale)
}

/// Writes `amount` in the largest unit that divides it; `units` go from large to small.
fn write_scaled(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)]) -> fmt::Result {
    let largest = units
        .iter()
        .find(|(_, scale)| amount.is_multiple_of(*scale));
    match largest {
        Some((unit, scale)) => write!(f, "{}{unit}", amount / scale),
        None => write!(f, "{amount}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in [
            "", "s", "-1s", "+1s", "1", "1 s", "1_0s", "1.5s", "1S", "1d", "0x1s", "١s",
        ] {
            assert_eq!(Span::parse(bad), None, "{bad:?}");
        }
        for bad in [
            "", "KiB", "-1", "1k", "1KB", "1kib", "1 KiB", "1.5MiB", "1e3",
        ] {
            assert_eq!(Size::parse(bad), None, "{bad:?}");
        }
        for bad in [
            "", "1", "0", "0.", ".8", "0.800", "-0.8", "0,8", "0.8%", "8e-1",
        ] {
            assert_eq!(Part::parse(bad), None, "{bad:?}");
        }
        for bad in ["", "-1", "+1", "1.0", "0x10", "1_000", "true", "1s"] {
            assert_eq!(Count::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_quantity_that_overflows_is_refused_instead_of_wrapped() {
        assert_eq!(Span::parse("18446744073709551615h"), None);
        assert_eq!(Size::parse("18446744073709551615KiB"), None);
        assert_eq!(Count::parse("18446744073709551616"), None);
    }

    #[test]
    fn quantities_are_shown_as_they_are_written() {
        for text in ["0s", "1ms", "1500ms", "30s", "90s", "10m", "2h"] {
            assert_eq!(
                Span::parse(text).map(|span| span.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in ["0.1", "0.8", "0.85", "0.05"] {
            assert_eq!(
                Part::parse(text).map(|part| part.to_string()).as_deref(),
                Some(text)
            );
        }
        assert_eq!(Part::parse("0.80"), Some(Part::percent(80)));
        for text in ["0", "1", "1000", "64KiB", "65MiB", "1GiB"] {
            assert_eq!(
                Size::parse(text).map(|size| size.to_string()).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn a_quantity_out_of_bounds_is_refused_and_the_bounds_are_not() {
        let bounded = Bounded {
            key: "idle",
            default: Span::secs(30),
            min: Span::millis(10),
            max: Span::hours(1),
        };

        assert_eq!(bounded.parse("9ms"), None);
        assert_eq!(bounded.parse("3600001ms"), None);
        assert_eq!(bounded.parse("10ms"), Some(Span::millis(10)));
        assert_eq!(bounded.parse("60m"), Some(Span::hours(1)));
        assert_eq!(bounded.allowed(), "10ms to 1h");
    }
}
