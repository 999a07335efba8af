//! How an origin wants authentication, with the secrets that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::HttpsUrl;
use crate::secret::Secret;

/// Parameters of a token request that the gateway writes itself (RFC 6749 §§2.3.1, 4.3.2, 4.4.2, 6;
/// RFC 7521 §4.2); none may be given twice (RFC 6749 §3.2).
pub const RESERVED_PARAMETERS: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "username",
    "password",
    "refresh_token",
    "scope",
];

/// Fields that belong to one connection, to the message's framing or content, or to the gateway
/// (RFC 9110 §7.6.1, §7.8, §8; RFC 9112 §6): none of them can carry a credential.
pub const RESERVED_FIELDS: &[&str] = &[
    "connection",
    "connector-id",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// One way of authentication, as an administrator configures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The origin asks for nothing.
    None,
    /// A username and a password with every request (RFC 7617).
    Basic(Basic),
    /// A fixed field with every request, an API key for instance.
    Header(Box<StaticHeader>),
    /// A client certificate in the TLS handshake and nothing in the head (RFC 8446 §4.4.2).
    ClientCertificate(ClientCertificate),
    /// A bearer token obtained from an authorization server (RFC 6749, RFC 6750).
    OAuth2(Arc<OAuth2>),
}

impl Scheme {
    /// The certificate that the resource domain is shown, if any (RFC 8446 §4.4.2, RFC 8705 §3).
    pub fn certificate_to_resource(&self) -> Option<&ClientCertificate> {
        match self {
            Self::None | Self::Basic(_) | Self::Header(_) => None,
            Self::ClientCertificate(certificate) => Some(certificate),
            Self::OAuth2(oauth) if oauth.certificate_to_resource => {
                oauth.client_authentication.certificate()
            }
            Self::OAuth2(_) => None,
        }
    }
}

/// What HTTP Basic authentication needs (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The user-id; holds no colon (RFC 7617 §2).
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Called when the connector is validated, and never otherwise.
    pub validation_url: Option<Box<HttpsUrl>>,
}

/// A field that every request to the origin carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticHeader {
    /// The field's name.
    pub name: HeaderName,
    /// The field's value; checked to be a legal one (RFC 9110 §5.5).
    pub value: Secret,
}

/// A certificate chain and its private key, both PEM. The pair was checked to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub certificate_pem: String,
    /// The leaf's private key (PKCS #8, PKCS #1 or SEC 1).
    pub private_key_pem: Secret,
}

/// What an OAuth 2.0 token request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// What is exchanged for a token.
    pub grant: GrantType,
    /// The token endpoint (RFC 6749 §3.2).
    pub token_url: HttpsUrl,
    /// The revocation endpoint, where the authorization server has one (RFC 7009 §2).
    pub revocation_url: Option<HttpsUrl>,
    /// The client's identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// How the client proves who it is (RFC 6749 §2.3).
    pub client_authentication: ClientAuthentication,
    /// Whether the client certificate is shown to the resource domain too, as certificate-bound
    /// tokens need (RFC 8705 §3).
    pub certificate_to_resource: bool,
    /// The scope asked for, as sent (RFC 6749 §3.3).
    pub scope: Option<String>,
    /// Parameters sent beside the standard ones: `audience`, `resource` …
    pub token_parameters: BTreeMap<String, Secret>,
    /// Fields sent with the token request.
    pub token_headers: Vec<StaticHeader>,
}

/// What is exchanged for a token (RFC 6749 §1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3. RFC 9700 §2.4 says it MUST NOT be used; servers that offer nothing else
    /// exist, so it is supported with a warning.
    Password {
        /// The resource owner's name.
        username: String,
        /// The resource owner's password.
        password: Secret,
    },
}

/// How a client proves to the token endpoint who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// A public client: `client_id` alone (RFC 6749 §2.1).
    None,
    /// `Authorization: Basic` over form-encoded halves (RFC 6749 §2.3.1).
    ClientSecretBasic(Secret),
    /// `client_secret` in the body (RFC 6749 §2.3.1).
    ClientSecretPost(Secret),
    /// A signed assertion (RFC 7523 §2.2).
    PrivateKeyJwt {
        /// The key that signs, and the certificate whose thumbprint names it (`x5t#S256`).
        certificate: ClientCertificate,
        /// What the assertion says.
        assertion: Box<Assertion>,
    },
    /// A certificate from a CA, in the handshake with the token endpoint (RFC 8705 §2.1).
    TlsClientAuth(ClientCertificate),
    /// A self-signed certificate, likewise (RFC 8705 §2.2).
    SelfSignedTlsClientAuth(ClientCertificate),
}

impl ClientAuthentication {
    /// The certificate this client authenticates with, if it has one.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        match self {
            Self::None | Self::ClientSecretBasic(_) | Self::ClientSecretPost(_) => None,
            Self::PrivateKeyJwt { certificate, .. }
            | Self::TlsClientAuth(certificate)
            | Self::SelfSignedTlsClientAuth(certificate) => Some(certificate),
        }
    }

    /// The name RFC 8414 §2 and RFC 8705 §2 register for this method.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic(_) => "client_secret_basic",
            Self::ClientSecretPost(_) => "client_secret_post",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
            Self::TlsClientAuth(_) => "tls_client_auth",
            Self::SelfSignedTlsClientAuth(_) => "self_signed_tls_client_auth",
        }
    }
}

/// What a client assertion says (RFC 7523 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// `aud`: the authorization server's issuer identifier (RFC 10070), or the token URL where a
    /// server still wants that.
    pub audience: String,
    /// `alg`.
    pub algorithm: SigningAlgorithm,
    /// `typ` in the head: `JWT`, or `client-authentication+jwt` (RFC 10070).
    pub typ: String,
    /// `kid` in the head.
    pub key_id: Option<String>,
    /// How long the assertion holds; at most five minutes.
    pub lifetime: Duration,
}

/// The signatures a client assertion may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// RSASSA-PSS with SHA-256 (RFC 7518 §3.5).
    Ps256,
    /// ECDSA over P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
}
