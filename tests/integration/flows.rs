//! The HTTP Request activities of whole flow exports.
//!
//! The project ships an export of its own in `tests/flows`; those of real flows are read from
//! beside the project where they are to be had.

use crate::support::flow::{self, Activity, FlowRequest};

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

#[test]
fn real_exports_are_read_whatever_mistakes_they_hold() {
    let exports = flow::real_exports();
    if exports.is_empty() {
        eprintln!("no real flow exports beside the project: only the shipped one is tested");
    }
    for path in exports {
        let export = flow::read(&path);

        let found = requests(&flow::activities(&export));

        assert!(!found.is_empty(), "{} holds no activity", path.display());
        for request in found {
            assert!(!request.target.contains(['{', ' ']), "{request:?}");
            assert!(!request.target.starts_with('/'), "{request:?}");
        }
    }
}
