//! The shape of a connector's `auth`; see `connector`.
#![allow(
    dead_code,
    unused_qualifications,
    reason = "these are shapes: what their derive says of them is used, their values are not"
)]

use std::collections::BTreeMap;

use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A secret: written and replaced, never read. `{"kept": true}` means the one that is kept.
pub(in crate::control::api) struct Secret;

impl PartialSchema for Secret {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .write_only(true);
        OneOfBuilder::new()
            .description(Some(
                "A secret: written and replaced, never read. `{\"kept\": true}` means the one that \
                 is kept.",
            ))
            .item(text)
            .item(kept())
            .into()
    }
}

impl ToSchema for Secret {}

/// Where a secret is: `{"kept": true}`; null if it has to be given anew.
pub(in crate::control::api) struct Kept;

impl PartialSchema for Kept {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .description(Some(
                "Where a secret is kept; null where it has to be given anew.",
            ))
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .item(kept())
            .into()
    }
}

impl ToSchema for Kept {}

fn kept() -> ObjectBuilder {
    let truth = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]));
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .property("kept", truth)
        .required("kept")
}

/// How the origin wants authentication. `none` (in words) is for one that asks for nothing.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::control::api) enum Auth<S> {
    None,
    Basic(Basic<S>),
    Header(Header<S>),
    ClientCertificate(Certificate<S>),
    Oauth2(Box<OAuth2<S>>),
}

/// Username and password (RFC 7617).
#[derive(ToSchema)]
pub(super) struct Basic<S> {
    /// No colon, no control characters; `""` if the origin wants none.
    #[schema(pattern = "^[^:\\x00-\\x1f\\x7f]*$", example = "svc")]
    username: String,
    password: S,
    /// On the resource domain's own origin; called when the connector is validated, and not
    /// otherwise.
    #[schema(format = "uri", pattern = "^https://")]
    validation_url: Option<String>,
}

/// A field of its own.
#[derive(ToSchema)]
pub(super) struct Header<S> {
    /// Its name (RFC 9110 §5.1): none of the connection, the message or the gateway.
    #[schema(example = "X-Api-Key", pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
    name: String,
    value: S,
}

/// A certificate and its private key, in PEM. Shown in the TLS handshake.
#[derive(ToSchema)]
pub(super) struct Certificate<S> {
    /// PEM, the chain's first certificate first.
    certificate: String,
    /// PEM.
    private_key: S,
}

/// A token from an authorization server (RFC 6749).
#[derive(ToSchema)]
pub(super) struct OAuth2<S> {
    /// `password` is for servers that offer nothing else (RFC 9700 §2.4).
    #[schema(nullable = false, default = json!("client_credentials"))]
    grant: Option<Grant>,
    /// For `grant: password`.
    username: Option<String>,
    #[schema(nullable = false)]
    password: Option<S>,
    /// The token endpoint.
    #[schema(
        format = "uri",
        pattern = "^https://",
        example = "https://login.example.com/oauth/token"
    )]
    token_url: String,
    /// Where a token that is held is ended when the connector goes (RFC 7009).
    #[schema(format = "uri", pattern = "^https://")]
    revocation_url: Option<String>,
    /// The client's identifier at the authorization server.
    #[schema(min_length = 1)]
    client_id: String,
    #[schema(nullable = false)]
    client_secret: Option<S>,
    #[schema(nullable = false, default = json!("client_secret_basic"))]
    client_authentication: Option<ClientAuthentication>,
    #[schema(nullable = false)]
    client_certificate: Option<Certificate<S>>,
    /// `true` shows the client certificate to the resource domain too (RFC 8705 §3).
    #[schema(nullable = false, default = json!(false))]
    certificate_to_resource: Option<bool>,
    #[schema(nullable = false)]
    assertion: Option<Assertion>,
    /// Separated by single spaces.
    scope: Option<String>,
    /// Parameters of the token request beside the standard ones: `audience`, `resource`. At most 50.
    #[schema(nullable = false, default = json!({}))]
    token_parameters: Option<BTreeMap<String, S>>,
    /// Fields of the token request beside its own. At most 20.
    #[schema(nullable = false, default = json!({}))]
    token_headers: Option<BTreeMap<String, S>>,
}

/// A grant type (RFC 6749 §1.3).
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum Grant {
    ClientCredentials,
    Password,
}

/// How the client proves to the token endpoint who it is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum ClientAuthentication {
    ClientSecretBasic,
    ClientSecretPost,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
    PrivateKeyJwt,
    None,
}

/// What a client assertion says (`private_key_jwt`; RFC 7523 §2.2).
#[derive(ToSchema)]
struct Assertion {
    /// The authorization server's issuer identifier (RFC 10070), or its token URL where it wants that.
    #[schema(min_length = 1)]
    audience: String,
    #[schema(nullable = false, default = json!("RS256"))]
    algorithm: Option<Algorithm>,
    /// `JWT`, or `client-authentication+jwt` (RFC 10070).
    #[schema(nullable = false, default = json!("JWT"))]
    typ: Option<String>,
    /// `kid`; the certificate is named by `x5t#S256` in any case.
    key_id: Option<String>,
    /// 5s to 5m.
    #[schema(nullable = false, default = json!("60s"))]
    lifetime: Option<super::limits::Span>,
}

/// What signs it (RFC 7518 §3.1).
#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
enum Algorithm {
    Rs256,
    Ps256,
    Es256,
}
