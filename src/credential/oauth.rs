//! Token requests, written and carried by the `oauth2` crate, which only this file and `answer`
//! name.
//!
//! # Invariants
//!
//! A request has one client authentication (RFC 6749 §2.3) and no parameter twice (§3.2). The
//! crate's parse error carries the answer's body: [`failure`] drops it unread.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use http::{StatusCode, header};
use oauth2::basic::{BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AccessToken, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, RefreshToken,
    RequestTokenError, ResourceOwnerPassword, ResourceOwnerUsername, RevocationUrl, Scope,
    StandardRevocableToken, TokenUrl,
};
pub(super) use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::Value;

use super::answer::{ErrorAnswer, TokenAnswer};
use super::error::TokenError;
use super::exchange::{Answered, Line};
use super::rejection::Rejection;
use crate::connector::{
    ClientAuthentication, GrantType, HttpsUrl, OAuth2, RESERVED_FIELDS, RESERVED_PARAMETERS,
    StaticHeader,
};
use crate::secret::Secret;

/// The crate's way to our own HTTP client.
impl<'c> AsyncHttpClient<'c> for Line<'_> {
    type Error = TokenError;
    type Future = BoxFuture<'c, Result<HttpResponse, TokenError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.carry(request))
    }
}

/// What is exchanged for a token this time.
#[derive(Clone, Copy)]
pub(super) enum Exchanged<'a> {
    /// What the connector was configured with.
    Grant,
    /// The refresh token of an earlier answer (RFC 6749 §6).
    RefreshToken(&'a Secret),
}

type Client = oauth2::Client<
    ErrorAnswer,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Why the crate has no token.
pub(super) type Failure = RequestTokenError<TokenError, ErrorAnswer>;

/// Why the crate has no token ended.
pub(super) type Unrevoked = RequestTokenError<TokenError, BasicRevocationErrorResponse>;

/// Checks that nothing configured repeats what the gateway itself sends. The configuration refuses
/// it; here it is made sure of, whoever made the connector.
///
/// # Errors
///
/// [`TokenError::ReservedParameter`] or [`TokenError::ReservedField`].
pub(super) fn check(oauth2: &OAuth2) -> Result<(), TokenError> {
    let reserved = |name: &&String| RESERVED_PARAMETERS.contains(&name.as_str());
    if let Some(name) = oauth2.token_parameters.keys().find(reserved) {
        return Err(TokenError::ReservedParameter { name: name.clone() });
    }
    let by_basic = matches!(
        oauth2.client_authentication,
        ClientAuthentication::ClientSecretBasic(_)
    );
    let reserved = |field: &&StaticHeader| {
        RESERVED_FIELDS.contains(&field.name.as_str())
            || (field.name == header::AUTHORIZATION && by_basic)
    };
    match oauth2.token_headers.iter().find(reserved) {
        Some(field) => Err(TokenError::ReservedField {
            name: field.name.to_string(),
        }),
        None => Ok(()),
    }
}

/// Writes one token request, has `line` carry it and reads the answer. The line is a [`Line`], or
/// one that ends at the door of a fuzz target.
///
/// # Errors
///
/// [`Failure`], to be translated by [`failure`] at once.
pub(super) async fn request<L>(
    oauth2: &OAuth2,
    exchanged: Exchanged<'_>,
    assertion: Option<&str>,
    line: &L,
) -> Result<TokenAnswer, Failure>
where
    L: for<'c> AsyncHttpClient<'c, Error = TokenError>,
{
    let client = client(oauth2)?;
    let added = parameters(&oauth2.token_parameters, assertion);
    // As it was written: the crate would join several scopes with the same space.
    let scope = oauth2.scope.iter().cloned().map(Scope::new);
    match (exchanged, &oauth2.grant) {
        (Exchanged::RefreshToken(held), _) => {
            // Without a scope it stays what was granted (RFC 6749 §6).
            let held = RefreshToken::new(held.expose().to_owned());
            let request = client.exchange_refresh_token(&held);
            let request = added.fold(request, |request, (name, value)| {
                request.add_extra_param(name, value)
            });
            request.request_async(line).await
        }
        (Exchanged::Grant, GrantType::ClientCredentials) => {
            let request = client.exchange_client_credentials().add_scopes(scope);
            let request = added.fold(request, |request, (name, value)| {
                request.add_extra_param(name, value)
            });
            request.request_async(line).await
        }
        (Exchanged::Grant, GrantType::Password { username, password }) => {
            let username = ResourceOwnerUsername::new(username.clone());
            let password = ResourceOwnerPassword::new(password.expose().to_owned());
            let request = client
                .exchange_password(&username, &password)
                .add_scopes(scope);
            let request = added.fold(request, |request, (name, value)| {
                request.add_extra_param(name, value)
            });
            request.request_async(line).await
        }
    }
}

