//! A whole run, every secret of which is watched.

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::json;

use super::answer::Answer;
use super::authority::{Authority, TokenRequest};
use super::canary::Canaries;
use super::client::Client;
use super::connector::{basic, connector, connectors, oauth2, pair, quoted};
use super::origin::{Origin, Setup, whole};
use super::pki::{Identity, Leaf};
use super::stage::Stage;
use super::tls::Ask;

/// What flows bring along that is nobody's business.
const FLOW: &[(&str, &str)] = &[
    ("authorization", "Bearer fl0w-token/canary+1"),
    ("cookie", "session=fl0w-cookie/canary+1"),
    ("x-tenant", "fl0w-field/canary+1"),
];
/// Reasons for a token endpoint to fail, each a path of its own at the authority.
const FAILURES: [&str; 8] = [
    "echo", "echo-500", "redirect", "garbage", "foreign", "illegal", "encoded", "deep",
];

/// A stage with every scheme on it, and every way to fail.
pub(crate) struct WholeRun {
    /// Where the files are.
    pub(crate) stage: Stage,
    /// Every secret and token.
    pub(crate) canaries: Canaries,
    origin: Origin,
    impostor: Origin,
    authority: Authority,
    /// IDs, and the lines that configure them.
    pub(crate) connectors: Vec<(String, String)>,
    files: String,
}

impl WholeRun {
    /// Everything started but the gateway.
    pub(crate) async fn new() -> Self {
        let stage = Stage::new();
        let asking = Setup {
            ask: Ask::Any,
            ..Setup::new(&stage.server())
        };
        let expired = stage.ca.issue(&Leaf::server(&["localhost"]).expired());
        let mut run = Self {
            origin: Origin::start(asking.clone(), whole(|_| Answer::text("ok"))).await,
            impostor: Origin::plain(&expired).await,
            authority: Authority::start(asking).await,
            canaries: Canaries::default(),
            connectors: Vec::new(),
            files: String::new(),
            stage,
        };
        run.authority.answer_with(answer);
        for (name, value) in FLOW {
            let value = value.split(['=', ' ']).next_back().unwrap();
            run.canaries.watch(&format!("the flow's {name}"), value);
        }
        run.canaries
            .watch("the flow's query", "fl0w-query/canary+1");
        run.canaries.watch("the flow's body", "fl0w-body/canary+1");
        run.canaries.watch("an access token", "t0ken-canary");
        run.canaries.watch("a refresh token", "r3fresh-canary");
        run.fixed();
        run.proven_by_secret();
        run.proven_by_certificate();
        run.failing();
        run
    }

    /// A new secret, watched; odd enough to need escaping everywhere.
    fn secret(&mut self, name: &str) -> String {
        let secret = format!("s3cret: {name}/%+&=\"é'canary");
        self.canaries.watch(name, &secret);
        secret
    }

    /// The same in characters that a field may hold.
    fn field_secret(&mut self, name: &str) -> String {
        let secret = format!("s3cret:{name}/%+&='canary");
        self.canaries.watch(name, &secret);
        secret
    }

    fn key_pair(&mut self, stem: &str, identity: &Identity) -> String {
        for line in identity.key_pem.lines().filter(|it| !it.starts_with("--")) {
            self.canaries.watch(&format!("the key of {stem}"), line);
        }
        self.files += &identity.key_pem;
        pair(&self.stage, stem, identity)
    }

    fn add(&mut self, id: &str, auth: &str) {
        let line = connector(id, &self.origin.url("/"), auth);
        self.connectors.push((id.to_owned(), line));
    }

    /// Schemes without a token.
    fn fixed(&mut self) {
        let password = self.secret("basic");
        self.add("basic", &basic("svc", &password));
        let key = quoted(&self.field_secret("header"));
        self.add(
            "header",
            &format!("{{ header: {{ name: X-Api-Key, value: {key} }} }}"),
        );
        let identity = self.stage.ca.client("certificate");
        let pair = self.key_pair("certificate", &identity);
        self.add("certificate", &format!("{{ client_certificate: {pair} }}"));
        // An origin that is somebody else.
        let password = self.secret("impostor");
        let line = connector(
            "impostor",
            &self.impostor.url("/"),
            &basic("svc", &password),
        );
        self.connectors.push(("impostor".to_owned(), line));
    }

    fn proven_by_secret(&mut self) {
        for method in ["client_secret_basic", "client_secret_post"] {
            let (secret, parameter) = (self.secret(method), self.secret(&format!("{method}-p")));
            let field = self.field_secret(&format!("{method}-f"));
            let rest = format!(
                "client_id: id, client_authentication: {method}, client_secret: {}, \
                 token_parameters: {{ key: {} }}, token_headers: {{ X-Key: {} }}",
                quoted(&secret),
                quoted(&parameter),
                quoted(&field),
            );
            let auth = oauth2(&self.authority.token_url(), &rest);
            self.add(&method.replace('_', "-"), &auth);
        }
        let (password, secret) = (self.secret("password"), self.secret("password-client"));
        let rest = format!(
            "grant: password, username: somebody, password: {}, client_id: id, client_secret: {}",
            quoted(&password),
            quoted(&secret),
        );
        self.add("password", &oauth2(&self.authority.token_url(), &rest));
    }

