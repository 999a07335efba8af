//! What the counts depend on beside the source, asked of the things themselves.

use std::path::Path;

use super::baseline::Tools;

/// How a compiler signs what it builds.
const SIGNATURE: &[u8] = b"rustc version ";

/// What `attache` was built by, and what counts it.
pub(crate) fn of(attache: &Path, valgrind: String) -> Tools {
    Tools {
        rustc: compiler(&std::fs::read(attache).unwrap()),
        processor: processor(),
        valgrind,
    }
}

/// The compiler's version, as it stands in the program: what `rustc --version` says may be another.
fn compiler(program: &[u8]) -> String {
    let at = program
        .windows(SIGNATURE.len())
        .position(|at| at == SIGNATURE);
    let Some(at) = at else {
        return "unknown".to_owned();
    };
    let version = &program[at + SIGNATURE.len()..];
    let end = version.iter().position(|byte| matches!(byte, b')' | 0));
    let version = String::from_utf8_lossy(&version[..end.unwrap_or(0)]);
    version.replace(" (", " ")
}

/// The features by which aws-lc and the C library choose their code, as far as valgrind has them.
#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let features = [
        ("aes", std::is_x86_feature_detected!("aes")),
        ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("bmi2", std::is_x86_feature_detected!("bmi2")),
    ];
    let has = features.iter().filter(|(_, has)| *has);
    let names: Vec<_> = has.map(|(name, _)| *name).collect();
    format!("x86_64 {}", names.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}
