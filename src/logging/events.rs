//! What the program itself has to say.

use std::error::Error;
use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::FormatChoice;
use super::line::{Head, Line, VALUE_BYTES_MAX, Value, clip, field_name};
use super::queue::Queue;
use crate::clock::{Clock, rfc3339};

/// Makes a line of every event. Spans are not shown: a message stands alone.
pub(super) struct Events {
    pub(super) clock: Clock,
    pub(super) format: FormatChoice,
    pub(super) queue: Arc<Queue<String>>,
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut message = Message(None);
        event.record(&mut message);
        let metadata = event.metadata();
        let head = Head {
            at: &rfc3339(self.clock.wall()).to_string(),
            level: metadata.level().as_str(),
            target: metadata.target(),
            message: message.0.as_deref().unwrap_or(metadata.name()),
        };
        let mut text = String::with_capacity(256);
        let mut line = Line::begin(&mut text, self.format.get(), &head);
        event.record(&mut Fields(&mut line));
        line.end();
        // The queue counts what finds no room, and says so.
        let _pushed = self.queue.push(text);
    }
}

/// Finds an event's message.
struct Message(Option<String>);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if is_message(field) {
            self.0 = Some(written(format_args!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if is_message(field) {
            self.0 = Some(value.into());
        }
    }
}

/// Adds an event's other fields to a line.
struct Fields<'a, 'line>(&'a mut Line<'line>);

impl Fields<'_, '_> {
    fn add(&mut self, field: &Field, value: Value<'_>) {
        if !is_message(field) {
            self.0.field(field_name(field.name()), value);
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(&value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(&value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(&value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value));
    }

    /// An error with its sources, since no error's text repeats its source.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, Value::Text(&with_sources(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !is_message(field) {
            self.add(field, Value::Text(&written(format_args!("{value:?}"))));
        }
    }
}

fn is_message(field: &Field) -> bool {
    field.name() == "message"
}

/// An error and what caused it, in one sentence.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let mut text = Clipped::default();
    for (place, error) in chain.enumerate() {
        let colon = if place == 0 { "" } else { ": " };
        if write!(text, "{colon}{error}").is_err() {
            break;
        }
    }
    text.0
}

/// What `arguments` writes, up to a little over the bound of a value: the line shows the cut.
fn written(arguments: fmt::Arguments<'_>) -> String {
    let mut text = Clipped::default();
    // It fails when the bound is reached, or if a Debug does; what was written until then stands.
    let _written = text.write_fmt(arguments);
    text.0
}

/// Stops whoever writes too much.
#[derive(Default)]
struct Clipped(String);

impl Write for Clipped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = (VALUE_BYTES_MAX + 4).saturating_sub(self.0.len());
        let kept = clip(text, room);
        self.0.push_str(kept);
        if kept.len() < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}
