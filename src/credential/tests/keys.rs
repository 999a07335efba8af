//! What decides a token, and what does not.

use std::collections::HashSet;

use super::fleet::stored;
use super::requests::field;
use super::server::self_signed;
use super::shelf::Shelf;
use super::*;
use crate::connector::{Assertion, Fallback, SigningAlgorithm, Stored};

fn password_of(oauth2: &mut OAuth2, name: &str, held: &str) {
    oauth2.grant = GrantType::Password {
        username: name.to_owned(),
        password: secret(held),
    };
}

fn assertion_of(oauth2: &mut OAuth2, audience: &str, lifetime: u64) {
    static CERTIFICATE: std::sync::OnceLock<ClientCertificate> = std::sync::OnceLock::new();
    oauth2.client_authentication = ClientAuthentication::PrivateKeyJwt {
        certificate: CERTIFICATE.get_or_init(|| self_signed("a.example")).clone(),
        assertion: Box::new(Assertion {
            audience: audience.to_owned(),
            algorithm: SigningAlgorithm::Es256,
            typ: "JWT".to_owned(),
            key_id: None,
            lifetime: Duration::from_secs(lifetime),
        }),
    };
}

/// One change each; no two may lead to one token.
const EDITS: &[fn(&mut OAuth2)] = &[
    |_| {},
    |o| o.client_id = "client-2".to_owned(),
    |o| o.scope = Some(String::new()),
    |o| o.scope = Some("a".to_owned()),
    |o| o.token_url = HttpsUrl::parse("https://login.example/other").expect("a URL"),
    |o| o.client_authentication = ClientAuthentication::None,
    |o| o.client_authentication = ClientAuthentication::ClientSecretPost(secret(SECRET)),
    |o| o.client_authentication = ClientAuthentication::ClientSecretBasic(secret("other")),
    |o| o.client_authentication = ClientAuthentication::TlsClientAuth(self_signed("a.example")),
    |o| o.client_authentication = ClientAuthentication::TlsClientAuth(self_signed("a.example")),
    |o| assertion_of(o, "a", 60),
    |o| assertion_of(o, "b", 60),
    |o| assertion_of(o, "a", 61),
    |o| password_of(o, "a", "b"),
    |o| password_of(o, "a", "c"),
    |o| password_of(o, "ab", ""),
    |o| o.token_parameters = BTreeMap::from([("audience".to_owned(), secret("a"))]),
    |o| o.token_parameters = BTreeMap::from([("audience".to_owned(), secret("b"))]),
    |o| o.token_headers = vec![field("audience", "a")],
];

#[tokio::test]
async fn everything_that_decides_a_token_separates_it() {
    // protocol.md, line 51.
    let stage = Stage::new().await;
    let slot = |edit: &fn(&mut OAuth2), revision| {
        let mut oauth2 = stage.oauth2();
        edit(&mut oauth2);
        let connector = connector("crm", oauth2);
        let label = Arc::from("crm");
        let source =
            stage
                .credentials
                .source(&connector, Revision(revision), &stage.settings, label);
        match source.expect("a usable identity") {
            Source::Token(slot) => slot,
            Source::Fixed(_) => panic!("no slot"),
        }
    };

    let slots: Vec<_> = EDITS.iter().map(|edit| slot(edit, 1)).collect();

    assert!(
        Arc::ptr_eq(&slots[0], &slot(&EDITS[0], 1)),
        "equal keys meet"
    );
    assert!(
        !Arc::ptr_eq(&slots[0], &slot(&EDITS[0], 2)),
        "a revision separates"
    );
    for (i, one) in slots.iter().enumerate() {
        for (j, other) in slots.iter().enumerate().skip(i + 1) {
            assert!(!Arc::ptr_eq(one, other), "edits {i} and {j}");
        }
    }
}

#[tokio::test]
async fn what_decides_a_token_decides_where_it_is_shared_and_how_a_replica_counts_does_not() {
    let stage = Stage::new().await;
    let shelf = || Arc::new(Shelf::new(Clock::turned(&stage.turned)));
    let replica = || {
        let metrics = Metrics::new(1, 10);
        let clock = Clock::turned(&stage.turned);
        credentials(&clock, &metrics, Some(shelf()))
    };
    let key = |replica: &Credentials, connector: &Connector| {
        let Scheme::OAuth2(oauth2) = connector.kind.scheme() else {
            panic!("no token");
        };
        let commons = replica.0.commons.as_ref().expect("it shares");
        commons.key_of(connector, oauth2)
    };
    let (one, other) = (replica(), replica());
    let mut connectors: Vec<_> = EDITS
        .iter()
        .map(|edit| {
            let mut oauth2 = stage.oauth2();
            edit(&mut oauth2);
            connector("crm", oauth2)
        })
        .collect();
    let plain = connectors[0].clone();
    connectors.push(connector("orders", stage.oauth2()));
    connectors.push(Connector {
        ca_bundle: Some("bundle".into()),
        ..plain.clone()
    });
    connectors.push(Connector {
        crl: Some("bundle".into()),
        ..plain.clone()
    });
    connectors.push(stored(plain.clone(), 1));
    connectors.push(stored(plain.clone(), 2));
    let fallback = Some(Fallback {
        oauth2: Arc::new(stage.oauth2()),
        until: SystemTime::UNIX_EPOCH,
    });
    connectors.push(Connector {
        stored: Some(Arc::new(Stored {
            revision: 2,
            fallback,
        })),
        ..plain
    });

    let keys: Vec<_> = connectors.iter().map(|it| key(&one, it)).collect();

    let elsewhere: Vec<_> = connectors.iter().map(|it| key(&other, it)).collect();
    assert_eq!(keys, elsewhere);
    // The digest alone names a row.
    let different: HashSet<_> = keys.iter().map(SharedKey::digest).collect();
    assert_eq!(different.len(), keys.len());
}

#[tokio::test]
async fn another_connector_or_other_anchors_separate_a_token_too() {
    let stage = Stage::new().await;
    let slot = |connector: &Connector| match stage.source(connector) {
        Source::Token(slot) => slot,
        Source::Fixed(_) => panic!("no slot"),
    };
    let crm = connector("crm", stage.oauth2());
    let anchored = Connector {
        ca_bundle: Some(stage.pki.pem().as_str().into()),
        ..crm.clone()
    };
    let other = connector("orders", stage.oauth2());

    let kept = slot(&crm);

    assert!(Arc::ptr_eq(&kept, &slot(&crm)));
    assert!(!Arc::ptr_eq(&kept, &slot(&anchored)));
    assert!(!Arc::ptr_eq(&kept, &slot(&other)));
}
