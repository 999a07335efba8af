//! Pages of lists, and what a query may say.
//!
//! # Invariants
//!
//! A query is read strictly: a parameter that is unknown or given twice is a fault.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;

use super::problem::{FieldError, Problem};

/// The longest `after`.
const AFTER_CHARS_MAX: usize = 200;
/// How many of a list's items one page has at most.
const LIMIT_MAX: u32 = 200;
/// How many it has if nobody says.
const LIMIT_DEFAULT: u32 = 50;

/// One page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Page<T> {
    /// The items, in the list's order.
    pub(super) items: Vec<T>,
    /// What `after` is to be for the next page; null on the last one.
    #[schema(required)]
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The page of at most `limit` items: read `limit + 1` of them to know whether more follow.
    /// `key` is what an item is found by.
    pub(super) fn of(mut items: Vec<T>, limit: u32, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Self { items, next }
    }
}

/// The parameters of a query, each once, decoded.
pub(super) struct Query {
    parameters: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl Query {
    /// The text of `name`, which is taken out, of at most `chars_max` characters.
    pub(super) fn text(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let short = |text: &str| (text.chars().count() <= chars_max).then(|| text.to_owned());
        self.read(name, &format!("at most {chars_max} characters"), short)
    }

    /// `after`: the item behind which the page begins.
    pub(super) fn after(&mut self) -> Option<String> {
        self.text("after", AFTER_CHARS_MAX)
    }

    /// `name` as `read` understands it; what it does not is a fault that says `form`.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.parameters.remove(name)?;
        let value = read(&text);
        if value.is_none() {
            self.fault(name, format!("must be {form}"));
        }
        value
    }

    /// `limit`: how many items the page may have.
    pub(super) fn limit(&mut self) -> u32 {
        let within = |text: &str| {
            u32::from_str(text)
                .ok()
                .filter(|n| (1..=LIMIT_MAX).contains(n))
        };
        self.read("limit", "a whole number from 1 to 200", within)
            .unwrap_or(LIMIT_DEFAULT)
    }

    /// Notes what is wrong with `name`.
    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("?{name}"),
            detail: detail.into(),
        });
    }

    /// Ends the reading: nothing may be left over.
    ///
    /// # Errors
    ///
    /// `invalid` with everything that was wrong.
    pub(super) fn done(mut self) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.parameters).into_keys() {
            self.fault(&name, "is unknown here");
        }
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem::invalid(self.errors)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = Self {
            parameters: BTreeMap::new(),
            errors: Vec::new(),
        };
        let text = parts.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let name = name.into_owned();
            if query
                .parameters
                .insert(name.clone(), value.into_owned())
                .is_some()
            {
                query.fault(&name, "is given twice");
            }
        }
        Ok(query)
    }
}
