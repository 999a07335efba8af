//! What came of a walk.

use serde::Serialize;

/// What came of one connector's walk: its legs, in the order they are walked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every leg of its way.
    pub legs: Vec<Leg>,
}

/// A part of a connector's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// `resolve`, `connect`, `tls`, `token`, `validation` or `probe`.
    #[serde(rename = "leg")]
    pub name: &'static str,
    /// Where on the way to a place of its own it failed: `resolve`, `connect` or `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: LegOutcome,
}

/// How a leg went. Holds no secret, no token and no text of another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum LegOutcome {
    /// Well.
    Good {
        /// What was found: an address, a version, a status.
        found: String,
    },
    /// Not at all.
    Failed {
        /// Why.
        reason: String,
        /// What to look at.
        hint: &'static str,
    },
    /// It was not walked.
    Skipped {
        /// Why not.
        why: &'static str,
    },
}

/// A leg that did not go well, where the walk ends.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) leg: &'static str,
    pub(super) step: Option<&'static str>,
    pub(super) reason: String,
    pub(super) hint: &'static str,
}

/// For the legs behind one that failed.
const NOT_REACHED: &str = "a leg before it failed";

impl Report {
    /// The leg that failed, if one did.
    pub fn failed(&self) -> Option<&Leg> {
        let failed = |leg: &&Leg| matches!(leg.outcome, LegOutcome::Failed { .. });
        self.legs.iter().find(failed)
    }

    /// What was `walked`, where it `broke`, and whatever else of `way` was not come to.
    pub(super) fn of(
        way: impl IntoIterator<Item = &'static str>,
        walked: Vec<Leg>,
        broken: Option<Broken>,
    ) -> Self {
        let broken = broken.map(|broken| Leg {
            name: broken.leg,
            step: broken.step,
            outcome: LegOutcome::Failed {
                reason: broken.reason,
                hint: broken.hint,
            },
        });
        let mut told: Vec<Leg> = walked.into_iter().chain(broken).collect();
        let legs = way.into_iter().map(|name| {
            let at = told.iter().position(|leg| leg.name == name);
            at.map_or_else(
                || Leg::skipped(name, NOT_REACHED),
                |at| told.swap_remove(at),
            )
        });
        Self {
            legs: legs.collect(),
        }
    }
}

impl Leg {
    pub(super) fn good(name: &'static str, found: String) -> Self {
        Self {
            name,
            step: None,
            outcome: LegOutcome::Good { found },
        }
    }

    pub(super) fn skipped(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            step: None,
            outcome: LegOutcome::Skipped { why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_a_leg_that_failed_is_skipped() {
        let broken = Broken {
            leg: "connect",
            step: None,
            reason: "refused".to_owned(),
            hint: "look",
        };
        let walked = vec![Leg::good("resolve", "::1".to_owned())];

        let report = Report::of(["resolve", "connect", "tls"], walked, Some(broken));

        assert_eq!(report.failed().map(|leg| leg.name), Some("connect"));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"legs":[{"leg":"resolve","outcome":"good","found":"::1"},"#,
                r#"{"leg":"connect","outcome":"failed","reason":"refused","hint":"look"},"#,
                r#"{"leg":"tls","outcome":"skipped","why":"a leg before it failed"}]}"#
            )
        );
    }
}
