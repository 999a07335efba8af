//! The walls between the rooms: who may name whom, read from the source itself.

use std::path::{Path, PathBuf};

/// Rooms, and those they never name. `gateway` and `cli` alone know both planes.
const WALLS: &[(&str, &[&str])] = &[
    ("proxy", &["control", "gateway", "cli"]),
    ("control", &["proxy", "gateway", "cli"]),
    ("directory", &["proxy", "control", "gateway", "cli"]),
    (
        "credential",
        &["directory", "proxy", "control", "gateway", "cli"],
    ),
    ("tls", &["directory", "proxy", "control", "gateway", "cli"]),
    (
        "connector",
        &[
            "directory",
            "proxy",
            "control",
            "credential",
            "tls",
            "dial",
            "config",
            "gateway",
            "cli",
        ],
    ),
];

/// One source file.
struct Source {
    /// Relative to `src`.
    path: PathBuf,
    /// Its text without comments and literals.
    code: String,
}

impl Source {
    /// The room it belongs to: its directory, or its own name at the top.
    fn room(&self) -> &str {
        let first = self.path.components().next().unwrap().as_os_str();
        first.to_str().unwrap().trim_end_matches(".rs")
    }

    /// Whether it names `room` by a path that starts at the crate or above itself.
    fn names(&self, room: &str) -> bool {
        roots(&self.code).iter().any(|root| root == room)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = without_comments_and_literals(&std::fs::read_to_string(&path).unwrap());
                let path = path.strip_prefix(&root).unwrap().to_owned();
                found.push(Source { path, code });
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The first names of all paths that start with `crate::`, `attache::` or `super::`, those within
/// braces too.
fn roots(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if matches!(pair[0], "crate" | "attache" | "super") && pair[1] == "::" {
            heads(&tokens[at + 2..], &mut found);
        }
    }
    found
}

/// The first names of the path or group of paths that `tokens` start with.
fn heads(tokens: &[&str], found: &mut Vec<String>) {
    if tokens.first() != Some(&"{") {
        found.extend(tokens.first().map(|&token| token.to_owned()));
        return;
    }
    let mut depth = 0_usize;
    for pair in tokens.windows(2) {
        match pair[0] {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
        if depth == 1 && matches!(pair[0], "{" | ",") {
            found.push(pair[1].to_owned());
        }
    }
}

fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            end.unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        found.push(token);
        rest = after.trim_start();
    }
    found
}

/// Blanks what is not code. Lifetimes keep their quote, which no rule here looks at.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(fence) = raw_fence(rest) {
            let close = format!("\"{}", "#".repeat(fence));
            let body = fence + 2;
            rest[body..]
                .find(&close)
                .map_or(rest.len(), |end| body + end + close.len())
        } else if first == '"' {
            quoted_length(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(rest.len(), |end| 2 + end + 1)
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The number of `#` of a raw string that starts here.
fn raw_fence(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let fence = after.len() - after.trim_start_matches('#').len();
    after[fence..].starts_with('"').then_some(fence)
}

fn quoted_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn no_room_names_one_behind_its_wall() {
    let mut breaches = Vec::new();
    for source in sources() {
        let walls = WALLS.iter().filter(|(room, _)| *room == source.room());
        for forbidden in walls.flat_map(|(_, forbidden)| *forbidden) {
            if source.names(forbidden) {
                breaches.push(format!("src/{} names {forbidden}", source.path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// Whoever would have certificates or names believed unseen has to name one of these.
const UNSEEN: &[&str] = &[
    "dangerous",
    "set_certificate_verifier",
    "ServerCertVerifier",
    "ServerCertVerified",
    "HandshakeSignatureValid",
    "with_custom_certificate_verifier",
    "DangerousClientConfigBuilder",
];

#[test]
fn nothing_turns_the_verification_of_servers_off() {
    for source in sources() {
        for name in tokens(&source.code) {
            let path = source.path.display();
            assert!(!UNSEEN.contains(&name), "src/{path} names {name}");
            // TLS 1.2 and 1.3, as rustls offers them, and no choice of them anywhere.
            assert_ne!(name, "with_protocol_versions", "src/{path}");
        }
    }
    let reference = include_str!("../../config/reference.yaml").to_lowercase();
    for word in [
        "insecure",
        "skip_verify",
        "verify_",
        "min_version",
        "ciphers",
    ] {
        assert!(!reference.contains(word), "a key says {word}");
    }
}

#[test]
fn only_the_composition_root_knows_both_planes() {
    for source in sources() {
        let both = source.names("proxy") && source.names("control");
        let may = matches!(source.room(), "gateway" | "cli");
        assert!(
            may || !both,
            "src/{} knows both planes",
            source.path.display()
        );
    }
}

#[test]
fn only_the_clock_asks_what_time_it_is() {
    for source in sources().iter().filter(|source| source.room() != "clock") {
        for question in ["Instant::now", "SystemTime::now", ".elapsed()"] {
            let asks = source.code.contains(question);
            assert!(!asks, "src/{} calls {question}", source.path.display());
        }
    }
}

#[test]
fn only_tls_names_a_crypto_provider() {
    for source in sources().iter().filter(|source| source.room() != "tls") {
        let names = source.code.contains("default_provider") || source.names("CryptoProvider");
        assert!(!names, "src/{} names a provider", source.path.display());
    }
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    for code in [
        "use crate::control;",
        "use crate::control::api;",
        "use crate::{clock::Clock, control};",
        "use crate::{clock::{Clock, Turned}, control::{self}};",
        "use super::control;",
        "use attache::control;",
        "fn f() { crate :: control :: g() }",
    ] {
        let found = roots(&without_comments_and_literals(code));
        assert!(
            found.iter().any(|root| root == "control"),
            "{code}: {found:?}"
        );
    }
}

#[test]
fn other_words_are_no_breach() {
    for code in [
        "// use crate::control;",
        "/* crate::control */",
        "let a = \"crate::control \\\" crate::control\";",
        "let a = r#\"crate::control\"#; let b = '\"';",
        "use crate::clock::control;",
        "use crate::{clock::{control}};",
        "use crate::controls;",
        "fn f<'a>(control: &'a str) {}",
    ] {
        let found = roots(&without_comments_and_literals(code));
        assert!(
            !found.iter().any(|root| root == "control"),
            "{code}: {found:?}"
        );
    }
}
