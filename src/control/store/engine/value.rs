//! What goes into a statement and comes out of a row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::super::error::StoreError;

/// One parameter or column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Value {
    Text(String),
    Integer(i64),
    Bytes(Vec<u8>),
    Null,
}

/// One row, read column by column from the left.
#[derive(Debug)]
pub(in super::super) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next column, a text.
    pub(in super::super) fn text(&mut self) -> Result<String, StoreError> {
        self.text_or_null()?.ok_or(WRONG_TYPE)
    }

    /// The next column, a text if there is one.
    pub(in super::super) fn text_or_null(&mut self) -> Result<Option<String>, StoreError> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            Some(Value::Integer(_) | Value::Bytes(_)) | None => Err(WRONG_TYPE),
        }
    }

    /// The next column, a number.
    pub(in super::super) fn integer(&mut self) -> Result<i64, StoreError> {
        self.integer_or_null()?.ok_or(WRONG_TYPE)
    }

    /// The next column, a number if there is one.
    pub(in super::super) fn integer_or_null(&mut self) -> Result<Option<i64>, StoreError> {
        match self.0.next() {
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(Value::Null) => Ok(None),
            Some(Value::Text(_) | Value::Bytes(_)) | None => Err(WRONG_TYPE),
        }
    }

    /// The next column, a count: a revision, a number of rows.
    pub(in super::super) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.integer()?).map_err(|_| WRONG_TYPE)
    }

    /// The next column, bytes.
    pub(in super::super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.0.next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            Some(Value::Text(_) | Value::Integer(_) | Value::Null) | None => Err(WRONG_TYPE),
        }
    }

    /// The next column, a date and time.
    pub(in super::super) fn time(&mut self) -> Result<SystemTime, StoreError> {
        self.time_or_null()?.ok_or(WRONG_TYPE)
    }

    /// The next column, a date and time if there is one.
    pub(in super::super) fn time_or_null(&mut self) -> Result<Option<SystemTime>, StoreError> {
        let Some(ms) = self.integer_or_null()? else {
            return Ok(None);
        };
        let ms = u64::try_from(ms).map_err(|_| StoreError::corrupt("a date"))?;
        let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
        at.ok_or(StoreError::corrupt("a date")).map(Some)
    }

    /// The next column, JSON.
    pub(in super::super) fn json(&mut self) -> Result<Json, StoreError> {
        parse_json(&self.text()?)
    }

    /// The next column, JSON if there is any.
    pub(in super::super) fn json_or_null(&mut self) -> Result<Option<Json>, StoreError> {
        let text = self.text_or_null()?;
        text.as_deref().map(parse_json).transpose()
    }
}

const WRONG_TYPE: StoreError = StoreError::Corrupt {
    what: "a column is missing or of another type",
    source: None,
};

fn parse_json(text: &str) -> Result<Json, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::corrupt("a JSON text"))
}

/// Dates are kept as milliseconds since 1970, which every engine compares alike.
impl From<SystemTime> for Value {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Integer(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        Self::Text(json.to_string())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Conditions of a statement that come and go, with the values they compare with.
pub(in super::super) struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Those that always hold come first.
    pub(in super::super) fn new(first: &'static str) -> Self {
        Self {
            text: first.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds `comparison` (a column and an operator) with `value`.
    pub(in super::super) fn add(&mut self, comparison: &'static str, value: impl Into<Value>) {
        self.values.push(value.into());
        let number = self.values.len();
        self.text.push_str(&format!(" AND {comparison} ${number}"));
    }

    /// As [`Conditions::add`], if there is a value.
    pub(in super::super) fn add_some(
        &mut self,
        comparison: &'static str,
        value: Option<impl Into<Value>>,
    ) {
        if let Some(value) = value {
            self.add(comparison, value);
        }
    }

    /// Their text, and the values.
    pub(in super::super) fn finish(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }
}
