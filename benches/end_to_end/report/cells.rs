//! How figures are written: with about as many digits as they can vouch for.

use super::super::figures::{Comparison, Finding, Spread};

/// What stands where nothing was measured.
pub(crate) const NOTHING: &str = "–";

/// `0.87`, or why there is no ratio.
pub(crate) fn ratio(comparison: Option<Comparison>) -> String {
    compared(comparison, |value| format!("{value:.2}"))
}

/// `0.868`: beside a bound, where the third digit may decide.
pub(crate) fn exact_ratio(comparison: Option<Comparison>) -> String {
    compared(comparison, |value| format!("{value:.3}"))
}

/// `1.31 s`, or why there is no ratio.
pub(crate) fn finding(finding: &Finding) -> String {
    match finding.spread {
        Some(spread) if spread.is_too_noisy() => ratio(Some(Comparison::TooNoisy(spread))),
        Some(_) | None => {
            let written = format!("{} {}", figure(finding.value), finding.unit);
            written.trim_end().to_owned()
        }
    }
}

/// `−41 µs`, or why there is no difference.
pub(crate) fn difference(comparison: Option<Comparison>) -> String {
    compared(comparison, |value| format!("{} µs", signed(value)))
}

fn compared(comparison: Option<Comparison>, written: impl Fn(f64) -> String) -> String {
    match comparison {
        None => NOTHING.to_owned(),
        Some(Comparison::Clear(spread)) => written(spread.median),
        Some(Comparison::TooNoisy(spread)) => format!(
            "too noisy ({} to {})",
            written(spread.lower_quartile),
            written(spread.upper_quartile)
        ),
        Some(Comparison::TooFewRounds) => "too few rounds".to_owned(),
        Some(Comparison::Failed) => "requests failed".to_owned(),
    }
}

/// `12.9 (12.8 to 13.1)`: the median and its quartiles.
pub(crate) fn spread(spread: Option<Spread>) -> String {
    let written = |spread: Spread| {
        let (lower, upper) = (figure(spread.lower_quartile), figure(spread.upper_quartile));
        format!("{} ({lower} to {upper})", figure(spread.median))
    };
    spread.map_or_else(|| NOTHING.to_owned(), written)
}

/// The median alone.
pub(crate) fn median(spread: Option<Spread>) -> String {
    spread.map_or_else(|| NOTHING.to_owned(), |spread| figure(spread.median))
}

/// The median of percentages.
pub(crate) fn percent(spread: Option<Spread>) -> String {
    let written = |spread: Spread| format!("{:.1} %", spread.median);
    spread.map_or_else(|| NOTHING.to_owned(), written)
}

/// About three digits that count: `0.052`, `4.21`, `12.9`, `298`, `4,210`, `76,900`.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 {
        let unit = 10_f64.powf((size.log10().floor() - 2.0).max(0.0));
        let unit = if size < 9_999.5 { 1.0 } else { unit };
        return grouped((value / unit).round() * unit);
    }
    let places = match size {
        size if size < 0.0005 => 0,
        size if size < 0.0995 => 3,
        size if size < 9.995 => 2,
        _ => 1,
    };
    // A minus sign of its own: the same width as a figure, and no dash.
    let written = format!("{value:.places$}").replace('-', "−");
    if places == 0 { "0".to_owned() } else { written }
}

/// The same with its sign: what is added, or saved.
pub(crate) fn signed(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", figure(value))
}

/// A whole number, its digits in threes.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "−" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
