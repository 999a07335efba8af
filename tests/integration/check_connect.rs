//! `attache check --connect`, from outside: each connector's legs, the one that fails, the exit code.

use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::authority::{Authority, rejection};
use crate::support::child::{Child, Ended};
use crate::support::connector::{
    basic, connector, connector_with, connectors, oauth2, pair, with_secret,
};
use crate::support::origin::{Origin, Setup, whole};
use crate::support::stage::Stage;
use crate::support::tls::Ask;

async fn check(stage: &Stage, own: &str) -> Ended {
    let file = stage.config_file(own);
    let file = file.to_str().unwrap();
    let child = Child::attache(&["check", "--config", file, "--connect"]);
    child.exited().await
}

/// Checks one connector `c` and claims that exactly `leg` failed, for a reason that names each of
/// `says`.
async fn claim_broken(stage: &Stage, own: &str, leg: &str, says: &[&str]) -> Ended {
    let ended = check(stage, own).await;
    let failed: Vec<_> = ended
        .stdout
        .lines()
        .filter(|it| it.contains(": failed: "))
        .collect();
    assert_eq!(failed.len(), 1, "{ended:?}");
    assert!(
        failed[0].starts_with(&format!("c: {leg}: failed: ")),
        "{ended:?}"
    );
    for word in says {
        assert!(failed[0].contains(word), "no {word:?} in {ended:?}");
    }
    let last = ended.stdout.lines().last();
    assert_eq!(last, Some("connectors reached: 0 of 1"), "{ended:?}");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    ended
}

fn one(resource_domain: &str, auth: &str) -> String {
    connectors(&[connector("c", resource_domain, auth)])
}

/// `auth` for Basic with a validation URL.
fn validated(url: &str) -> String {
    format!("{{ basic: {{ username: svc, password: pass-word, validation_url: \"{url}\" }} }}")
}

#[tokio::test]
async fn a_bad_configuration_is_refused_before_anybody_is_connected_to() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;

    let ended = check(
        &stage,
        &format!("{}nonsense: 1\n", one(&origin.url("/"), "none")),
    )
    .await;

    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!(origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_name_that_does_not_exist_fails_to_resolve() {
    // RFC 6761 §6.4: `.invalid` never does.
    let stage = Stage::new();
    let own = one("https://nowhere.invalid/", "none");

    claim_broken(
        &stage,
        &own,
        "resolve",
        &["nowhere.invalid", "is the name right"],
    )
    .await;
}

#[tokio::test]
async fn an_address_in_a_refused_range_fails_to_resolve_and_names_the_key() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let own = format!(
        "trust: {{ ca_bundles: [{{ file: ca.pem }}] }}\n{}",
        one(&origin.url_as("127.0.0.1", "/"), "none")
    );

    claim_broken(
        &stage,
        &own,
        "resolve",
        &["127.0.0.0/8", "trust.allow_addresses"],
    )
    .await;

    assert_eq!(origin.tally().accepted, 0);
}

#[tokio::test]
async fn a_port_where_nobody_listens_fails_to_connect() {
    let stage = Stage::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let own = one(&format!("https://127.0.0.1:{port}/"), "none");

    let ended = claim_broken(&stage, &own, "connect", &["refused"]).await;

    assert!(ended.stdout.contains("c: resolve: good"), "{ended:?}");
}

#[tokio::test]
async fn bad_certificates_fail_the_handshake() {
    let stage = Stage::new();
    for (what, identity) in stage.ca.bad_servers() {
        let origin = Origin::plain(&identity).await;
        let own = one(&origin.url("/"), &basic("svc", "pass-word"));

        let ended = claim_broken(&stage, &own, "tls", &["ca_bundle"]).await;

        assert!(
            ended.stdout.contains("c: connect: good"),
            "{what}: {ended:?}"
        );
        assert_eq!(origin.tally().heads, 0, "{what}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_and_an_overdue_list_fail_the_handshake_and_name_the_key() {
    let stage = Stage::new();
    let revoked = crate::support::pki::Leaf::server(&["localhost"]).numbered(1007);
    let origin = Origin::plain(&stage.ca.issue(&revoked)).await;
    for lists in [stage.ca.revokes(&[1007]), stage.ca.revoked_once(&[])] {
        stage.write("lists.pem", &lists);
        let more = "crl: { file: lists.pem }";
        let one = connector_with("c", &origin.url("/"), "none", more);

        claim_broken(&stage, &connectors(&[one]), "tls", &["crl", "newer list"]).await;
    }
    assert_eq!(origin.tally().heads, 0);
}

#[tokio::test]
async fn what_is_no_tls_is_told_from_a_bad_certificate() {
    let stage = Stage::new();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let greeting = tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        let _sent = tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 200 OK\r\n\r\n").await;
        // Until the gateway has gone.
        let mut heard = Vec::new();
        let _ended = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut heard).await;
    });
    let own = one(&format!("https://127.0.0.1:{port}/"), "none");

    claim_broken(&stage, &own, "tls", &["does it speak TLS on this port"]).await;

    greeting.await.unwrap();
}

