//! A signed token taken apart, and what its claims have to say.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::connector::SigningAlgorithm;

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the provider's clock may be from ours.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);
/// The kinds of token that an administrator may show, in lower case: those without a kind of their
/// own (RFC 7519 §5.1), and access tokens (RFC 9068 §4). Others were made for another purpose
/// (RFC 8725 §3.11).
const TYPES: [&str; 4] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];

/// A token as it was shown: nothing in it is believed yet.
pub(super) struct Shown<'t> {
    pub(super) algorithm: SigningAlgorithm,
    pub(super) kid: Option<String>,
    /// What the signature is of (RFC 7515 §5.1).
    pub(super) signed: &'t str,
    /// The signature, in base64.
    pub(super) signature: &'t str,
    pub(super) claims: Value,
}

impl<'t> Shown<'t> {
    /// Takes `token` apart, if it says to be signed with one of `algorithms` (RFC 8725 §3.1).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(
        token: &'t str,
        algorithms: &[SigningAlgorithm],
    ) -> Result<Self, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it is no JWT")?;
        let (head, claims) = signed.split_once('.').ok_or("it is no JWT")?;
        if claims.contains('.') {
            return Err("it is no signed JWT");
        }
        let head = object(head).ok_or("its head cannot be read")?;
        // No extension is known here (RFC 7515 §4.1.11).
        if head.contains_key("crit") {
            return Err("it wants an extension understood");
        }
        let is_of_a_kind = |typ: &Value| {
            let typ = typ.as_str().map(str::to_ascii_lowercase);
            typ.is_some_and(|typ| TYPES.contains(&typ.as_str()))
        };
        if !head.get("typ").is_none_or(is_of_a_kind) {
            return Err("it is a token of another kind");
        }
        let kid = match head.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("its kid is no text"),
        };
        let algorithm = algorithm(&head)
            .filter(|algorithm| algorithms.contains(algorithm))
            .ok_or("it is not signed as it has to be")?;
        Ok(Self {
            algorithm,
            kid,
            signed,
            signature,
            claims: Value::Object(object(claims).ok_or("its claims cannot be read")?),
        })
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn algorithm(head: &Map<String, Value>) -> Option<SigningAlgorithm> {
    match head.get("alg")?.as_str()? {
        "RS256" => Some(SigningAlgorithm::Rs256),
        "PS256" => Some(SigningAlgorithm::Ps256),
        "ES256" => Some(SigningAlgorithm::Es256),
        _ => None,
    }
}

/// Checks the claims of a token whose signature is good (RFC 7519 §4.1, RFC 9068 §4).
///
/// # Errors
///
/// What is wrong with them.
pub(super) fn check(
    claims: &Value,
    issuer: &str,
    audience: &str,
    now: SystemTime,
) -> Result<(), &'static str> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err("it is of another issuer");
    }
    let is_ours = |aud: &Value| aud.as_str() == Some(audience);
    let named = claims.get("aud").is_some_and(|aud| match aud {
        Value::Array(all) => all.iter().any(is_ours),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            is_ours(aud)
        }
    });
    if !named {
        return Err("it is meant for another audience");
    }
    // Whoever holds such a token has to prove it in a way that is not looked for here (RFC 7800 §3,
    // RFC 8705 §3, RFC 9449 §7).
    if claims.get("cnf").is_some() {
        return Err("it is bound to a key");
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (now, leeway) = (now.as_secs_f64(), LEEWAY.as_secs_f64());
    let expires = date(claims, "exp")?.ok_or("it has no end")?;
    if now >= expires + leeway {
        return Err("it has expired");
    }
    let later = |at: Option<f64>| at.is_some_and(|at| now + leeway < at);
    if later(date(claims, "nbf")?) {
        return Err("it is not valid yet");
    }
    if later(date(claims, "iat")?) {
        return Err("it was issued in the future");
    }
    Ok(())
}

fn date(claims: &Value, name: &str) -> Result<Option<f64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or("one of its dates is no number"),
    }
}
