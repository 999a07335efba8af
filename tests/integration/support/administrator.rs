//! Who manages connectors over the admin API of a gateway that is a process of its own.

use std::net::SocketAddr;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::body::Outgoing;
use super::child::Child;
use super::client::{Answered, Client};
use super::vault::{attache, path};

/// An administrator with a connection of its own.
pub(crate) struct Administrator {
    client: Client,
    authorization: String,
}

/// What the API said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) json: Value,
    pub(crate) text: String,
}

/// The gateway was gone before it had answered.
#[derive(Debug)]
pub(crate) struct Gone;

/// The address of a gateway's admin listener, once it is ready.
pub(crate) async fn admin_address(gateway: &Child) -> SocketAddr {
    let ready = |line: &str| line.contains("served to administrators");
    let line = gateway.stderr.line("the admin listener", ready).await;
    line.rsplit_once("address=").unwrap().1.parse().unwrap()
}

/// Makes a token for an administrator of `default`, as whoever holds the store does.
pub(crate) async fn create_token(config: &std::path::Path) -> String {
    let arguments = ["admin", "create-token", "--config", path(config)];
    let more = ["--name", "test", "--role", "full-admin"];
    let ended = attache(&[&arguments[..], &more].concat()).await;
    assert!(ended.status.success(), "{ended:?}");
    ended.stdout.trim().to_owned()
}

impl Administrator {
    /// Connects to `address` as who has `token`.
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Self {
        Self {
            client: Client::http1(address).await,
            authorization: format!("Bearer {token}"),
        }
    }

    /// Asks for anything; every change is made whatever the state it is meant for.
    ///
    /// # Errors
    ///
    /// [`Gone`].
    pub(crate) async fn call(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Said, Gone> {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut fields = vec![("authorization", self.authorization.as_str())];
        if method != "GET" && target != "/connectors" {
            fields.push(("if-match", "*"));
        }
        if body.is_some() {
            fields.push(("content-type", kind));
        }
        let body = body.map(|json| Bytes::from(json.to_string()));
        let target = format!("/api/v1{target}");
        let sent = self
            .client
            .send(method, &target, &fields, Outgoing::Whole(body))
            .await;
        let answered = Answered::read(sent.map_err(|_| Gone)?).await;
        let answered = answered.map_err(|_| Gone)?;
        let text = answered.text();
        Ok(Said {
            status: answered.status,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        })
    }
}
