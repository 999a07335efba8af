//! The last report, copied to where it is checked in.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies the last run's `report.md` and plots to benches/results.
///
/// # Errors
///
/// A sentence: there is no report, or it says something that belongs to this machine alone.
pub(crate) fn keep() -> Result<PathBuf, String> {
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = [env!("CARGO_MANIFEST_DIR"), hostname.trim()];
    copy(&super::folder(), &to, &own)?;
    Ok(to)
}

/// The same from `from` to `to`, unless one of the files names what is this machine's `own`.
pub(crate) fn copy(from: &Path, to: &Path, own: &[&str]) -> Result<(), String> {
    let files = kept(from);
    if !files.iter().any(|file| file.ends_with("report.md")) {
        return Err("there is no report: run the benchmark first".to_owned());
    }
    for file in &files {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        if let Some(own) = own
            .iter()
            .find(|own| !own.is_empty() && is_named(&text, own))
        {
            let name = file.file_name().unwrap_or_default().display();
            return Err(format!("{name} names `{own}`, which is this machine's own"));
        }
    }
    fs::create_dir_all(to).map_err(|error| error.to_string())?;
    clear(to);
    for file in &files {
        let name = file.file_name().unwrap_or_default();
        fs::copy(file, to.join(name)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Whether `text` has `own` as a word: a machine may well be called `vm`, and stand on `kvm`.
fn is_named(text: &str, own: &str) -> bool {
    let is_edge = |beside: Option<char>| !beside.is_some_and(char::is_alphanumeric);
    text.match_indices(own).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + own.len()..]);
        is_edge(before.chars().next_back()) && is_edge(behind.chars().next())
    })
}

/// Takes away a report and its plots: loads that are not run any more leave no picture behind.
pub(crate) fn clear(folder: &Path) {
    for file in kept(folder) {
        let _ = fs::remove_file(file);
    }
}

/// The files of a report in `folder` that are for people to look at.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.ends_with("report.md") || path.extension().is_some_and(|e| e == "svg"))
        .collect();
    files.sort();
    files
}
