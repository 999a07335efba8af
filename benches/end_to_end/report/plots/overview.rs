//! All loads at once: what a request costs each contender as a part of what it costs nginx.

use super::super::super::figures::{Comparison, Measure, Results, Table, names};
use super::super::canvas::{Canvas, Font, Ink, Side, draw};
use super::super::cells;
use super::{AXIS, NAME, Picture, Scale, TOP, WIDTH, line_ink, title};

const LEFT: i32 = 150;
const RIGHT: i32 = 130;
const ROW: i32 = 34;
/// What the line takes that says whose dots are whose.
const LEGEND: i32 = 26;
/// About as wide as one letter.
const LETTER: i32 = 8;

/// A load's ratios to nginx that may be shown, by contender.
struct Row<'a> {
    load: &'a str,
    ratios: Vec<(&'a str, f64)>,
    /// As it stands at the row's end.
    own: String,
}

/// A row for each load that nginx carries, a dot for each contender; `None` where nothing may be
/// shown.
pub(crate) fn overview(results: &Results) -> Option<Picture> {
    let costs = results
        .tables
        .iter()
        .filter(|table| table.measure == Measure::CpuPerRequest);
    let rows: Vec<Row<'_>> = costs.filter_map(row).collect();
    let all = || rows.iter().flat_map(|row| &row.ratios);
    let most = all().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let scale = Scale::from_nought(most, (LEFT, WIDTH - RIGHT))?;
    let shown: Vec<&str> = dotted()
        .filter(|name| all().any(|(one, _)| one == name))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let (top, name) = (TOP + LEGEND, "CPU per request beside nginx");
    let bottom = top + ROW * rows.len() as i32;
    let svg = draw((WIDTH, bottom + 40), name, |canvas| {
        title(
            canvas,
            name,
            "Ratio to nginx, median of paired rounds; what is too noisy has no dot",
        );
        legend(canvas, &shown);
        for (value, label) in scale.ticks() {
            let x = scale.x(value);
            canvas.line(&[(x, top - 6), (x, bottom)], 1, Ink::Grid);
            canvas.words(&label, (x, bottom + 16), Side::Middle, AXIS);
        }
        let nginx = scale.x(1.0);
        canvas.line(
            &[(nginx, top - 6), (nginx, bottom)],
            2,
            line_ink(names::NGINX, 1),
        );
        for (place, row) in rows.iter().enumerate() {
            dots(canvas, &scale, row, top + ROW * place as i32 + ROW / 2);
        }
    });
    Some(Picture {
        load: String::new(),
        file: "overview.svg".to_owned(),
        shows: "All loads: CPU per request of each contender, as a part of nginx's".to_owned(),
        svg,
    })
}

fn row(table: &Table) -> Option<Row<'_>> {
    table.of(names::NGINX)?;
    let clear = |name| match table.ratio(name, names::NGINX)? {
        Comparison::Clear(spread) => Some((name, spread.median)),
        Comparison::TooNoisy(_) | Comparison::TooFewRounds | Comparison::Failed => None,
    };
    let own = table.ratio(names::ATTACHE, names::NGINX);
    Some(Row {
        load: &table.load,
        ratios: dotted().filter_map(clear).collect(),
        // Without the range, for which there is no room.
        own: if matches!(own, Some(Comparison::TooNoisy(_))) {
            "too noisy".to_owned()
        } else {
            cells::ratio(own)
        },
    })
}

/// Who has dots, Attaché's last and above the others; nginx has a line.
fn dotted() -> impl Iterator<Item = &'static str> {
    [
        names::FLOOR,
        names::HAPROXY,
        names::NGINX_LUA,
        names::ENVOY,
        names::ATTACHE,
    ]
    .into_iter()
}

fn dots(canvas: &mut Canvas<'_>, scale: &Scale, row: &Row<'_>, middle: i32) {
    canvas.words(row.load, (LEFT - 14, middle), Side::Left, NAME);
    canvas.line(&[(LEFT, middle), (WIDTH - RIGHT, middle)], 1, Ink::Grid);
    for (name, ratio) in &row.ratios {
        let radius = if *name == names::ATTACHE { 7 } else { 5 };
        canvas.dot((scale.x(*ratio), middle), radius, line_ink(name, 0));
    }
    let font = Font {
        is_bold: true,
        ink: line_ink(names::ATTACHE, 0),
        ..NAME
    };
    canvas.words(&row.own, (WIDTH - RIGHT + 16, middle), Side::Right, font);
}

fn legend(canvas: &mut Canvas<'_>, shown: &[&str]) {
    let mut x = 26;
    for name in [names::NGINX].iter().chain(shown) {
        let ink = line_ink(name, 0);
        if *name == names::NGINX {
            canvas.line(&[(x, TOP - 8), (x, TOP + 8)], 2, ink);
        } else {
            canvas.dot((x, TOP), 5, ink);
        }
        canvas.words(name, (x + 12, TOP), Side::Right, Font { ink, ..NAME });
        x += 40 + LETTER * name.chars().count() as i32;
    }
}
