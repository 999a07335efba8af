//! The records of the demonstration's resource domain, and as much of SOQL as the data-dip flow
//! speaks: `SELECT fields FROM object [WHERE field LIKE|= 'text']`.
//!
//! # Invariants
//!
//! Nothing is ever changed: an update is checked and forgotten.

use serde_json::{Map, Value, json};

/// The phone number that finds somebody.
pub(super) const PHONE: &str = "5550100199";
/// The contact with that number.
pub(super) const CONTACT_ID: &str = "0035g00000ATTACH1A";
/// That contact's case.
pub(super) const CASE_ID: &str = "5005g00000ATTACH1A";

const ACCOUNT_ID: &str = "0015g00000ATTACH1A";

/// One record: its fields in the order they are stored, by their proper names.
type Record = &'static [(&'static str, &'static str)];

/// The objects, each with its records.
const OBJECTS: [(&str, &[Record]); 3] = [
    (
        "Account",
        &[
            &[
                ("Id", ACCOUNT_ID),
                ("Name", "Northwind Traders"),
                ("Phone", "+15550100199"),
            ],
            &[
                ("Id", "0015g00000ATTACH2A"),
                ("Name", "Contoso"),
                ("Phone", "+15550100142"),
            ],
        ],
    ),
    (
        "Contact",
        &[
            &[
                ("Id", CONTACT_ID),
                ("Name", "Ada Example"),
                ("Phone", "+15550100199"),
                ("AccountId", ACCOUNT_ID),
            ],
            &[
                ("Id", "0035g00000ATTACH2A"),
                ("Name", "Grace Example"),
                ("Phone", "+15550100142"),
                ("AccountId", "0015g00000ATTACH2A"),
            ],
        ],
    ),
    (
        "Case",
        &[&[
            ("Id", CASE_ID),
            ("CaseNumber", "00001026"),
            ("ContactId", CONTACT_ID),
            ("AccountId", ACCOUNT_ID),
            ("Subject", "Order has not arrived"),
            ("Priority", "Medium"),
            ("Description", "Ordered two weeks ago."),
        ]],
    ),
];

/// Why a query has no answer, as Salesforce's REST API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadQuery {
    /// Not of the shape that is understood.
    #[error("write SELECT fields FROM object [WHERE field LIKE|= 'text']")]
    Malformed,
    /// No such object.
    #[error("this object is not known; there are Account, Contact and Case")]
    UnknownObject,
    /// No such field.
    #[error("this object has no such field")]
    UnknownField,
}

impl BadQuery {
    /// The `errorCode`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED_QUERY",
            Self::UnknownObject => "INVALID_TYPE",
            Self::UnknownField => "INVALID_FIELD",
        }
    }
}

/// Answers `soql`; `data_path` is where the records' own URLs begin.
pub(super) fn query(soql: &str, data_path: &str) -> Result<Value, BadQuery> {
    let query = Query::parse(soql)?;
    let (object, records) = OBJECTS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(query.object))
        .ok_or(BadQuery::UnknownObject)?;
    let mut found = Vec::new();
    for record in *records {
        let selected = query
            .fields
            .iter()
            .map(|name| field(record, name))
            .collect::<Result<Vec<_>, _>>()?;
        if query.matches(record)? {
            found.push(shown(object, record, &selected, data_path)?);
        }
    }
    Ok(json!({ "totalSize": found.len(), "done": true, "records": found }))
}

/// Whether there is a case `id`.
pub(super) fn is_case(id: &str) -> bool {
    id == CASE_ID
}

/// A record as the REST API shows it: always with its `attributes`.
fn shown(
    object: &str,
    record: Record,
    selected: &[(&'static str, &'static str)],
    data_path: &str,
) -> Result<Value, BadQuery> {
    let (_, id) = field(record, "Id")?;
    let url = format!("{data_path}/sobjects/{object}/{id}");
    let mut shown = Map::new();
    shown.insert("attributes".into(), json!({ "type": object, "url": url }));
    for (name, value) in selected {
        shown.insert((*name).into(), (*value).into());
    }
    Ok(Value::Object(shown))
}

