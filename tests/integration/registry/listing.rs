//! Pages of connectors, the store's and the configuration's together.

use attache::control::access::Role;
use attache::control::registry::{ConnectorView, Filter, Listing, Source};
use attache::control::store::{Page, Phase};
use serde_json::json;

use attache::config::stored::{Identity, Secrets, kept_fields, read_with};
use attache::control::registry::{IfMatch, Refused};
use attache::secret::Secret;

use crate::support::connector::pair;
use crate::support::stage::Stage;

use super::room::{PASSWORD, Room, acme, administrator, everybody, id, organization};

const CONFIGURED: &str = "[
  { id: b, organization: acme, name: B, resource_domain: UP, auth: none },
  { id: d, organization: acme, name: D, enabled: false, resource_domain: UP, auth: none },
  { id: x, organization: globex, name: X, resource_domain: UP, auth: none }
]";

async fn room() -> Room {
    let room = Room::with(CONFIGURED).await;
    for name in ["a", "c", "e"] {
        let mut body = room.basic(name);
        body["id"] = json!(name);
        room.registry.create(&acme(), body, None).await.unwrap();
    }
    room
}

fn ids(listing: &Listing) -> Vec<&str> {
    listing.items.iter().map(|one| one.id.as_str()).collect()
}

async fn listed(room: &Room, filter: Filter) -> Vec<String> {
    let page = Page {
        after: None,
        limit: 200,
    };
    let listing = room.registry.list(&acme(), &filter, page).await.unwrap();
    ids(&listing).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn pages_follow_each_other_and_miss_nothing() {
    let room = room().await;
    for limit in 1..=6 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after, limit };
            let listing = room
                .registry
                .list(&acme(), &Filter::default(), page)
                .await
                .unwrap();
            assert!(listing.items.len() <= limit as usize);
            seen.extend(ids(&listing).into_iter().map(str::to_owned));
            match listing.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"], "{limit} a page");
    }
}

#[tokio::test]
async fn a_page_that_holds_everything_names_no_next() {
    let room = room().await;

    let page = Page {
        after: None,
        limit: 5,
    };
    let listing = room
        .registry
        .list(&acme(), &Filter::default(), page)
        .await
        .unwrap();

    assert_eq!((listing.items.len(), listing.next), (5, None));
}

#[tokio::test]
async fn connectors_are_listed_by_what_is_asked() {
    let room = room().await;
    let by = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };

    for (filter, expected) in [
        (
            by(|filter| filter.source = Some(Source::File)),
            vec!["b", "d"],
        ),
        (
            by(|filter| filter.source = Some(Source::Store)),
            vec!["a", "c", "e"],
        ),
        (by(|filter| filter.state = Some(Phase::Inactive)), vec!["d"]),
        (by(|filter| filter.state = Some(Phase::Deleted)), vec![]),
        (by(|filter| filter.name = Some("B".to_owned())), vec!["b"]),
        (by(|filter| filter.name = Some("c".to_owned())), vec!["c"]),
        (
            by(|filter| filter.kind = Some("salesforce".to_owned())),
            vec![],
        ),
        (
            by(|filter| filter.kind = Some("custom".to_owned())),
            vec!["a", "b", "c", "d", "e"],
        ),
        (
            by(|filter| filter.organization = Some(organization("globex"))),
            vec![],
        ),
    ] {
        let case = format!("{filter:?}");
        assert_eq!(listed(&room, filter).await, expected, "{case}");
    }
}

#[tokio::test]
async fn deleted_connectors_are_listed_where_they_are_asked_for() {
    let room = Room::new().await;
    let deleted = room.deleted("Gone").await;

    let without = listed(&room, Filter::default()).await;
    let state = Some(Phase::Deleted);
    let with = listed(
        &room,
        Filter {
            state,
            ..Filter::default()
        },
    )
    .await;

    assert_eq!(without, Vec::<String>::new());
    assert_eq!(with, [deleted.id.as_str()]);
}

#[tokio::test]
async fn who_runs_the_gateway_sees_every_organization() {
    let room = room().await;

    let page = Page {
        after: None,
        limit: 200,
    };
    let listing = room
        .registry
        .list(&everybody(), &Filter::default(), page)
        .await
        .unwrap();

    assert_eq!(ids(&listing), ["a", "b", "c", "d", "e", "x"]);
}

/// Every key at another value than its default.
fn every_key() -> String {
    format!(
        "
  - id: basic
    name: Basic
    enabled: false
    resource_domain: https://a.example:8443/base/
    auth: {{ basic: {{ username: svc, password: {PASSWORD}, validation_url: 'https://a.example:8443/x?y' }} }}
    ca_bundle: {{ file: ca.pem }}
    probe: '/health?a=b'
    cookies: pass
    forwarded: true
    expired_on: {{ statuses: [401, 419], pointer: /error/code, equals: '7' }}
    replay_body_bytes_max: 1KiB
    retry: {{ statuses: [502], attempts: 3, wait_max: 2s, budget_percent: 5 }}
    requests_in_flight_max: 3
    requests_per_second: {{ rate: 5, burst: 6 }}
    breaker: {{ failures: 2, window: 1s, open: 2500ms }}
    request_body_bytes_max: 3MiB
    response_body_bytes_max: 4KiB
    upgrades: [websocket]
    scrub: all
    allow:
      - {{ principals: [ivr, 'a b'], methods: [GET, M-SEARCH], paths: [/orders, /a%2fb/], networks: [10.0.0.0/8, 192.0.2.7, '2001:db8::/32'] }}
      - {{ }}
    upstream: {{ connect: 2s, response_head: 3s, stall: 4s, connections_max: 5, idle: 6s, age_max: 7m, tunnel_idle: 8m, http2: off }}
  - id: none
    name: None
    resource_domain: https://a.example
    probe: '?ping'
    auth: none
    breaker: null
    expired_on: {{ statuses: [] }}
    scrub: off
    allow: []
"
    )
}

