//! Instruction counts that are checked in: some goals are held by them, because no time tells them.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// What walks cost in instructions, as `cargo bench --bench instructions` holds them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Counts {
    walks: Vec<Walk>,
}

#[derive(Debug, Deserialize)]
struct Walk {
    walk: String,
    instructions: f64,
}

impl Counts {
    /// Those of the commit that is measured; none where there are none.
    pub(crate) fn checked_in() -> Self {
        let baseline = "benches/instructions/baseline.json";
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(baseline);
        let json = fs::read_to_string(file).unwrap_or_default();
        serde_json::from_str(&json).unwrap_or_default()
    }

    /// How many times what `other` costs.
    pub(crate) fn ratio(&self, walk: &str, other: &str) -> Option<f64> {
        let of = |name: &str| {
            let mut all = self.walks.iter();
            Some(all.find(|one| one.walk == name)?.instructions)
        };
        Some(of(walk)? / of(other)?)
    }
}
