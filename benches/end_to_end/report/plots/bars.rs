//! What a request costs each contender with one load.

use super::super::super::figures::{Round, Spread, Table, names};
use super::super::canvas::{Canvas, Font, Ink, Side, draw};
use super::super::cells;
use super::{AXIS, NAME, Scale, TOP, WIDTH, title};

const LEFT: i32 = 220;
const RIGHT: i32 = 90;
const ROW: i32 = 32;
const BAR: i32 = 18;

/// A bar for each contender, and a line over its end from quartile to quartile.
pub(super) fn costs(table: &Table) -> Option<String> {
    let costs: Vec<(&str, Spread)> = table
        .series
        .iter()
        .filter_map(|series| {
            let cost = series.spread(Round::cpu_per_request)?;
            Some((series.contender.as_str(), cost))
        })
        .collect();
    let most = costs.iter().map(|(_, cost)| cost.upper_quartile);
    let scale = Scale::from_nought(most.fold(f64::NAN, f64::max), (LEFT, WIDTH - RIGHT))?;
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
