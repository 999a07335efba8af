//! What came of a test, as it is answered and described.

use serde::Serialize;
use utoipa::ToSchema;

use crate::control::validate::{self, LegOutcome, Report};

/// What came of walking a connector's way.
#[derive(Serialize, ToSchema)]
pub(in crate::control::api) struct TestReport {
    /// Whether no leg failed.
    passed: bool,
    /// Every leg, in the order they are walked.
    legs: Vec<Leg>,
}

/// A part of a connector's way.
#[derive(Serialize, ToSchema)]
pub(in crate::control::api) struct Leg {
    /// `resolve`, `connect`, `tls`, `token`, `validation` or `probe`.
    #[schema(example = "token")]
    leg: &'static str,
    /// Where on the way to a place of its own it failed: `resolve`, `connect` or `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    step: Option<&'static str>,
    /// How it went.
    outcome: Outcome,
    /// What was found, of a good one: an address, a version, a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    found: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// What to look at, of one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<&'static str>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    why: Option<&'static str>,
}

/// How a leg went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Good,
    Failed,
    Skipped,
}

/// What is answered to a test.
pub(in crate::control::api) fn test_report(report: &Report) -> TestReport {
    TestReport {
        passed: report.failed().is_none(),
        legs: legs(report),
    }
}

/// How far a validation came.
pub(in crate::control::api) fn legs(report: &Report) -> Vec<Leg> {
    report.legs.iter().map(leg).collect()
}

fn leg(leg: &validate::Leg) -> Leg {
    let (name, step) = (leg.name, leg.step);
    let bare = |outcome| Leg {
        leg: name,
        step,
        outcome,
        found: None,
        reason: None,
        hint: None,
        why: None,
    };
    match &leg.outcome {
        LegOutcome::Good { found } => Leg {
            found: Some(found.clone()),
            ..bare(Outcome::Good)
        },
        LegOutcome::Failed { reason, hint } => Leg {
            reason: Some(reason.clone()),
            hint: Some(*hint),
            ..bare(Outcome::Failed)
        },
        LegOutcome::Skipped { why } => Leg {
            why: Some(*why),
            ..bare(Outcome::Skipped)
        },
    }
}
