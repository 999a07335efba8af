//! Every role × every operation (domain.md §5).

use attache::connector::{Access, Role};
use serde_json::{Value, json};

use super::desk::{ANY, Desk, JSON, PATCH, refused, staged};
use crate::support::client::Client;

/// What an operation needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needs {
    /// To be somebody.
    Nothing,
    Read,
    Write,
    /// To run the gateway, beside writing.
    Everything,
}

/// Every operation of the API's description, with what it needs and a body that is well-formed.
/// The `ID` is a connector that there is not: whoever may ask is told 404.
fn operations(desk: &Desk) -> Vec<(&'static str, &'static str, Needs, Value)> {
    use Needs::{Everything, Nothing, Read, Write};
    let none = Value::Null;
    let basic = |name: &str| desk.room.basic(name);
    let token = json!({"name": "t", "role": "external-read-only-admin"});
    vec![
        ("GET", "/whoami", Nothing, none.clone()),
        ("GET", "/connectors", Read, none.clone()),
        ("GET", "/connectors/{id}", Read, none.clone()),
        ("POST", "/connectors", Write, basic("")),
        ("PUT", "/connectors/{id}", Write, basic("Other")),
        ("PATCH", "/connectors/{id}", Write, json!({"name": "x"})),
        ("DELETE", "/connectors/{id}", Write, none.clone()),
        ("POST", "/connectors/{id}/activate", Write, none.clone()),
        ("POST", "/connectors/{id}/deactivate", Write, none.clone()),
        ("POST", "/connectors/{id}/restore", Write, none.clone()),
        ("POST", "/connectors/{id}/test", Write, none.clone()),
        ("POST", "/connectors/{id}/purge-token", Write, none.clone()),
        ("POST", "/connectors/{id}/roll-back", Write, none.clone()),
        ("PUT", "/connectors/{id}/staged-secrets", Write, staged("x")),
        (
            "DELETE",
            "/connectors/{id}/staged-secrets",
            Write,
            none.clone(),
        ),
        (
            "POST",
            "/connectors/{id}/staged-secrets/test",
            Write,
            none.clone(),
        ),
        (
            "POST",
            "/connectors/{id}/staged-secrets/promote",
            Write,
            json!({}),
        ),
        ("GET", "/organizations", Read, none.clone()),
        ("GET", "/organizations/{name}", Read, none.clone()),
        (
            "POST",
            "/organizations",
            Everything,
            json!({"name": "initech"}),
        ),
        (
            "PUT",
            "/organizations/{name}",
            Everything,
            json!({"connectors_max": {}}),
        ),
        ("GET", "/audit", Read, none.clone()),
        ("GET", "/admin-tokens", Write, none.clone()),
        ("POST", "/admin-tokens", Write, token),
        ("GET", "/admin-tokens/{id}", Write, none.clone()),
        ("DELETE", "/admin-tokens/{id}", Write, none),
    ]
}

#[tokio::test]
async fn the_matrix_has_every_operation_of_the_description() {
    let desk = Desk::new().await;
    let mut client = Client::http1(desk.address).await;
    let document = client.get("/openapi.json").await.json();

    let mut described: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let mut listed: Vec<_> = operations(&desk)
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), format!("/api/v1{path}")))
        .collect();

    described.sort();
    listed.sort();
    assert_eq!(listed, described);
}

#[tokio::test]
async fn each_role_may_do_what_the_domain_says_and_nothing_else() {
    // domain.md, §5.
    let desk = Desk::new().await;
    desk.room.widen().await;

    for (number, role) in Role::ALL.into_iter().enumerate() {
        let token = desk.token(role, Some("acme")).await;
        for (method, path, needs, mut body) in operations(&desk) {
            if path == "/connectors" {
                body["name"] = format!("Made {number}").into();
            }
            let kind = if method == "PATCH" { PATCH } else { JSON };
            let path = path.replace("{id}", "nowhere").replace("{name}", "acme");

            let answer = desk
                .as_who(&token, (method, &path), &[kind, ANY], &body)
                .await;

            let allowed = match needs {
                Needs::Nothing => true,
                Needs::Read => role.access() >= Access::Read,
                Needs::Write => role.access() == Access::Write,
                // Nobody of one organization.
                Needs::Everything => false,
            };
            let case = format!("{role}: {method} {path}: {}", answer.text());
            match allowed {
                false => refused(&answer, 403, "forbidden"),
                true if path.contains("nowhere") => assert_eq!(answer.status, 404, "{case}"),
                true => assert!(answer.status.is_success(), "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn who_runs_the_gateway_may_do_what_nobody_of_one_organization_may() {
    let desk = Desk::new().await;
    let everybody = desk.token(Role::FullAdmin, None).await;

    for (method, path, needs, body) in operations(&desk) {
        if needs != Needs::Everything {
            continue;
        }
        let path = path.replace("{name}", "acme");
        let answer = desk
            .as_who(&everybody, (method, &path), &[JSON, ANY], &body)
            .await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    }
}