#[tokio::test]
async fn an_origin_that_refuses_the_client_certificate_fails_the_handshake() {
    // RFC 8446 §4.4.2.4: it says so only after the client has finished.
    let stage = Stage::new();
    let demanding = Setup {
        ask: Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(demanding, whole(|_| Answer::text("ok"))).await;
    let stranger = crate::support::pki::Leaf::client("stranger").self_signed();
    let stranger = pair(&stage, "stranger", &stranger);
    for auth in [
        "none".to_owned(),
        format!("{{ client_certificate: {stranger} }}"),
    ] {
        let own = one(&origin.url("/"), &auth);

        claim_broken(&stage, &own, "tls", &["demand a client certificate"]).await;
    }
}

#[tokio::test]
async fn a_token_endpoint_that_is_not_reached_fails_with_its_own_leg() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let expired = stage
        .ca
        .issue(&crate::support::pki::Leaf::server(&["localhost"]).expired());
    let impostor = Authority::plain(&expired).await;
    for (url, leg) in [
        (
            "https://nowhere.invalid/token".to_owned(),
            "token (resolve)",
        ),
        (format!("https://127.0.0.1:{port}/token"), "token (connect)"),
        (impostor.token_url(), "token (tls)"),
    ] {
        let own = one(&origin.url("/"), &with_secret(&url));

        let ended = claim_broken(&stage, &own, leg, &["the token endpoint was not reached"]).await;

        assert!(ended.stdout.contains("c: tls: good"), "{ended:?}");
    }
    assert_eq!(impostor.origin().tally().heads, 0);
}

#[tokio::test]
async fn an_address_that_no_token_endpoint_may_have_names_its_own_key() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let own = format!(
        "trust: {{ ca_bundles: [{{ file: ca.pem }}], allow_addresses: [127.0.0.0/8, \"::1\"], \
         token_endpoint_allow_addresses: [] }}\n{}",
        one(&origin.url("/"), &with_secret(&authority.token_url()))
    );

    let says = ["trust.token_endpoint_allow_addresses"];
    claim_broken(&stage, &own, "token (resolve)", &says).await;

    assert_eq!(authority.origin().tally().accepted, 0);
}

#[tokio::test]
async fn a_refused_token_request_says_what_to_check_and_no_secret() {
    // RFC 6749 §5.2.
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let own = one(&origin.url("/"), &with_secret(&authority.token_url()));
    for (code, hint) in [
        ("invalid_client", "check client_id"),
        ("invalid_scope", "check scope"),
        ("unauthorized_client", "does not allow this client"),
        ("client-secret", "the authorization server's own log"),
    ] {
        authority.answer_with(move |_, _| rejection(400, code));

        let ended = claim_broken(&stage, &own, "token", &["status 400", hint]).await;

        assert!(!format!("{ended:?}").contains("client-secret"), "{ended:?}");
    }
    authority.answer_with(|_, _| Answer::text("<html>Sign in</html>"));
    claim_broken(&stage, &own, "token", &["is token_url the token endpoint"]).await;
    assert_eq!(origin.tally().heads, 0, "no flow's request is made");
}