/// Asks for the end of `token` at `url`, with the client authentication of a token request (RFC 7009
/// §2.1), and has `line` carry that.
///
/// # Errors
///
/// [`Unrevoked`], to be translated by [`revocation_failure`] at once.
pub(super) async fn revoke(
    oauth2: &OAuth2,
    url: &HttpsUrl,
    token: Secret,
    assertion: Option<&str>,
    line: &Line<'_>,
) -> Result<(), Unrevoked> {
    let unwritable = || Unrevoked::Request(TokenError::Unwritable);
    let url = RevocationUrl::new(url.as_str().to_owned()).map_err(|_| unwritable())?;
    let client = client(oauth2).map_err(|_| unwritable())?;
    let client = client.set_revocation_url(url);
    let token = StandardRevocableToken::from(AccessToken::new(token.expose().to_owned()));
    let request = client.revoke_token(token).map_err(|_| unwritable())?;
    // What is configured to go with token requests says which token is wanted, and none is.
    let added = parameters(NO_PARAMETERS, assertion);
    let request = added.fold(request, |request, (name, value)| {
        request.add_extra_param(name, value)
    });
    request.request_async(line).await
}

const NO_PARAMETERS: &BTreeMap<String, Secret> = &BTreeMap::new();

/// As [`failure`], of a revocation (RFC 7009 §2.2.1).
pub(super) fn revocation_failure(
    error: Unrevoked,
    answered: Option<Answered>,
    secrets: &[&str],
) -> TokenError {
    let status = answered.map_or(StatusCode::BAD_REQUEST, |answered| answered.status);
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(answer) => {
            let code = answer.error().as_ref();
            TokenError::Rejected(Rejection::new(status, Some(code), None, secrets))
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => match answered {
            Some(_) => TokenError::Rejected(Rejection::new(status, None, None, &[])),
            None => TokenError::Unwritable,
        },
    }
}

/// The client with its one authentication (RFC 6749 §2.3). Every method but
/// `client_secret_basic` has `client_id` in the body (RFC 6749 §3.2.1, RFC 8705 §2).
fn client(oauth2: &OAuth2) -> Result<Client, Failure> {
    let url = TokenUrl::new(oauth2.token_url.as_str().to_owned())
        .map_err(|_| Failure::Request(TokenError::Unwritable))?;
    let client = oauth2::Client::new(ClientId::new(oauth2.client_id.clone())).set_token_uri(url);
    let secret = |secret: &Secret| ClientSecret::new(secret.expose().to_owned());
    Ok(match &oauth2.client_authentication {
        ClientAuthentication::ClientSecretBasic(held) => client
            .set_auth_type(AuthType::BasicAuth)
            .set_client_secret(secret(held)),
        ClientAuthentication::ClientSecretPost(held) => client
            .set_auth_type(AuthType::RequestBody)
            .set_client_secret(secret(held)),
        ClientAuthentication::None
        | ClientAuthentication::PrivateKeyJwt { .. }
        | ClientAuthentication::TlsClientAuth(_)
        | ClientAuthentication::SelfSignedTlsClientAuth(_) => {
            client.set_auth_type(AuthType::RequestBody)
        }
    })
}

/// The parameters beside the standard ones; the assertion among them (RFC 7523 §2.2).
fn parameters<'a>(
    configured: &'a BTreeMap<String, Secret>,
    assertion: Option<&'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let signed = |jwt| {
        [
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", jwt),
        ]
    };
    configured
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .chain(assertion.into_iter().flat_map(signed))
}

/// What `error` says, without what it carries. `answered` is the answer's head, if one came;
/// `secrets` are those of the request, so that no echo of them is kept.
pub(super) fn failure(error: Failure, answered: Option<Answered>, secrets: &[&str]) -> TokenError {
    let status = answered.map(|answered| answered.status);
    let refused = status.filter(|status| !status.is_success());
    let retry_after = answered.and_then(|answered| answered.retry_after);
    match (error, refused) {
        (RequestTokenError::Request(error), _) => error,
        (RequestTokenError::ServerResponse(answer), status) => {
            let status = status.unwrap_or(StatusCode::BAD_REQUEST);
            let (code, description) = (answer.error.as_ref(), answer.error_description.as_ref());
            let rejection = Rejection::new(
                status,
                code.and_then(Value::as_str),
                description.and_then(Value::as_str),
                secrets,
            );
            TokenError::Rejected(rejection.asking_for(retry_after))
        }
        (RequestTokenError::Parse(..) | RequestTokenError::Other(_), Some(status)) => {
            let rejection = Rejection::new(status, None, None, &[]);
            TokenError::Rejected(rejection.asking_for(retry_after))
        }
        (RequestTokenError::Parse(error, _), None) => TokenError::NotATokenResponse {
            line: error.inner().line(),
            column: error.inner().column(),
        },
        // The crate says so of a request that cannot be written and of an empty answer alike.
        (RequestTokenError::Other(_), None) => match answered {
            Some(_) => TokenError::Empty,
            None => TokenError::Unwritable,
        },
    }
}
