//! What a gateway refuses, as sentences.

use http::StatusCode;
use serde_json::Value;

use crate::cli::table::Table;
use crate::harmless::shown;

/// The sentences of a refusal: its detail, what is wrong with each field, how far a validation
/// came, and when to try again.
pub(in crate::cli) fn sentences(
    status: StatusCode,
    body: &Value,
    retry_after: Option<u64>,
) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(shown);
    let reason = text("type").unwrap_or_default();
    let reason = reason.rsplit(':').next().unwrap_or_default();
    let mut told = match (text("detail"), reason) {
        (Some(detail), "") => detail,
        (Some(detail), reason) => format!("{detail} ({reason})"),
        (None, _) => format!("the server answered {status}, which is no answer of a gateway's"),
    };
    let errors = body.get("errors").and_then(Value::as_array);
    for error in errors.into_iter().flatten() {
        let part = |name: &str| error.get(name).and_then(Value::as_str).map(shown);
        let field = part("field").filter(|field| !field.is_empty());
        let field = field.unwrap_or_else(|| "the whole".to_owned());
        told += &format!("\n  {field}: {}", part("detail").unwrap_or_default());
    }
    if let Some(walked) = body.get("legs").and_then(Value::as_array) {
        for line in legs(walked).lines() {
            told += &format!("\n  {line}");
        }
    }
    if let Some(seconds) = retry_after {
        told += &format!("\n  try again in {seconds} s");
    }
    if let Some(id) = text("request_id") {
        told += &format!("\n  request {id}");
    }
    told
}

/// How far a connector's way was walked.
pub(in crate::cli) fn legs(legs: &[Value]) -> String {
    let mut table = Table::new(["LEG", "OUTCOME", "WHAT"]);
    for leg in legs {
        let text = |name: &str| leg.get(name).and_then(Value::as_str);
        let name = match (text("leg"), text("step")) {
            (Some(leg), Some(step)) => format!("{leg} ({step})"),
            (leg, _) => leg.unwrap_or_default().to_owned(),
        };
        let what = ["found", "reason", "why", "hint"];
        let what: Vec<_> = what.into_iter().filter_map(text).collect();
        let outcome = text("outcome").unwrap_or_default().to_owned();
        table.row([name, outcome, what.join("; ")]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_of_a_refusal_is_told() {
        let body = json!({
            "type": "urn:attache:problem:invalid",
            "detail": "Some fields are wrong.",
            "request_id": "r-1",
            "errors": [{ "field": "/auth/basic", "detail": "is required" }, { "field": "", "detail": "must be an object" }],
            "legs": [{ "leg": "token", "step": "tls", "outcome": "failed", "reason": "no", "hint": "look" }],
        });

        let told = sentences(StatusCode::UNPROCESSABLE_ENTITY, &body, Some(7));

        assert_eq!(
            told,
            "Some fields are wrong. (invalid)\n  /auth/basic: is required\n  the whole: must be an \
             object\n  LEG          OUTCOME  WHAT\n  token (tls)  failed   no; look\n  try again in \
             7 s\n  request r-1"
        );
    }

    #[test]
    fn an_answer_of_something_else_is_not_repeated() {
        let told = sentences(StatusCode::BAD_GATEWAY, &json!("<html>\u{1b}[2J"), None);

        assert_eq!(
            told,
            "the server answered 502 Bad Gateway, which is no answer of a gateway's"
        );
    }
}
