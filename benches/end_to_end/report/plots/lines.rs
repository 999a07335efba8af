//! How long answers take at a fixed rate.

use super::super::super::figures::{PERCENTILES, Round, Series, Table, micros, names};
use super::super::canvas::{Font, Ink, Side, draw};
use super::super::cells;
use super::{AXIS, NAME, TOP, WIDTH, line_ink, title};

/// What the latencies on the left take, and the names at the ends of lines.
const LEFT: i32 = 70;
const RIGHT: i32 = 170;
const HEIGHT: i32 = 300;
/// Two labels are at least this far apart.
const LABEL: i32 = 17;

/// A line for each contender: latency in the height, its percentiles along the width.
pub(super) fn latencies(table: &Table) -> Option<String> {
    let lines: Vec<(&str, Vec<f64>)> = table
        .series
        .iter()
        .filter_map(|series| Some((series.contender.as_str(), medians(series)?)))
        .collect();
    let labels = percentile_labels(lines.first()?.1.len());
    let all = || lines.iter().flat_map(|(_, line)| line.iter().copied());
    let heights = Heights::between(
        all().fold(f64::NAN, f64::min),
        all().fold(f64::NAN, f64::max),
    )?;
    let bottom = TOP + HEIGHT;
    let x = |place: usize| {
        let steps = labels.len().saturating_sub(1).max(1) as i32;
        LEFT + (WIDTH - LEFT - RIGHT) * place as i32 / steps
    };
    let svg = draw((WIDTH, bottom + 40), &table.title, |canvas| {
        title(
            canvas,
            &table.title,
            "Latency in µs at each percentile (median of the rounds), on a logarithmic scale",
        );
        for (value, label) in heights.ticks() {
            let y = heights.y(value);
            canvas.line(&[(x(0), y), (x(labels.len() - 1), y)], 1, Ink::Grid);
            canvas.words(&label, (x(0) - 12, y), Side::Left, AXIS);
        }
        for (place, label) in labels.iter().enumerate() {
            canvas.words(label, (x(place), bottom + 20), Side::Middle, AXIS);
        }
        let ends: Vec<i32> = lines
            .iter()
            .map(|(_, line)| heights.y(line.last().copied().unwrap_or_default()))
            .collect();
        let label_heights = apart(&ends, LABEL);
        for (row, (name, line)) in lines.iter().enumerate().rev() {
            let ink = line_ink(name, row);
            let is_bold = *name == names::ATTACHE;
            let points = line.iter().enumerate();
            let points: Vec<(i32, i32)> = points
                .map(|(place, value)| (x(place), heights.y(*value)))
                .collect();
            canvas.line(&points, if is_bold { 3 } else { 2 }, ink);
            for point in &points {
                canvas.dot(*point, if is_bold { 4 } else { 3 }, ink);
            }
            let label = (x(labels.len() - 1) + 14, label_heights[row]);
            canvas.words(
                name,
                label,
                Side::Right,
                Font {
                    is_bold,
                    ink,
                    ..NAME
                },
            );
        }
    });
    Some(svg)
}

/// The medians of a contender's percentiles, in microseconds; of those that every round has.
fn medians(series: &Series) -> Option<Vec<f64>> {
    let has_all = |round: &Round| round.percentiles.len() == PERCENTILES.len();
    if series.rounds.iter().all(has_all) {
        let all = 0..PERCENTILES.len();
        return all
            .map(|place| {
                Some(
                    series
                        .spread(|round| micros(round.percentiles[place]))?
                        .median,
                )
            })
            .collect();
    }
    let p50 = series.spread(|round| micros(round.p50))?;
    let p99 = series.spread(|round| micros(round.p99))?;
    Some(vec![p50.median, p99.median])
}

fn percentile_labels(count: usize) -> Vec<String> {
    if count == PERCENTILES.len() {
        PERCENTILES.iter().map(|part| format!("p{part}")).collect()
    } else {
        vec!["p50".to_owned(), "p99".to_owned()]
    }
}

/// From bottom to top, each step as many times the last.
struct Heights {
    least: f64,
    most: f64,
}

impl Heights {
    fn between(least: f64, most: f64) -> Option<Self> {
        let is_range = least.is_finite() && most.is_finite() && least > 0.0;
        is_range.then_some(Self {
            least: least * 0.9,
            most: most * 1.1,
        })
    }

    fn y(&self, value: f64) -> i32 {
        let part = (value.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        TOP + ((1.0 - part) * f64::from(HEIGHT)).round() as i32
    }

    /// 1, 2 and 5 times each power of ten.
    fn ticks(&self) -> Vec<(f64, String)> {
        let powers = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
        let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|times| times * 10_f64.powi(power)));
        all.filter(|value| (self.least..=self.most).contains(value))
            .map(|value| (value, cells::grouped(value)))
            .collect()
    }
}

/// `wanted` heights moved as little as it takes for all to be `gap` apart, in their order.
pub(crate) fn apart(wanted: &[i32], gap: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|place| wanted[*place]);
    // Groups of neighbours that touch, as (first place in the order, how many, where the first is).
    let mut groups: Vec<(usize, i32, i32)> = Vec::new();
    for (place, one) in order.iter().enumerate() {
        groups.push((place, 1, wanted[*one]));
        while let [.., above, below] = groups.as_slice()
            && above.2 + above.1 * gap > below.2
        {
            let (first, count) = (above.0, above.1 + below.1);
            let members = order[first..first + count as usize].iter().zip(0..);
            let sum: i32 = members.map(|(one, nth)| wanted[*one] - nth * gap).sum();
            groups.truncate(groups.len() - 2);
            groups.push((first, count, sum / count));
        }
    }
    let mut heights = vec![0; wanted.len()];
    for (first, count, start) in groups {
        for (one, nth) in order[first..first + count as usize].iter().zip(0..) {
            heights[*one] = start + nth * gap;
        }
    }
    heights
}
