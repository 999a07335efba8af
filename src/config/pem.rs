//! Certificates, private keys and trust anchors, all PEM (RFC 7468).
//!
//! # Invariants
//!
//! A pair that was read matches, and anchors can be used. No private key stands where a connector's
//! certificates belong, which are no secret: files with both are common. What one load has checked
//! once is not checked again, however many connectors name it.

use std::sync::Arc;

use super::document::{Node, Written};
use super::error::Problem;
use super::files::{FILE_BYTES_MAX, Source, Sourced};
use super::reader::{self, Reader, Section};
use crate::connector::ClientCertificate;
use crate::secret::Secret;
use crate::tls::TlsError;
use crate::tls::revocation::check_revocations;

/// How PEM begins (RFC 7468 §2).
pub(super) const PEM_START: &str = "-----BEGIN ";

const PEM_FORM: &str = "{ file: PATH }, { env: NAME } or PEM text";
const JSON_PEM_FORM: &str = "PEM text";
/// Certificates are shown to whoever reads a connector, and kept unsealed.
const CERTIFICATES_ALONE: &str =
    "PEM certificates alone: a private key stands beside them, where it would be shown";
/// The same goes for these.
const LISTS_ALONE: &str =
    "PEM revocation lists alone: a private key stands beside them, where it would be shown";
const PLAIN_KEY: &str =
    "the private key stands in the configuration itself; write { file: PATH } or { env: NAME }";

impl<'d> Reader<'d> {
    /// What a certificate or private key may be written as.
    fn pem_form(&self) -> &'static str {
        match self.document.written {
            Written::Yaml => PEM_FORM,
            Written::Json => JSON_PEM_FORM,
        }
    }

    fn pem(
        &mut self,
        section: &Section<'d>,
        path: &reader::Path<'_>,
    ) -> Option<(Sourced, Sourced)> {
        let form = self.pem_form();
        let mut half = |key: &'static str| {
            let path = path.key(key);
            let Some(node) = section.optional(key) else {
                self.fault(section.place(key), &path, Problem::Required(form));
                return None;
            };
            let sourced = self.sourced(node, &path, form)?;
            if let Source::Inline(..) = sourced.source {
                if !sourced.text.contains(PEM_START) {
                    self.fault(node.at, &path, Problem::MustBe(form));
                    return None;
                }
                if key == "private_key" {
                    self.warn_of(node, &path, PLAIN_KEY);
                }
            }
            Some(sourced)
        };
        let certificate = half("certificate");
        let private_key = half("private_key");
        Some((certificate?, private_key?))
    }

    /// Reads the certificate and private key of `section`, which must be a pair.
    pub(super) fn key_pair(
        &mut self,
        section: &Section<'d>,
        path: &reader::Path<'_>,
    ) -> Option<ClientCertificate> {
        let (certificate, private_key) = self.pem(section, path)?;
        let pair = ClientCertificate {
            certificate_pem: certificate.text.to_string(),
            private_key_pem: Secret::new(private_key.text.to_string()),
        };
        let sources = (certificate.source.clone(), private_key.source.clone());
        if self.files.pairs.contains(&sources) {
            return Some(pair);
        }
        // Each half by itself first, so that the one that is wrong is named.
        let halves = [
            (
                "certificate",
                &certificate,
                crate::tls::client::certificates(&pair.certificate_pem).err(),
            ),
            (
                "private_key",
                &private_key,
                crate::tls::client::private_key(pair.private_key_pem.expose()).err(),
            ),
        ];
        let mut whole = true;
        for (key, half, error) in halves {
            if let Some(error) = error {
                whole = false;
                let problem = Problem::Pem(half.called(), error);
                self.fault(section.place(key), &path.key(key), problem);
            }
        }
        if !whole {
            return None;
        }
        if let Err(error) = crate::tls::client::check_pair(&pair) {
            self.fault(section.at, path, Problem::Tls(error));
            return None;
        }
        self.files.pairs.insert(sources);
        Some(pair)
    }

    /// As [`Reader::key_pair`], of a connector, whose certificate administrators see.
    pub(super) fn shown_pair(
        &mut self,
        section: &Section<'d>,
        path: &reader::Path<'_>,
    ) -> Option<ClientCertificate> {
        let pair = self.key_pair(section, path)?;
        if holds_private_key(&pair.certificate_pem) {
            let key = "certificate";
            let problem = Problem::MustBe(CERTIFICATES_ALONE);
            self.fault(section.place(key), &path.key(key), problem);
            return None;
        }
        Some(pair)
    }

    /// Reads PEM certificates that are to be trusted, checked by `check`.
    pub(super) fn bundle(
        &mut self,
        node: &'d Node,
        path: &reader::Path<'_>,
        check: fn(&str) -> Result<(), TlsError>,
    ) -> Option<Arc<str>> {
        self.judged(node, path, (Judges::Anchors, check))
    }

    /// Reads PEM revocation lists.
    pub(super) fn revocations(
        &mut self,
        node: &'d Node,
        path: &reader::Path<'_>,
    ) -> Option<Arc<str>> {
        self.judged(node, path, (Judges::Revocations, check_revocations))
    }

    fn judged(
        &mut self,
        node: &'d Node,
        path: &reader::Path<'_>,
        (judges, check): (Judges, Check),
    ) -> Option<Arc<str>> {
        let form = self.pem_form();
        let sourced = self.sourced(node, path, form)?;
        let source = (judges, sourced.source.clone());
        if let Some(bundle) = self.files.bundles.get(&source) {
            return Some(Arc::clone(bundle));
        }
        let inline = matches!(sourced.source, Source::Inline(..));
        let problem = if inline && !sourced.text.contains(PEM_START) {
            Some(Problem::MustBe(form))
        } else if sourced.text.len() > FILE_BYTES_MAX.as_usize() {
            let most = FILE_BYTES_MAX.to_string();
            Some(Problem::Long(sourced.called(), most))
        } else if let Err(error) = check(&sourced.text) {
            Some(Problem::Pem(sourced.called(), error))
        } else {
            holds_private_key(&sourced.text).then_some(Problem::MustBe(judges.alone()))
        };
        if let Some(problem) = problem {
            self.fault(node.at, path, problem);
            return None;
        }
        let bundle: Arc<str> = sourced.text.as_str().into();
        self.files.bundles.insert(source, Arc::clone(&bundle));
        Some(bundle)
    }
}

/// Whether a text can be used.
type Check = fn(&str) -> Result<(), TlsError>;

/// What certificates are judged by; one file may be read as either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Judges {
    Anchors,
    Revocations,
}

impl Judges {
    fn alone(self) -> &'static str {
        match self {
            Self::Anchors => CERTIFICATES_ALONE,
            Self::Revocations => LISTS_ALONE,
        }
    }
}

/// Whether a private key of any kind stands in `pem` (RFC 7468 §§10, 11, and those before it).
fn holds_private_key(pem: &str) -> bool {
    pem.contains("PRIVATE KEY-----")
}
