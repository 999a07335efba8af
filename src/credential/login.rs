//! How the gateway proves to a token endpoint who it is.

use std::sync::{Arc, PoisonError};

use super::assertion::Signer;
use super::{Credentials, Settings};
use crate::connector::{
    ClientAuthentication, ClientCertificate, Connector, GrantType, Http2, OAuth2,
};
use crate::secret::Secret;
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, TrustAnchors};

/// One client and its grant, ready for token requests.
pub(super) struct Login {
    pub(super) oauth2: Arc<OAuth2>,
    /// Signs the client assertion, where that is how the client authenticates.
    pub(super) signer: Option<Box<Signer>>,
    /// The identity shown to the token endpoint.
    pub(super) tls: ClientTls,
}

impl Login {
    /// What a careless server might echo.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let mut secrets = Vec::new();
        if let GrantType::Password { password, .. } = &self.oauth2.grant {
            secrets.push(password.expose());
        }
        match &self.oauth2.client_authentication {
            ClientAuthentication::ClientSecretBasic(secret)
            | ClientAuthentication::ClientSecretPost(secret) => secrets.push(secret.expose()),
            ClientAuthentication::None
            | ClientAuthentication::PrivateKeyJwt { .. }
            | ClientAuthentication::TlsClientAuth(_)
            | ClientAuthentication::SelfSignedTlsClientAuth(_) => {}
        }
        secrets.extend(self.oauth2.token_parameters.values().map(Secret::expose));
        let fields = self.oauth2.token_headers.iter();
        secrets.extend(fields.map(|field| field.value.expose()));
        secrets
    }
}

impl Credentials {
    /// How `connector` proves who it is, as `oauth2` says.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a certificate, key or anchor cannot be used.
    pub(super) fn login(
        &self,
        connector: &Connector,
        oauth2: &Arc<OAuth2>,
        settings: &Settings,
    ) -> Result<Login, TlsError> {
        let signer = match &oauth2.client_authentication {
            ClientAuthentication::PrivateKeyJwt {
                certificate,
                assertion,
            } => Some(Box::new(Signer::new(certificate, assertion)?)),
            ClientAuthentication::None
            | ClientAuthentication::ClientSecretBasic(_)
            | ClientAuthentication::ClientSecretPost(_)
            | ClientAuthentication::TlsClientAuth(_)
            | ClientAuthentication::SelfSignedTlsClientAuth(_) => None,
        };
        Ok(Login {
            oauth2: Arc::clone(oauth2),
            signer,
            tls: self.identity(connector, oauth2, settings)?,
        })
    }

    /// What the token endpoint sees of us in the handshake (RFC 8705 §2), and whom we believe.
    fn identity(
        &self,
        connector: &Connector,
        oauth2: &OAuth2,
        settings: &Settings,
    ) -> Result<ClientTls, TlsError> {
        let certificate = shown_certificate(&oauth2.client_authentication);
        let anchors = settings.anchors.of(connector)?;
        match certificate.is_none() && anchors.same(&settings.anchors) {
            true => self.plain_identity(&anchors),
            false => ClientTls::new(&anchors, certificate, Http2::Off),
        }
    }

    fn plain_identity(&self, anchors: &TrustAnchors) -> Result<ClientTls, TlsError> {
        let held = self.0.plain.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tls)) = held.as_ref().filter(|(known, _)| known.same(anchors)) {
            return Ok(tls.clone());
        }
        let tls = ClientTls::new(anchors, None, Http2::Off)?;
        *held = Some((anchors.clone(), tls.clone()));
        Ok(tls)
    }
}

/// The certificate shown in the handshake; `private_key_jwt` signs with its key instead.
fn shown_certificate(authentication: &ClientAuthentication) -> Option<&ClientCertificate> {
    match authentication {
        ClientAuthentication::TlsClientAuth(certificate)
        | ClientAuthentication::SelfSignedTlsClientAuth(certificate) => Some(certificate),
        ClientAuthentication::None
        | ClientAuthentication::ClientSecretBasic(_)
        | ClientAuthentication::ClientSecretPost(_)
        | ClientAuthentication::PrivateKeyJwt { .. } => None,
    }
}