/// The field under its proper name; SOQL's own names know no case.
fn field(record: Record, name: &str) -> Result<(&'static str, &'static str), BadQuery> {
    record
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .copied()
        .ok_or(BadQuery::UnknownField)
}

struct Query<'a> {
    fields: Vec<&'a str>,
    object: &'a str,
    condition: Option<Condition<'a>>,
}

struct Condition<'a> {
    field: &'a str,
    comparison: Comparison,
    literal: &'a str,
}

#[derive(Clone, Copy)]
enum Comparison {
    Equals,
    Like,
}

impl<'a> Query<'a> {
    fn parse(soql: &'a str) -> Result<Self, BadQuery> {
        let rest = after_word(soql, "SELECT").ok_or(BadQuery::Malformed)?;
        let (fields, rest) = split_at_word(rest, "FROM").ok_or(BadQuery::Malformed)?;
        let fields: Vec<_> = fields.split(',').map(str::trim).collect();
        let (object, condition) = match split_at_word(rest, "WHERE") {
            Some((object, condition)) => (object.trim(), Some(Condition::parse(condition)?)),
            None => (rest.trim(), None),
        };
        if !is_name(object) || !fields.iter().all(|field| is_name(field)) {
            return Err(BadQuery::Malformed);
        }
        Ok(Self {
            fields,
            object,
            condition,
        })
    }

    fn matches(&self, record: Record) -> Result<bool, BadQuery> {
        let Some(condition) = &self.condition else {
            return Ok(true);
        };
        let (_, value) = field(record, condition.field)?;
        Ok(match condition.comparison {
            Comparison::Equals => value.eq_ignore_ascii_case(condition.literal),
            Comparison::Like => is_like(
                value.to_ascii_lowercase().as_bytes(),
                condition.literal.to_ascii_lowercase().as_bytes(),
            ),
        })
    }
}

impl<'a> Condition<'a> {
    fn parse(text: &'a str) -> Result<Self, BadQuery> {
        let (left, quoted) = text.trim().split_once('\'').ok_or(BadQuery::Malformed)?;
        let literal = quoted.strip_suffix('\'').ok_or(BadQuery::Malformed)?;
        let (field, comparison) = match left.trim().strip_suffix('=') {
            Some(field) => (field.trim(), Comparison::Equals),
            None => match split_at_word(left, "LIKE") {
                Some((field, "")) => (field.trim(), Comparison::Like),
                Some(_) | None => return Err(BadQuery::Malformed),
            },
        };
        if !is_name(field) || literal.contains('\'') {
            return Err(BadQuery::Malformed);
        }
        Ok(Self {
            field,
            comparison,
            literal,
        })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What follows `word` at the beginning of `text`.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    match split_at_word(text, word)? {
        ("", rest) => Some(rest),
        (_, _) => None,
    }
}

/// `text` before and after the first `word` that stands alone, in any case, without the blanks.
fn split_at_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut at = 0;
    for token in text.split_inclusive(char::is_whitespace) {
        if token.trim().eq_ignore_ascii_case(word) {
            return Some((text[..at].trim(), text[at + token.len()..].trim()));
        }
        at += token.len();
    }
    None
}

