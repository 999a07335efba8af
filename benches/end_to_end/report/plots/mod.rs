//! The report's pictures: all loads beside nginx, what a request costs each contender with one of
//! them, and how long answers take at a fixed rate.

mod bars;
pub(crate) mod lines;
mod overview;

use super::super::figures::{Measure, Table, names};
use super::canvas::{Canvas, Font, Ink, Side};

pub(crate) use overview::overview;

/// A picture of a load.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// The load it belongs to; empty if to all of them.
    pub(crate) load: String,
    /// Its file's name, without a folder.
    pub(crate) file: String,
    /// What is to be seen, in words.
    pub(crate) shows: String,
    pub(crate) svg: String,
}

const WIDTH: i32 = 820;
/// Where the drawing begins, below its title.
const TOP: i32 = 74;

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
        Measure::CpuPerRequest => (bars::costs(table)?, "CPU per request"),
        Measure::AddedP99 => (lines::latencies(table)?, "latency percentiles"),
    };
    Some(Picture {
        load: table.load.clone(),
        file: format!("{}.svg", table.load),
        shows: format!("{}: {shows} of each contender", table.title),
        svg,
    })
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

/// From nought to a round figure, from left to right.
struct Scale {
    step: f64,
    steps: u32,
    /// Where it begins and ends.
    place: (i32, i32),
}

impl Scale {
    fn from_nought(most: f64, place: (i32, i32)) -> Option<Self> {
        if !(most.is_finite() && most > 0.0) {
            return None;
        }
        let step = round_step(most / 5.0);
        let steps = (most / step).ceil() as u32;
        Some(Self { step, steps, place })
    }

    fn x(&self, value: f64) -> i32 {
        let part = value / (self.step * f64::from(self.steps));
        let (from, to) = self.place;
        from + (part * f64::from(to - from)).round() as i32
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

fn title(canvas: &mut Canvas<'_>, title: &str, subtitle: &str) {
    canvas.words(title, (20, 26), Side::Right, TITLE);
    canvas.words(subtitle, (20, 48), Side::Right, SUBTITLE);
}
