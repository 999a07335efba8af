//! The report's pictures: what a request costs each contender, and how long answers take at a fixed
//! rate.

use super::super::figures::{Measure, PERCENTILES, Round, Series, Spread, Table, micros, names};
use super::canvas::{Canvas, Font, Ink, Side, draw};
use super::cells;

/// A picture of a load.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The load it belongs to.
    pub(crate) load: String,
    /// Its file's name, without a folder.
    pub(crate) file: String,
    /// What is to be seen, in words.
    pub(crate) shows: String,
    pub(crate) svg: String,
}

const WIDTH: i32 = 820;
const LEFT: i32 = 220;
const RIGHT: i32 = 90;
/// What the names at the ends of lines take.
const NAMES: i32 = 170;
/// Where the drawing begins, below its title.
const TOP: i32 = 74;
const ROW: i32 = 32;
const BAR: i32 = 18;
const PLOT_HEIGHT: i32 = 300;
/// Two labels are at least this far apart.
const LABEL: i32 = 17;

const TITLE: Font = Font {
    size: 14.0,
    is_bold: true,
    ink: Ink::Words,
};
const SUBTITLE: Font = Font {
    size: 12.0,
    is_bold: false,
    ink: Ink::Faint,
};
const NAME: Font = Font {
    size: 13.0,
    is_bold: false,
    ink: Ink::Words,
};
const AXIS: Font = Font {
    size: 11.0,
    is_bold: false,
    ink: Ink::Faint,
};

/// The picture that a load's table has, if it has any rounds.
pub(crate) fn picture(table: &Table) -> Option<Picture> {
    let (svg, shows) = match table.measure {
        Measure::CpuPerRequest => (costs(table)?, "CPU per request"),
        Measure::AddedP99 => (latencies(table)?, "latency percentiles"),
    };
    Some(Picture {
        load: table.load.clone(),
        file: format!("{}.svg", table.load),
        shows: format!("{}: {shows} of each contender", table.title),
        svg,
    })
}

/// A bar for each contender, and a line over its end from quartile to quartile.
fn costs(table: &Table) -> Option<String> {
    let costs: Vec<(&str, Spread)> = table
        .series
        .iter()
        .filter_map(|series| {
            let cost = series.spread(Round::cpu_per_request)?;
            Some((series.contender.as_str(), cost))
        })
        .collect();
    let most = costs.iter().map(|(_, cost)| cost.upper_quartile);
    let scale = Scale::from_nought(most.fold(f64::NAN, f64::max))?;
    let bottom = TOP + ROW * costs.len() as i32;
    let svg = draw((WIDTH, bottom + 40), &table.title, |canvas| {
        title(
            canvas,
            &table.title,
            "CPU µs per request: median, and the range between the quartiles",
        );
        for (place, label) in scale.ticks() {
            let x = scale.x(place);
            canvas.line(&[(x, TOP - 6), (x, bottom)], 1, Ink::Grid);
            canvas.words(&label, (x, bottom + 16), Side::Middle, AXIS);
        }
        for (row, (name, cost)) in costs.iter().enumerate() {
            let middle = TOP + ROW * row as i32 + ROW / 2;
            bar(canvas, &scale, middle, name, cost);
        }
    });
    Some(svg)
}

fn bar(canvas: &mut Canvas<'_>, scale: &Scale, middle: i32, name: &str, cost: &Spread) {
    let is_bold = name == names::ATTACHE;
    let ink = match name.starts_with(names::ATTACHE) {
        true => Ink::Line(0),
        false => Ink::Peer,
    };
    let end = scale.x(cost.median);
    canvas.words(
        name,
        (LEFT - 10, middle),
        Side::Left,
        Font { is_bold, ..NAME },
    );
    canvas.bar((LEFT, middle - BAR / 2), (end, middle + BAR / 2), ink);
    let (from, to) = (scale.x(cost.lower_quartile), scale.x(cost.upper_quartile));
    canvas.line(&[(from, middle), (to, middle)], 2, Ink::Words);
    for x in [from, to] {
        canvas.line(&[(x, middle - 4), (x, middle + 4)], 2, Ink::Words);
    }
    let value = cells::figure(cost.median);
    canvas.words(
        &value,
        (end.max(to) + 8, middle),
        Side::Right,
        Font { is_bold, ..NAME },
    );
}

/// From nought to a round figure, from left to right.
struct Scale {
    step: f64,
    steps: u32,
}

impl Scale {
    fn from_nought(most: f64) -> Option<Self> {
        if !(most.is_finite() && most > 0.0) {
            return None;
        }
        let step = round_step(most / 5.0);
        let steps = (most / step).ceil() as u32;
        Some(Self { step, steps })
    }

    fn x(&self, value: f64) -> i32 {
        let part = value / (self.step * f64::from(self.steps));
        LEFT + (part * f64::from(WIDTH - LEFT - RIGHT)).round() as i32
    }

    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (0..=self.steps).map(|place| {
            let value = self.step * f64::from(place);
            // Round figures have no digits to lose, but 0.30000000000000004 has some to hide.
            (value, format!("{}", (value * 1e6).round() / 1e6))
        })
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let fits = steps.into_iter().find(|step| *step >= least * 0.999);
    fits.unwrap_or(10.0 * power)
}

/// A line for each contender: latency in the height, its percentiles along the width.
fn latencies(table: &Table) -> Option<String> {
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
    let bottom = TOP + PLOT_HEIGHT;
    let x = |place: usize| {
        let steps = labels.len().saturating_sub(1).max(1) as i32;
        70 + (WIDTH - 70 - NAMES) * place as i32 / steps
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

/// Attaché's own, and for each of the others one that is the same in every picture.
fn line_ink(name: &str, row: usize) -> Ink {
    let known = [
        names::ATTACHE,
        names::NGINX,
        names::HAPROXY,
        names::ENVOY,
        names::NGINX_LUA,
        names::FLOOR,
        names::DIRECT,
    ];
    let place = known.iter().position(|known| *known == name);
    Ink::Line(place.unwrap_or(row))
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
        TOP + ((1.0 - part) * f64::from(PLOT_HEIGHT)).round() as i32
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

fn title(canvas: &mut Canvas<'_>, title: &str, subtitle: &str) {
    canvas.words(title, (20, 26), Side::Right, TITLE);
    canvas.words(subtitle, (20, 48), Side::Right, SUBTITLE);
}
