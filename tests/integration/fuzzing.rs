//! What is checked in for the fuzz targets (`tests/fuzz`) stays small, whole and of today.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The most inputs of one target, and the most bytes of one.
const INPUTS_MAX: usize = 100;
const INPUT_BYTES_MAX: usize = 4096;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn targets() -> BTreeSet<String> {
    let files = names(&fuzz().join("targets"));
    let name = |file: &String| file.strip_suffix(".rs").unwrap().to_owned();
    files.iter().map(name).collect()
}

#[test]
fn every_fuzz_target_is_built_documented_and_has_a_small_corpus() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let readme = fs::read_to_string(fuzz().join("README.md")).unwrap();
    let targets = targets();

    assert_eq!(names(&fuzz().join("corpus")), targets);
    for target in &targets {
        assert!(
            manifest.contains(&format!("path = \"targets/{target}.rs\"")),
            "{target}"
        );
        assert!(readme.contains(&format!("| `{target}` |")), "{target}");
        let corpus = fuzz().join("corpus").join(target);
        let inputs = names(&corpus);
        assert!(
            (1..=INPUTS_MAX).contains(&inputs.len()),
            "{target}: {}",
            inputs.len()
        );
        for input in inputs {
            let bytes = fs::read(corpus.join(&input)).unwrap();
            assert!(bytes.len() <= INPUT_BYTES_MAX, "{target}/{input}");
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("PRIVATE KEY"), "{target}/{input}");
        }
    }
}

#[test]
fn fuzz_targets_are_built_of_what_the_gateway_is_built_of() {
    let lock = fs::read_to_string(fuzz().join("Cargo.lock")).unwrap();
    let theirs = packages(&lock);
    let ours = packages(include_str!("../../Cargo.lock"));
    let known: BTreeSet<_> = ours.iter().map(|(name, _)| *name).collect();

    let differing: Vec<_> = theirs
        .iter()
        .filter(|(name, version)| known.contains(name) && !ours.contains(&(*name, *version)))
        .collect();

    assert!(theirs.len() > 100);
    assert!(
        differing.is_empty(),
        "copy Cargo.lock to tests/fuzz and run tests/fuzz/run once: {differing:?}"
    );
}

/// The names and versions that a lock file says.
fn packages(lock: &str) -> BTreeSet<(&str, &str)> {
    let blocks = lock.split("[[package]]").skip(1);
    let read = |block| Some((value(block, "name")?, value(block, "version")?));
    blocks.filter_map(read).collect()
}

fn value<'t>(block: &'t str, key: &str) -> Option<&'t str> {
    let (_, behind) = block.split_once(&format!("{key} = \""))?;
    behind.split('"').next()
}
