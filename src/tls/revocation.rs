//! Revocation lists: which certificates their issuers have taken back (RFC 5280 §5).
//!
//! # Invariants
//!
//! A list that cannot be read, or that says less than all of its issuer's (RFC 5280 §5.2.4: a delta),
//! is refused where it is configured; none is met for the first time in a handshake. Of several lists
//! of one issuer for one scope the newest counts alone; issuers that share a name and not a key are
//! two. A verifier looks into the first list under an issuer's name, and where another key signed it
//! refuses the certificate: what nobody can tell of is not let in.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::server::VerifierBuilderError;
use rustls::{CertRevocationListError, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, Der, TrustAnchor};
use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER as AUTHORITY_KEY_IDENTIFIER,
    OID_X509_EXT_ISSUER_DISTRIBUTION_POINT as ISSUING_DISTRIBUTION_POINT, Oid,
};
use x509_parser::revocation_list::CertificateRevocationList;

use super::{TlsError, provider};

/// One list.
struct List {
    der: CertificateRevocationListDer<'static>,
    /// Seconds since 1970.
    this_update: i64,
    next_update: i64,
}

/// Whose certificates a list is about, and which of them: its issuer's name, the key that signed it
/// (RFC 5280 §5.2.1) and its issuing distribution point (§5.2.5), all DER and none of them
/// understood: what cannot be read is a scope all the same.
#[derive(PartialEq, Eq, Hash)]
struct Scope {
    issuer: Vec<u8>,
    authority_key: Option<Vec<u8>>,
    distribution_point: Option<Vec<u8>>,
}

/// Checks that every revocation list of `pem` can be used.
///
/// # Errors
///
/// [`TlsError::NoRevocationList`] if there is none, [`TlsError::Pem`] or
/// [`TlsError::RevocationList`] if one cannot be used.
pub fn check_revocations(pem: &str) -> Result<(), TlsError> {
    let lists = revocation_lists(pem)?;
    // The verifier wants an anchor before it looks at a list; no certificate is issued by this one.
    let nobody = TrustAnchor {
        subject: Der::from_slice(&[]),
        subject_public_key_info: Der::from_slice(&[]),
        name_constraints: None,
    };
    let roots = RootCertStore {
        roots: vec![nobody],
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(lists)
        .build()
        .map(drop)
        .map_err(unusable)
}

/// The lists of `pem` that count.
///
/// # Errors
///
/// As [`check_revocations`]; what a verifier does not bear is found when one is built.
pub(super) fn revocation_lists(
    pem: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    Ok(newest(pem)?.into_iter().map(|list| list.der).collect())
}

/// When the first of the lists of `pem` that count is to have been replaced (RFC 5280 §5.1.2.5).
///
/// `None` if there is none that can be read.
pub fn next_update(pem: &str) -> Option<SystemTime> {
    let lists = newest(pem).ok()?;
    let first = lists.iter().map(|list| list.next_update).min()?;
    let seconds = u64::try_from(first).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// What a verifier says of lists.
pub(super) fn unusable(error: VerifierBuilderError) -> TlsError {
    match matches!(error, VerifierBuilderError::NoRootAnchors) {
        true => TlsError::NoAnchors(error),
        false => TlsError::RevocationList(error),
    }
}

/// The newest list of each scope, newest first: a verifier looks into the first that fits.
fn newest(pem: &str) -> Result<Vec<List>, TlsError> {
    let mut lists = Vec::new();
    for der in CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()) {
        lists.push(read(der.map_err(TlsError::from)?)?);
    }
    if lists.is_empty() {
        return Err(TlsError::NoRevocationList);
    }
    lists.sort_by_key(|(_, list): &(Scope, List)| Reverse(list.this_update));
    let mut seen = HashSet::new();
    let newest = lists
        .into_iter()
        .filter_map(|(scope, list)| seen.insert(scope).then_some(list));
    Ok(newest.collect())
}

fn read(der: CertificateRevocationListDer<'static>) -> Result<(Scope, List), TlsError> {
    let unreadable = || TlsError::RevocationList(CertRevocationListError::ParseError.into());
    let (rest, list) = x509_parser::parse_x509_crl(&der).map_err(|_| unreadable())?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    // RFC 5280 §5.1.2.5: "Conforming CRL issuers MUST include the nextUpdate field in all CRLs".
    let next_update = list.next_update().ok_or_else(unreadable)?.timestamp();
    let this_update = list.last_update().timestamp();
    let scope = scope(&list);
    let list = List {
        der,
        this_update,
        next_update,
    };
    Ok((scope, list))
}

fn scope(list: &CertificateRevocationList<'_>) -> Scope {
    let said = |oid: Oid<'_>| {
        let mut all = list.extensions().iter();
        let found = all.find(|extension| extension.oid == oid);
        found.map(|extension| extension.value.to_vec())
    };
    Scope {
        issuer: list.issuer().as_raw().to_vec(),
        authority_key: said(AUTHORITY_KEY_IDENTIFIER),
        distribution_point: said(ISSUING_DISTRIBUTION_POINT),
    }
}

#[cfg(test)]
mod tests;