#[tokio::test]
async fn a_validation_url_that_refuses_fails_the_connector() {
    let stage = Stage::new();
    for (status, hint) in [
        (401, "check username and password"),
        (403, "whether they may call"),
        (404, "validation_url"),
        (500, "status 500"),
    ] {
        let origin = Origin::start(
            Setup::new(&stage.server()),
            whole(move |_| Answer::status(status)),
        )
        .await;
        let own = one(&origin.url("/api"), &validated(&origin.url("/me?a=b")));

        let says = [format!("status {status}")];
        claim_broken(&stage, &own, "validation", &[&says[0], hint]).await;

        let asked = origin.only_request();
        assert_eq!(
            (asked.method.as_str(), asked.target.as_str()),
            ("GET", "/me?a=b")
        );
    }
}

#[tokio::test]
async fn a_validation_url_that_never_answers_has_a_time_limit() {
    let stage = Stage::new();
    let origin = Origin::start(
        Setup::new(&stage.server()),
        crate::support::origin::scripted(|_| std::future::pending()),
    )
    .await;
    let auth = validated(&origin.url("/me"));
    let limit = "upstream: { response_head: 50ms }";
    let own = connectors(&[connector_with("c", &origin.url("/"), &auth, limit)]);

    claim_broken(&stage, &own, "validation", &["no answer within 50ms"]).await;
}

#[tokio::test]
async fn a_redirect_of_the_validation_url_is_good_and_not_followed() {
    let stage = Stage::new();
    let decoy = Origin::plain(&stage.server()).await;
    let location = decoy.url("/");
    let origin = Origin::start(
        Setup::new(&stage.server()),
        whole(move |_| Answer::status(302).field("location", &location)),
    )
    .await;

    let ended = check(
        &stage,
        &one(&origin.url("/"), &validated(&origin.url("/me"))),
    )
    .await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("c: validation: good (status 302)"),
        "{ended:?}"
    );
    // RFC 7617 §2.
    let sent = origin.only_request();
    assert_eq!(
        sent.field("authorization"),
        Some("Basic c3ZjOnBhc3Mtd29yZA==")
    );
    assert_eq!(decoy.tally().accepted, 0);
}

#[tokio::test]
async fn every_connector_is_walked_although_one_before_it_failed() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let certificate = pair(&stage, "client", &stage.ca.client("client"));
    let all = [
        connector("a", "https://nowhere.invalid/", "none"),
        connector("b", &origin.url("/"), &basic("svc", "pass-word")),
        connector("c", &origin.url("/"), &with_secret(&authority.token_url())),
        connector_with("d", "https://nowhere.invalid/", "none", "enabled: false"),
        connector(
            "e",
            &origin.url("/"),
            &format!("{{ client_certificate: {certificate} }}"),
        ),
    ];

    let ended = check(&stage, &connectors(&all)).await;

    let text = &ended.stdout;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(text.contains("a: resolve: failed: "), "{ended:?}");
    assert!(text.contains("b: tls: good (HTTP/2)\nc: "), "{ended:?}");
    assert!(text.contains("c: token: good (expires 20"), "{ended:?}");
    assert!(text.contains("d: inactive, not walked"), "{ended:?}");
    assert!(text.contains("e: tls: good"), "{ended:?}");
    assert!(text.ends_with("connectors reached: 3 of 4"), "{ended:?}");
    assert_eq!(authority.count(), 1);
    assert_eq!(origin.tally().heads, 0, "no flow's request is made");
}

#[tokio::test]
async fn a_certificate_opens_the_token_endpoint_and_the_resource_domain() {
    // RFC 8705 §§2, 3.
    let stage = Stage::new();
    let demanding = Setup {
        ask: Ask::SignedBy(stage.ca.der()),
        ..Setup::new(&stage.server())
    };
    let origin = Origin::start(demanding.clone(), whole(|_| Answer::text("ok"))).await;
    let authority = Authority::start(demanding).await;
    let certificate = pair(&stage, "client", &stage.ca.client("client"));
    let rest = format!(
        "client_id: id, client_authentication: tls_client_auth, \
         client_certificate: {certificate}, certificate_to_resource: true"
    );
    let own = one(&origin.url("/"), &oauth2(&authority.token_url(), &rest));

    let ended = check(&stage, &own).await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("c: token: good"), "{ended:?}");
    assert!(
        ended.stdout.ends_with("connectors reached: 1 of 1"),
        "{ended:?}"
    );
}