/// Every way of authentication.
fn every_scheme(stage: &Stage) -> String {
    let identity = stage.server();
    let first = pair(stage, "first", &identity);
    let second = pair(stage, "second", &identity);
    let token_url = "https://login.example/token";
    format!(
        "
  - id: header
    name: Header
    resource_domain: https://a.example
    auth: {{ header: {{ name: X-Key, value: {PASSWORD} }} }}
  - id: certificate
    name: Certificate
    resource_domain: https://a.example
    auth: {{ client_certificate: {first} }}
  - id: password
    name: Password
    resource_domain: https://a.example
    auth: {{ oauth2: {{ grant: password, username: u, password: {PASSWORD}, token_url: '{token_url}',
      revocation_url: 'https://login.example/revoke', client_id: c, client_secret: {PASSWORD},
      client_authentication: client_secret_post, scope: a b,
      token_parameters: {{ audience: {PASSWORD} }}, token_headers: {{ X-One: {PASSWORD} }} }} }}
    warm: true
  - id: jwt
    name: JWT
    resource_domain: https://a.example
    auth: {{ oauth2: {{ token_url: '{token_url}', client_id: c, client_authentication: private_key_jwt,
      client_certificate: {second}, certificate_to_resource: true,
      assertion: {{ audience: aud, algorithm: ES256, typ: at, key_id: k, lifetime: 30s }} }} }}
  - id: public
    name: Public
    resource_domain: https://a.example
    auth: {{ oauth2: {{ token_url: '{token_url}', client_id: c, client_authentication: none }} }}
"
    )
}

/// What is shown of a connector of the configuration makes that very connector, once its secrets
/// are put in.
#[test]
fn a_connector_of_the_configuration_is_shown_whole_and_without_secrets() {
    let stage = Stage::new();
    let text = format!("connectors:\n{}{}", every_key(), every_scheme(&stage));
    let config = stage.config(&text).unwrap();
    let key = std::fs::read_to_string(stage.directory().join("first.key")).unwrap();
    for connector in &config.connectors {
        let view = ConnectorView::of_file(connector);
        let shown = view.json().to_string();
        assert!(
            !shown.contains(PASSWORD) && !shown.contains("PRIVATE KEY"),
            "{shown}"
        );

        let secret = |field: &String| match field.ends_with("/private_key") {
            true => Secret::new(key.clone()),
            false => Secret::new(PASSWORD.to_owned()),
        };
        let fields = kept_fields(&view.document);
        let secrets: Secrets = fields
            .iter()
            .map(|field| (field.clone(), secret(field)))
            .collect();
        let identity = Identity {
            id: &view.id,
            organization: &view.organization,
            name: &view.name,
            kind: &view.kind,
            enabled: view.state == Phase::Active,
        };
        let read = read_with(
            &identity,
            &view.document,
            &secrets,
            &config.connector_defaults,
        );
        assert_eq!(read.as_ref(), Ok(&**connector), "{shown}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_gives_no_half_answer() {
    let room = room().await;
    room.store.close().await;

    let page = Page {
        after: None,
        limit: 10,
    };
    let listed = room.registry.list(&acme(), &Filter::default(), page).await;
    let read = room.registry.read(&acme(), &id("a")).await;
    let made = room
        .registry
        .create(&acme(), room.basic("Other"), None)
        .await;
    let stopped = room
        .registry
        .deactivate(&acme(), &id("a"), IfMatch::Any)
        .await;

    assert!(matches!(listed, Err(Refused::Unavailable(_))), "{listed:?}");
    assert!(matches!(read, Err(Refused::Unavailable(_))), "{read:?}");
    assert!(matches!(made, Err(Refused::Unavailable(_))), "{made:?}");
    assert!(
        matches!(stopped, Err(Refused::Unavailable(_))),
        "{stopped:?}"
    );
}

#[tokio::test]
async fn a_refusal_that_cannot_be_noted_stays_that_refusal() {
    let room = room().await;
    room.store.close().await;
    let reader = administrator(Role::HelpDeskAdmin, "acme");

    let by_role = room
        .registry
        .deactivate(&reader, &id("a"), IfMatch::Any)
        .await;
    let by_source = room
        .registry
        .deactivate(&acme(), &id("b"), IfMatch::Any)
        .await;

    assert!(matches!(by_role, Err(Refused::Forbidden)), "{by_role:?}");
    assert!(matches!(by_source, Err(Refused::ReadOnly)), "{by_source:?}");
}
