//! An admin listener over a store of its own, and administrators who ask it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use attache::clock::Clock;
use attache::config::Hosts;
use attache::connector::{Organization, Role};
use attache::control::access::{Administration, Authentication, Scope, Wanted};
use attache::control::api::{Api, Parts};
use attache::control::{Control, Door, Health, HostRule, serve};
use attache::metrics::Metrics;
use serde_json::{Value, json};

use crate::registry::room::{self, PASSWORD, Room};
use crate::support::client::{Answered, Client};
use crate::support::wire::Wire;

/// A JSON body's type.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
/// A merge patch's type.
pub(crate) const PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");
/// Whatever it is now.
pub(crate) const ANY: (&str, &str) = ("if-match", "*");

/// The listener, and what is behind it.
pub(crate) struct Desk {
    pub(crate) room: Room,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    administration: Administration,
    /// An administrator of `acme` who may do everything.
    acme: String,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::over(Room::new().await).await
    }

    pub(crate) async fn over(room: Room) -> Self {
        let clock = Clock::turned(&room.time);
        let administration = Administration::new(room.store.clone(), clock.clone());
        let metrics = Metrics::new(1, 1);
        let api = Api::new(Parts {
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            authentication: Authentication::new(room.store.clone(), None, clock.clone()),
            administration: administration.clone(),
            registry: room.registry.clone(),
            store: room.store.clone(),
        });
        let health = Health::new(clock, 1);
        let control = Control {
            health,
            metrics: Arc::clone(&metrics),
            tokens: Box::new(Vec::new),
            bulkheads: Box::new(Vec::new),
            api,
        };
        let door = Door {
            tls: None,
            hosts: HostRule::Ours(Hosts::Listed(Vec::new())),
            front: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(
            listener,
            door,
            Arc::new(control),
            std::future::pending(),
        ));
        let mut desk = Self {
            room,
            address,
            metrics,
            administration,
            acme: String::new(),
        };
        desk.acme = desk.token(Role::FullAdmin, Some("acme")).await;
        desk
    }

    /// A token of `role` in `organization`, or of who runs the gateway.
    pub(crate) async fn token(&self, role: Role, organization: Option<&str>) -> String {
        let scope = match organization {
            Some(name) => Scope::One(Organization::parse(name).unwrap()),
            None => Scope::All,
        };
        let wanted = Wanted {
            name: format!("{role} of {scope}"),
            role,
            scope,
            lifetime: std::time::Duration::from_secs(3600 * 24 * 60),
        };
        let everybody = room::everybody();
        let issued = self.administration.issue(&everybody, wanted).await.unwrap();
        issued.token.expose().to_owned()
    }

    /// What `token` gets, with `fields` and `body`.
    pub(crate) async fn as_who(
        &self,
        token: &str,
        (method, path): (&str, &str),
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Answered {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(token, (method, path), fields, text.into_bytes())
            .await
    }

    /// The same with a body of any bytes.
    pub(crate) async fn send(
        &self,
        token: &str,
        (method, path): (&str, &str),
        fields: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answered {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(fields);
        let mut client = Client::http1(self.address).await;
        let path = format!("/api/v1{path}");
        let body = (!body.is_empty()).then_some(body);
        match body {
            Some(body) => client.call(method, &path, &all, body).await,
            None => client.call(method, &path, &all, "").await,
        }
    }

    /// What the administrator of `acme` gets.
    pub(crate) async fn ask(
        &self,
        request: (&str, &str),
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Answered {
        self.as_who(&self.acme, request, fields, body).await
    }

    /// What they get who ask for nothing more than to read.
    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.ask(("GET", path), &[], &Value::Null).await
    }

    /// Creates a connector of `acme`, and gives its ID and tag.
    pub(crate) async fn made(&self, name: &str) -> (String, String) {
        let body = self.room.basic(name);
        let made = self.ask(("POST", "/connectors"), &[JSON], &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let id = made.json()["id"].as_str().unwrap().to_owned();
        (id, made.field("etag").unwrap().to_owned())
    }

    /// The token of the administrator of `acme`.
    pub(crate) fn acme(&self) -> &str {
        &self.acme
    }

    /// A connection that says exactly what a test writes.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::plain(self.address).await
    }
}

/// A password to stage.
pub(crate) fn staged(password: &str) -> Value {
    json!({"secrets": {"/auth/basic/password": password}})
}

/// Claims that `answer` is a whole problem for `reason`.
#[track_caller]
pub(crate) fn refused(answer: &Answered, status: u16, reason: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.reason().as_str()),
        (status, reason),
        "{}",
        answer.text()
    );
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(
        problem["request_id"].as_str(),
        answer.field("x-request-id"),
        "{problem}"
    );
    assert!(!answer.text().contains(PASSWORD));
}

/// The pointers that a problem names.
pub(crate) fn fields(answer: &Answered) -> Vec<String> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().unwrap();
    let field = |error: &Value| error["field"].as_str().unwrap().to_owned();
    errors.iter().map(field).collect()
}