/// SQL's LIKE: `%` is any text, `_` any one byte. Walks once, falling back to the last `%`.
fn is_like(value: &[u8], pattern: &[u8]) -> bool {
    let (mut v, mut p) = (0, 0);
    let mut fallback = None;
    while v < value.len() {
        match pattern.get(p) {
            Some(b'%') => {
                fallback = Some((p + 1, v));
                p += 1;
            }
            Some(byte) if *byte == b'_' || *byte == value[v] => {
                v += 1;
                p += 1;
            }
            Some(_) | None => match fallback {
                Some((after, from)) => {
                    fallback = Some((after, from + 1));
                    (p, v) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "/services/data/v52.0";

    #[test]
    fn what_is_no_query_is_refused_with_its_reason() {
        for (soql, expected) in [
            ("", BadQuery::Malformed),
            ("SELECT Id", BadQuery::Malformed),
            ("DELETE Id FROM Account", BadQuery::Malformed),
            ("x SELECT Id FROM Account", BadQuery::Malformed),
            ("SELECT FROM Account", BadQuery::Malformed),
            ("SELECT Id,,Name FROM Account", BadQuery::Malformed),
            ("SELECT Id FROM Account LIMIT 1", BadQuery::Malformed),
            ("SELECT Id FROM Account WHERE Name", BadQuery::Malformed),
            (
                "SELECT Id FROM Account WHERE Name > 'a'",
                BadQuery::Malformed,
            ),
            (
                "SELECT Id FROM Account WHERE Name = 'a",
                BadQuery::Malformed,
            ),
            (
                "SELECT Id FROM Account WHERE Name = 'a' OR Id = 'b'",
                BadQuery::Malformed,
            ),
            ("SELECT Id FROM Lead", BadQuery::UnknownObject),
            ("SELECT Shoe FROM Account", BadQuery::UnknownField),
            (
                "SELECT Id FROM Account WHERE Shoe = '42'",
                BadQuery::UnknownField,
            ),
        ] {
            assert_eq!(query(soql, DATA), Err(expected), "{soql}");
        }
    }

    #[test]
    fn a_number_nobody_has_finds_nothing() {
        let found = query("SELECT Id FROM Account WHERE Phone LIKE '%0000%'", DATA);

        assert_eq!(
            found,
            Ok(json!({ "totalSize": 0, "done": true, "records": [] }))
        );
    }

    #[test]
    fn the_data_dip_goes_from_number_to_contact_to_case() {
        // As the flow writes them: names in any case, no blanks around the equals sign.
        let account = query(
            &format!("SELECT id,name,phone from Account WHERE Phone LIKE '%{PHONE}%'"),
            DATA,
        )
        .unwrap();
        let contact = query(
            &format!("SELECT id,Name FROM Contact WHERE Phone LIKE '%{PHONE}%'"),
            DATA,
        )
        .unwrap();
        let contact_id = contact["records"][0]["Id"].as_str().unwrap();
        let case = query(
            &format!(
                "SELECT Id,CaseNumber,ContactId,accountId,Subject,Priority,Description FROM Case \
                 WHERE ContactId='{contact_id}'"
            ),
            DATA,
        )
        .unwrap();

        assert_eq!(
            account,
            json!({
                "totalSize": 1,
                "done": true,
                "records": [{
                    "attributes": {
                        "type": "Account",
                        "url": format!("{DATA}/sobjects/Account/{ACCOUNT_ID}"),
                    },
                    "Id": ACCOUNT_ID,
                    "Name": "Northwind Traders",
                    "Phone": "+15550100199",
                }],
            })
        );
        assert_eq!(case["totalSize"], 1);
        assert_eq!(case["records"][0]["AccountId"], ACCOUNT_ID);
        assert!(is_case(case["records"][0]["Id"].as_str().unwrap()));
    }

    #[test]
    fn like_reads_its_wildcards() {
        for (value, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("abc", "%", true),
            ("abc", "a%c", true),
            ("abc", "%b%", true),
            ("aab", "%ab", true),
            ("abc", "a_c", true),
            ("abc", "ab", false),
            ("abc", "%b", false),
            ("abc", "", false),
            ("ac", "a_c", false),
        ] {
            assert_eq!(
                is_like(value.as_bytes(), pattern.as_bytes()),
                expected,
                "{value} LIKE {pattern}"
            );
        }
    }
}