    fn proven_by_certificate(&mut self) {
        for (method, more) in [
            ("tls_client_auth", "certificate_to_resource: true"),
            ("self_signed_tls_client_auth", "scope: a"),
            (
                "private_key_jwt",
                "assertion: { audience: \"https://as.example\" }",
            ),
        ] {
            let identity = Leaf::client("c").rsa().self_signed();
            let pair = self.key_pair(method, &identity);
            let rest = format!(
                "client_id: id, client_authentication: {method}, client_certificate: {pair}, {more}"
            );
            let auth = oauth2(&self.authority.token_url(), &rest);
            self.add(&method.replace('_', "-"), &auth);
        }
    }

    fn failing(&mut self) {
        for failure in FAILURES {
            let secret = quoted(&self.secret(failure));
            let url = format!("{}?fail={failure}", self.authority.token_url());
            let rest = format!(
                "client_id: id, client_secret: {secret}, client_authentication: client_secret_post"
            );
            self.add(failure, &oauth2(&url, &rest));
        }
    }

    /// The `connectors` of its configuration.
    pub(crate) fn own(&self) -> String {
        let lines: Vec<String> = self.connectors.iter().map(|(_, it)| it.clone()).collect();
        connectors(&lines)
    }

    /// Sends requests to every connector, and returns all that the gateway itself answered.
    pub(crate) async fn run(&self, flows: SocketAddr) -> String {
        let mut said = String::new();
        for (id, _) in &self.connectors {
            let target = format!("/{id}/x?key=fl0w-query/canary+1");
            for body in ["", "fl0w-body/canary+1"] {
                let mut client = Client::http1(flows).await;
                let answered = client.call("POST", &target, FLOW, body).await;
                let fails = FAILURES.contains(&id.as_str()) || id == "impostor";
                assert_eq!(answered.status != 200, fails, "{id}: {}", answered.text());
                write!(said, "{:?}\n{}\n", answered.fields, answered.text()).unwrap();
            }
        }
        for target in ["/none/x?fl0w-query/canary+1", "/basic/../fl0w", "/"] {
            let mut client = Client::http1(flows).await;
            let answered = client.call("GET", target, FLOW, "").await;
            assert!(answered.status.is_client_error(), "{target}");
            write!(said, "{:?}\n{}\n", answered.fields, answered.text()).unwrap();
        }
        said
    }

    /// Watches the assertions that were signed, too.
    pub(crate) fn watch_assertions(&mut self) {
        let mut count = 0;
        for request in self.authority.requests() {
            if let Some(assertion) = request.parameter("client_assertion") {
                let signature = assertion.rsplit('.').next().unwrap();
                self.canaries.watch("a client assertion", assertion);
                self.canaries.watch("an assertion's signature", signature);
                count += 1;
            }
        }
        assert!(count > 0, "no assertion was signed");
    }

    /// Fails unless every secret was really in play: configured, sent or received.
    pub(crate) fn claim_in_play(&self) {
        let origin = self.origin.requests();
        let asked: Vec<String> = self.authority.requests().iter().map(in_full).collect();
        let carried: Vec<String> = origin
            .iter()
            .map(|it| format!("{:?} {} {}", it.fields, it.target, it.text()))
            .collect();
        let all = [
            self.own(),
            self.files.clone(),
            asked.concat(),
            carried.concat(),
        ]
        .concat();
        // The flow's own credentials are never passed on, and so seen by nobody.
        let mut missing = self.canaries.missing_from(&all);
        missing.retain(|name| !name.starts_with("the flow's"));
        assert!(missing.is_empty(), "never in play: {missing:?}");
        let sent = carried.concat();
        for part in ["t0ken-canary", "s3cret:header", "fl0w-body"] {
            assert!(sent.contains(part), "the origin never received {part}");
        }
    }
}

fn in_full(request: &TokenRequest) -> String {
    let recorded = &request.recorded;
    format!(
        "{:?} {:?} {}",
        request.form,
        recorded.fields,
        recorded.text()
    )
}

/// What the authority answers: a token, or the failure that the target asks for, with as many
/// secrets in it as a careless server could put there.
fn answer(n: usize, request: &TokenRequest) -> Answer {
    let echo = format!("cannot accept {}", request.recorded.text());
    let secret = request.parameter("client_secret").unwrap_or_default();
    let token = format!("t0ken-canary-{n}");
    let failure = request.recorded.target.split_once("fail=");
    match failure.map(|(_, failure)| failure) {
        Some("echo") => Answer::json(&json!({
            "error": secret, "error_description": echo, "error_uri": secret,
        }))
        .with_status(401),
        Some("echo-500") => Answer::json(&json!({
            "error": "server_error",
            "error_description": format!("no client has the secret {secret}, {token}"),
        }))
        .with_status(500),
        Some("redirect") => {
            let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
            Answer::status(302).field("location", &format!("https://decoy.example/{form}"))
        }
        Some("garbage") => Answer::text(&format!("{token} {echo}")),
        Some("foreign") => Answer::json(&json!({ "access_token": token, "token_type": secret })),
        Some("illegal") => {
            Answer::json(&json!({ "access_token": format!("{token} {secret}\r\n") }))
        }
        Some("encoded") => Answer::text(&token).field("content-encoding", &token),
        Some(_) => Answer::text(&format!("{}{token}", "[".repeat(100))),
        None => {
            // A password's token is spent at once, so that its refresh token is used.
            let spent = request.parameter("grant_type") != Some("client_credentials");
            Answer::json(&json!({
                "access_token": token, "token_type": "Bearer",
                "expires_in": if spent { 0 } else { 60 },
                "refresh_token": format!("r3fresh-canary-{n}"),
            }))
        }
    }
}
