//! The HTTP Request activities of whole flow exports.
//!
//! The project ships an export of its own in `tests/flows`; those of real flows are read from
//! beside the project where they are to be had.

use std::path::{Path, PathBuf};

use crate::support::client::Client;
use crate::support::exchange::Recorded;
use crate::support::flow::{self, Activity, FlowRequest};
use crate::support::message::Message;
use crate::support::scene::{CREDENTIAL, Plan, Scene};
use crate::support::tls::Protocols;
use crate::support::wire::Wire;

/// What the templates of all exports stand for.
fn value(expression: &str) -> Option<String> {
    let value = match expression {
        "phoneNumber" => "4085550143",
        "customerId" => "0015g00000Xy-1",
        "contactId" => "0035g00000AbCdE",
        "caseId" => "5005g00000FgHiJ",
        "orderNumber" => "A 17/3",
        "ticketId" => "T-900",
        "since" => "2026-11-01T00:00:00+01:00",
        "summary" => "Lamp arrived \u{2014} broken",
        "notes" => "calls back",
        "NewPhoneContact.ANI | replace({\"+1\":\"\"})" => "4085550143",
        "now()" => "2026-11-21T10:00:00Z",
        _ => return None,
    };
    Some(value.to_owned())
}

fn requests(activities: &[Activity]) -> Vec<FlowRequest> {
    let each = activities.iter();
    each.map(|activity| activity.request(&value)).collect()
}

#[test]
fn an_export_gives_each_authenticated_activity_once() {
    for path in flow::own_exports() {
        let export = flow::read(&path);

        let activities = flow::activities(&export);

        let mut names: Vec<_> = activities.iter().map(|found| found.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "CloseTicket",
                "ContactsOfCustomer",
                "CustomerByPhone",
                "OpenOrders",
                "OpenTicket",
                "PriceOfOrder",
                "ReleaseHold",
                "ReplaceNote",
            ],
        );
    }
}

#[test]
fn what_is_encoded_already_is_not_encoded_twice() {
    let export = flow::read(&flow::own_exports()[0]);
    let activities = flow::activities(&export);

    let requests = requests(&activities);

    let target = |name: &str| {
        let at = activities.iter().position(|found| found.name == name);
        requests[at.unwrap()].target.as_str()
    };
    assert_eq!(
        target("CustomerByPhone"),
        "query?q=SELECT+id,name+FROM+Customer+WHERE+phone+LIKE+%27%254085550143%25%27"
    );
    assert_eq!(
        target("ContactsOfCustomer"),
        "contacts?$select=fullname,telephone1&$filter=contains(telephone1,'4085550143')&$top=1"
    );
    assert_eq!(
        target("OpenOrders"),
        "orders.do?JSONv2&sysparm_query=customer=0015g00000Xy-1&limit=1\
         &note=placed%20%3C%203%20days%20ago%20%26%20open&since=2026-11-01T00%3A00%3A00%2B01%3A00"
    );
    assert_eq!(
        target("PriceOfOrder"),
        "prices/A%2017/3;currency=%E2%82%AC/~list+1/a%2Bb%2Fc@home:8!*,=?exact=1+2&exact=1%2B2&empty=&&"
    );
}

/// The exports of real flows; says where to put them if there are none.
fn real_exports() -> Vec<PathBuf> {
    let exports = flow::real_exports();
    if exports.is_empty() {
        eprintln!(
            "no exports of real flows in ../shared/flows beside the project: only the shipped one \
             in tests/flows is tested"
        );
    }
    exports
}

#[test]
fn real_exports_are_read_whatever_mistakes_they_hold() {
    for path in real_exports() {
        let export = flow::read(&path);

        let found = requests(&flow::activities(&export));

        assert!(!found.is_empty(), "{} holds no activity", path.display());
        for request in found {
            assert!(!request.target.contains(['{', ' ']), "{request:?}");
            assert!(!request.target.starts_with('/'), "{request:?}");
        }
    }
}

/// The request as a flow runtime writes it, to the connector `orders`.
fn written(request: &FlowRequest) -> String {
    let FlowRequest { method, target, .. } = request;
    let mut text = format!("{method} /orders/{target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in &request.fields {
        text += &format!("{name}: {value}\r\n");
    }
    if !request.body.is_empty() {
        text += &format!("Content-Length: {}\r\n", request.body.len());
    }
    text + "\r\n" + &request.body
}

/// What arrived is what was sent, and the credential.
fn check(sent: &FlowRequest, arrived: &Message) {
    let start = format!("{} /base/{} HTTP/1.1", sent.method, sent.target);
    assert_eq!(arrived.start, start);
    for (name, value) in &sent.fields {
        let bytes: String = value.bytes().map(char::from).collect();
        assert_eq!(arrived.field(name), Some(&*bytes), "{start}");
    }
    assert_eq!(arrived.body, sent.body.as_bytes(), "{start}");
    assert_eq!(arrived.field("authorization"), Some(CREDENTIAL));
    let ours = [
        "authorization",
        "host",
        "via",
        "x-request-id",
        "content-length",
    ];
    let others = arrived.fields.iter().filter(|(name, _)| {
        let sent = sent
            .fields
            .iter()
            .any(|(of, _)| of.eq_ignore_ascii_case(name));
        !sent && !ours.contains(&&*name.to_lowercase())
    });
    assert_eq!(others.count(), 0, "{arrived:?}");
}

/// Sends every request of an export as exact bytes, and compares what arrives byte for byte.
async fn carry(export: &Path) {
    let requests = requests(&flow::activities(&flow::read(export)));
    let scene = Scene::start(Plan {
        base: "/base/",
        ..Plan::new()
    })
    .await;
    let mut wire = Wire::plain(scene.gateway.flows()).await;

    for request in &requests {
        wire.write(written(request)).await;
        assert_eq!(wire.answer().await.status(), 200, "{request:?}");
    }

    let arrived = scene.origin.wire();
    assert_eq!(arrived.len(), requests.len());
    for (sent, arrived) in requests.iter().zip(&arrived) {
        check(sent, arrived);
    }
}

/// The same over HTTP/2 on both sides.
async fn carry_over_http2(export: &Path) {
    let requests = requests(&flow::activities(&flow::read(export)));
    let scene = Scene::start(Plan {
        base: "/base/",
        protocols: Protocols::Http2,
        ..Plan::new()
    })
    .await;
    let mut client = Client::http2(scene.gateway.flows()).await;

    for request in &requests {
        let fields: Vec<_> = request
            .fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let target = format!("/orders/{}", request.target);
        let body = request.body.clone();
        let answered = client.call(&request.method, &target, &fields, body).await;
        assert_eq!(answered.status, 200, "{request:?}");
    }

    let arrived = scene.origin.requests();
    assert_eq!(arrived.len(), requests.len());
    for (sent, arrived) in requests.iter().zip(&arrived) {
        let Recorded {
            method,
            target,
            body,
            ..
        } = arrived;
        assert_eq!(
            (method, body.as_slice()),
            (&sent.method, sent.body.as_bytes())
        );
        assert_eq!(*target, format!("/base/{}", sent.target));
        assert_eq!(arrived.field("authorization"), Some(CREDENTIAL));
    }
}

#[tokio::test]
async fn every_request_of_the_shipped_export_arrives_byte_for_byte() {
    for export in flow::own_exports() {
        carry(&export).await;
        carry_over_http2(&export).await;
    }
}

#[tokio::test]
async fn every_request_of_a_real_export_arrives_byte_for_byte() {
    for export in real_exports() {
        carry(&export).await;
        carry_over_http2(&export).await;
    }
}
