//! Bodies of requests, read strictly.
//!
//! # Invariants
//!
//! A body is JSON of at most 1 MiB that came within a time, nested at most [`DEPTH_MAX`] deep, and
//! names no key twice. What is wrong with it is told by place and form; no value is repeated, since
//! it could be a secret.

use std::fmt;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::problem::{FieldError, Problem};
use super::reason::Reason;
use crate::secret;

/// A request's body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The time in which all of it has to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Lists and objects within each other.
const DEPTH_MAX: usize = 32;

/// A body of `application/json`.
pub(super) struct Json(pub(super) Value);

/// A body of `application/merge-patch+json` (RFC 7396).
pub(super) struct MergePatch(pub(super) Value);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, "application/json").await.map(Self)
    }
}

impl<S: Sync> FromRequest<S> for MergePatch {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, "application/merge-patch+json")
            .await
            .map(Self)
    }
}

async fn read(request: Request, media_type: &'static str) -> Result<Value, Problem> {
    if !is(request.headers(), media_type) {
        let detail = format!("The body has to be {media_type}, in UTF-8 and not compressed.");
        return Err(Problem::of(Reason::MediaType).detail(detail));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
    let Ok(collected) = timeout(BODY_TIMEOUT, body.collect()).await else {
        return Err(Problem::of(Reason::ClientTimeout));
    };
    let bytes: Bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(Problem::of(Reason::BodyTooLarge));
        }
        Err(_) => return Err(Problem::of(Reason::BadRequest).detail("The body broke off.")),
    };
    let parsed = parse(&bytes);
    secret::wipe(bytes);
    parsed
}

/// Whether the fields say that the body is `media_type`. A parameter but `charset=utf-8` is another
/// type, and so is a coding (RFC 9110 §8.4).
fn is(fields: &HeaderMap, media_type: &str) -> bool {
    let mut lines = fields.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Ok(line) = line.to_str() else {
        return false;
    };
    let (essence, parameter) = line.split_once(';').unwrap_or((line, ""));
    let parameter = parameter.trim();
    essence.trim().eq_ignore_ascii_case(media_type)
        && ["", "charset=utf-8", "charset=\"utf-8\""]
            .iter()
            .any(|allowed| parameter.eq_ignore_ascii_case(allowed))
        && !fields.contains_key(CONTENT_ENCODING)
}

/// Reads JSON (RFC 8259).
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let parsed: Result<Strict, _> = serde_json::from_slice(bytes);
    parsed.map(|strict| strict.0).map_err(|error| {
        // The category and the place; the message could repeat a value.
        let what = match error.classify() {
            serde_json::error::Category::Data => {
                "A key stands twice in one object of the body, or it is nested too deeply"
            }
            serde_json::error::Category::Eof => "The body's JSON ends early",
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => {
                "The body is not JSON that can be read"
            }
        };
        let (line, column) = (error.line(), error.column());
        Problem::of(Reason::BadRequest).detail(format!("{what}: line {line}, column {column}."))
    })
}

/// A JSON value without doubled keys, not too deep.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Level(0)).map(Self)
    }
}

/// Reads a value that stands so deep.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.0 < DEPTH_MAX {
            true => Ok(Self(self.0 + 1)),
            false => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> serde::de::DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a doubled key"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// The fields of a body that is an object, taken out one by one.
pub(super) struct Fields {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Those of `body`.
    ///
    /// # Errors
    ///
    /// `invalid` if it is no object.
    pub(super) fn of(body: Value) -> Result<Self, Problem> {
        let Value::Object(fields) = body else {
            return Err(Problem::invalid(vec![FieldError {
                field: String::new(),
                detail: "must be an object".to_owned(),
            }]));
        };
        Ok(Self {
            fields,
            errors: Vec::new(),
        })
    }

    /// The value of `name`, taken out; null counts as absent.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// `name` as `read` understands it; what it does not is a fault that says `form`.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let read = read(&value);
        if read.is_none() {
            self.fault(name, format!("must be {form}"));
        }
        read
    }

    /// The same, and it must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        if self.fields.get(name).is_none_or(Value::is_null) {
            self.fields.remove(name);
            self.fault(name, format!("is required: {form}"));
            return None;
        }
        self.read(name, form, read)
    }

    /// Notes what is wrong with `name`.
    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let field = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.fault_at(field, detail);
    }

    /// Notes what is wrong at `field`, a JSON pointer.
    pub(super) fn fault_at(&mut self, field: String, detail: impl Into<String>) {
        let detail = detail.into();
        self.errors.push(FieldError { field, detail });
    }

    /// Ends the reading: nothing may be left over.
    ///
    /// # Errors
    ///
    /// `invalid` with everything that was wrong.
    pub(super) fn done(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.fields)
            .into_iter()
            .map(|(name, _)| name)
        {
            self.fault(&name, "is unknown here");
        }
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem::invalid(self.errors)),
        }
    }
}
