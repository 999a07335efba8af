//! Addressing.
use crate::support::gateway::Running;
use crate::support::origin::Origin;
use crate::support::stage::Stage;

#[tokio::test]
async fn a_request_reaches_the_origin_behind_its_base_path() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let gateway = Running::start(&stage, &format!("upstream: {{ http2: off }}\nconnectors:\n  - {{ id: orders, name: O, resource_domain: \"{}\", auth: {{ basic: {{ username: svc, password: pa-ss-word }} }} }}\n", origin.url("/api"))).await;

    let answered = gateway.get("/orders/x?y=%27").await;

    assert_eq!(answered.text(), "ok");
    assert_eq!(origin.wire()[0].target(), "/api/x?y=%27");
    gateway.drain().await;
}
