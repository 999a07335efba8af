//! `admin.oidc`: whose tokens administrators may show beside the gateway's own.

use std::collections::BTreeMap;

use super::Oidc;
use super::connectors::https_url;
use super::document::Node;
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use crate::connector::{Organization, ResourceDomain, Role, SigningAlgorithm};
use crate::tls::client::check_anchors;

pub(super) const OIDC_KEYS: &[&str] = &[
    "issuer",
    "audience",
    "jwks_url",
    "ca_bundle",
    "role_claim",
    "roles",
    "organization_claim",
    "organization",
    "algorithms",
];
/// The most values of the role claim that are mapped.
const ROLES_MAX: usize = 1_000;
const ROLE_CLAIM: &str = "roles";
const ALGORITHMS: [(&str, SigningAlgorithm); 3] = [
    ("RS256", SigningAlgorithm::Rs256),
    ("PS256", SigningAlgorithm::Ps256),
    ("ES256", SigningAlgorithm::Es256),
];

const ISSUER_FORM: &str = "the issuer identifier as it stands in the tokens: an https:// URL";
const AUDIENCE_FORM: &str = "what the issuer calls this gateway in `aud`";
const CLAIM_FORM: &str =
    "a claim's name, or the JSON pointer of a nested one (/realm_access/roles)";
const ROLES_FORM: &str = "a mapping of the claim's values to roles; at least one";
const ROLE_FORM: &str =
    "one of the roles, such as full-admin or external-read-only-admin (`attache admin --help`)";
const ALGORITHMS_FORM: &str = "a list of RS256, PS256, ES256; at least one";
const ORGANIZATION_FORM: &str = "an organization of 1 to 64 of a-z, 0-9 and '-'";

/// Reads `admin.oidc`; null is none.
pub(super) fn oidc<'d>(
    reader: &mut Reader<'d>,
    admin: &Section<'d>,
    path: &Path<'_>,
) -> Option<Oidc> {
    let path = &path.key("oidc");
    let node = admin.optional("oidc")?;
    let section = &reader.mapping(node, path, OIDC_KEYS)?;
    let issuer = issuer(reader, section, path);
    let audience = reader.required_text(section, path, "audience", AUDIENCE_FORM);
    let jwks = section.optional("jwks_url");
    let jwks_url = jwks.and_then(|node| https_url(reader, node, &path.key("jwks_url")));
    let bundle = section.optional("ca_bundle");
    let ca_bundle =
        bundle.and_then(|node| reader.bundle(node, &path.key("ca_bundle"), check_anchors));
    let role_claim = reader.optional_text(section, path, "role_claim", CLAIM_FORM);
    let organization_claim = reader.optional_text(section, path, "organization_claim", CLAIM_FORM);
    let roles = roles(reader, section, path);
    let organization = organization(reader, section, path);
    let algorithms = algorithms(reader, section, path);
    Some(Oidc {
        issuer: issuer?.to_owned(),
        audience: audience?.to_owned(),
        jwks_url,
        ca_bundle,
        role_claim: role_claim.unwrap_or(ROLE_CLAIM).to_owned(),
        roles,
        organization_claim: organization_claim.map(str::to_owned),
        organization,
        algorithms,
    })
}

/// The text stays as it is written, since tokens repeat it to the letter. It has neither query nor
/// fragment (OpenID Connect Discovery 1.0 §2), as a resource domain has none.
fn issuer<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Option<&'d str> {
    let text = reader.required_text(section, path, "issuer", ISSUER_FORM)?;
    ResourceDomain::parse(text)
        .map(|_| text)
        .map_err(|error| {
            let at = section.place("issuer");
            reader.fault(at, &path.key("issuer"), Problem::Url(error));
        })
        .ok()
}

fn roles<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> BTreeMap<String, Role> {
    let path = &path.key("roles");
    let mut roles = BTreeMap::new();
    let Some(node) = section.optional("roles") else {
        reader.fault(section.place("roles"), path, Problem::Required(ROLES_FORM));
        return roles;
    };
    let entries = reader.entries(node, path, ROLES_MAX);
    if entries.is_empty() {
        reader.fault(node.at, path, Problem::MustBe(ROLES_FORM));
    }
    for entry in entries {
        let Some(text) = reader.text(&entry.value, path, ROLE_FORM) else {
            continue;
        };
        match text.parse() {
            Ok(role) => {
                roles.insert(entry.key.clone(), role);
            }
            Err(_) => reader.fault(entry.value.at, path, Problem::MustBe(ROLE_FORM)),
        }
    }
    roles
}

fn organization<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Organization {
    let text = reader.optional_text(section, path, "organization", ORGANIZATION_FORM);
    text.map_or_else(Organization::default, |text| {
        Organization::parse(text).unwrap_or_else(|_| {
            let problem = Problem::MustBe(ORGANIZATION_FORM);
            reader.fault(
                section.place("organization"),
                &path.key("organization"),
                problem,
            );
            Organization::default()
        })
    })
}

fn algorithms<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Vec<SigningAlgorithm> {
    let path = &path.key("algorithms");
    let Some(node) = section.written("algorithms") else {
        return ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec();
    };
    let nodes = reader.list(node, path, ALGORITHMS.len());
    if nodes.is_empty() {
        reader.fault(node.at, path, Problem::MustBe(ALGORITHMS_FORM));
    }
    nodes
        .iter()
        .filter_map(|node| algorithm(reader, node, path))
        .collect()
}

fn algorithm<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
) -> Option<SigningAlgorithm> {
    let text = reader.text(node, path, ALGORITHMS_FORM)?;
    let found = ALGORITHMS.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        reader.fault(node.at, path, Problem::MustBe(ALGORITHMS_FORM));
    }
    found.map(|(_, algorithm)| *algorithm)
}
