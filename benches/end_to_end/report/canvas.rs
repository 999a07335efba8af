//! A drawing of lines, bars and words, in pixels, that is read on a light page and on a dark one.
//!
//! Plotters writes one colour for each thing drawn. Every colour here is an [`Ink`], and a style
//! sheet in front of the drawing gives each ink another colour where the reader prefers the dark.

use std::fmt::Write;

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};

const FAMILY: FontFamily<'_> = FontFamily::SansSerif;
/// Plotters writes fonts smaller by this than it is asked.
const FONT_SCALE: f64 = 1.24;

/// What something is drawn for; its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Paper,
    Words,
    Faint,
    Grid,
    /// A bar that is not Attaché's.
    Peer,
    /// A line of its own colour, by its place among the others; the first is Attaché's.
    Line(usize),
}

/// Told apart by whoever sees fewer colours, too: Okabe and Ito's, darker where the page is light.
const LINES: [(u32, u32); 7] = [
    (0x1F6FEB, 0x58A6FF),
    (0xC2410C, 0xF78C4B),
    (0x0F8A63, 0x3FC495),
    (0xB0438A, 0xE58FC4),
    (0x8A6D00, 0xE3C14B),
    (0x5B4BC4, 0xA99CF5),
    (0x6E7781, 0x9AA4AE),
];

impl Ink {
    /// On a light page, and on a dark one. No two inks have the same colour on a light page: the
    /// style sheet tells them apart by it.
    pub(crate) fn colours(self) -> (u32, u32) {
        match self {
            Self::Paper => (0xFFFFFF, 0x0D1117),
            Self::Words => (0x1F2328, 0xE6EDF3),
            Self::Faint => (0x59636E, 0x9198A1),
            Self::Grid => (0xD9DEE3, 0x2B323B),
            Self::Peer => (0xA3ADB8, 0x5D6773),
            Self::Line(place) => LINES[place % LINES.len()],
        }
    }

    fn light(self) -> RGBColor {
        let [_, red, green, blue] = self.colours().0.to_be_bytes();
        RGBColor(red, green, blue)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::Paper,
            Self::Words,
            Self::Faint,
            Self::Grid,
            Self::Peer,
        ];
        own.into_iter().chain((0..LINES.len()).map(Self::Line))
    }
}

/// Where words stand beside the point they are drawn at; in height they are in its middle.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// They begin there.
    Right,
    /// They end there.
    Left,
    Middle,
}

/// How words look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Font {
    /// In pixels.
    pub(crate) size: f64,
    pub(crate) is_bold: bool,
    pub(crate) ink: Ink,
}

/// A drawing that is not finished.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// A finished drawing of `size`, as SVG, called `title` to whoever cannot see it.
pub(crate) fn draw(size: (i32, i32), title: &str, drawing: impl FnOnce(&mut Canvas<'_>)) -> String {
    let mut svg = String::new();
    let mut canvas = Canvas {
        backend: SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)),
    };
    canvas.bar((0, 0), size, Ink::Paper);
    drawing(&mut canvas);
    drawn(canvas.backend.present());
    drop(canvas);
    let head_end = svg.find('>').map_or(0, |tag_end| tag_end + 1);
    svg.insert_str(head_end, &format!("\n{}{}", named(title), style_sheet()));
    svg
}

impl Canvas<'_> {
    pub(crate) fn bar(&mut self, from: (i32, i32), to: (i32, i32), ink: Ink) {
        drawn(
            self.backend
                .draw_rect(from, to, &ink.light().filled(), true),
        );
    }

    pub(crate) fn line(&mut self, points: &[(i32, i32)], width: u32, ink: Ink) {
        let style = ink.light().stroke_width(width);
        drawn(self.backend.draw_path(points.iter().copied(), &style));
    }

    pub(crate) fn dot(&mut self, at: (i32, i32), radius: u32, ink: Ink) {
        drawn(
            self.backend
                .draw_circle(at, radius, &ink.light().filled(), true),
        );
    }

    pub(crate) fn words(&mut self, text: &str, at: (i32, i32), side: Side, font: Font) {
        let anchor = match side {
            Side::Right => HPos::Left,
            Side::Left => HPos::Right,
            Side::Middle => HPos::Center,
        };
        let weight = if font.is_bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let style = TextStyle {
            font: FontDesc::new(FAMILY, font.size * FONT_SCALE, weight),
            color: font.ink.light().to_backend_color(),
            pos: Pos::new(anchor, VPos::Center),
        };
        drawn(self.backend.draw_text(text, &style, at));
    }
}

fn drawn<E: std::fmt::Debug>(outcome: Result<(), E>) {
    outcome.expect("a string takes every drawing");
}

/// What a screen reader says of the picture.
fn named(title: &str) -> String {
    let escaped = title.replace('&', "&amp;").replace('<', "&lt;");
    format!("<title>{escaped}</title>\n")
}

fn style_sheet() -> String {
    let mut rules = String::new();
    for ink in Ink::all() {
        let (light, dark) = ink.colours();
        let _ = write!(
            rules,
            "[fill=\"#{light:06X}\"]{{fill:#{dark:06X}}}[stroke=\"#{light:06X}\"]{{stroke:#{dark:06X}}}"
        );
    }
    format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>\n")
}
