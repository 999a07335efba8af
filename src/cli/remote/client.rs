//! Requests to a gateway's admin API.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use url::{Host, Url};

use super::problem::sentences;
use super::profile::{Flags, Target};
use crate::cli::failure::{Failure, wrong};
use crate::clock::{Clock, in_real_time};
use crate::connector::{Http2, ResourceDomain};
use crate::dial::{AddressPolicy, Dialer, Lookup, Resolver};
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::tls::client::{ClientTls, TrustAnchors};

/// To connect.
const CONNECT: Duration = Duration::from_secs(10);
/// All of an exchange; a connector is validated within it.
const EXCHANGE: Duration = Duration::from_secs(120);
/// A pause within a stream.
const STALL: Duration = Duration::from_secs(60);
/// An answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What stands as it is in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A gateway that can be asked.
pub(in crate::cli) struct Client {
    way: Way,
    token: Secret,
}

/// How it is reached.
enum Way {
    Tls {
        server: ResourceDomain,
        dialer: Dialer,
        tls: Box<ClientTls>,
        policy: AddressPolicy,
    },
    /// On this machine.
    Plain { address: SocketAddr, host: String },
}

/// What is asked.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Ask {
    pub(in crate::cli) method: Method,
    /// Under `/api/v1`.
    pub(in crate::cli) path: String,
    pub(in crate::cli) if_match: Option<String>,
    pub(in crate::cli) idempotency_key: Option<String>,
    pub(in crate::cli) body: Option<Value>,
}

/// What was answered.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: StatusCode,
    pub(in crate::cli) etag: Option<String>,
    pub(in crate::cli) body: Value,
    retry_after: Option<u64>,
}

impl Ask {
    /// To do `method` with the thing at these segments of a path.
    pub(in crate::cli) fn new(method: Method, segments: &[&str]) -> Self {
        let segments = segments
            .iter()
            .map(|text| utf8_percent_encode(text, SEGMENT));
        Self {
            method,
            path: segments.map(|text| format!("/{text}")).collect(),
            if_match: None,
            idempotency_key: None,
            body: None,
        }
    }

    /// To read it.
    pub(in crate::cli) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// The same with a query.
    pub(in crate::cli) fn with_query(mut self, parameters: &[(&str, Option<&str>)]) -> Self {
        self.path += &query(parameters);
        self
    }

    /// The same for the state that `tag` names.
    pub(in crate::cli) fn if_match(mut self, tag: impl Into<String>) -> Self {
        self.if_match = Some(tag.into());
        self
    }

    /// The same with a body.
    pub(in crate::cli) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// The parameters that have a value, as a query.
fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    let text = text.finish();
    if text.is_empty() {
        text
    } else {
        format!("?{text}")
    }
}

impl Client {
    /// The gateway that `flags`, the environment or a profile name. Has to be called within a
    /// runtime.
    ///
    /// # Errors
    ///
    /// What is missing or cannot be used.
    pub(in crate::cli) fn new(flags: &Flags) -> Result<Self, Failure> {
        let target = flags
            .resolve(&|name| std::env::var(name).ok())
            .map_err(wrong)?;
        Self::to(target).map_err(wrong)
    }

    fn to(target: Target) -> anyhow::Result<Self> {
        let way = match target.server.starts_with("http://") {
            true => plain(&target.server)?,
            false => over_tls(&target)?,
        };
        let token = target.token;
        Ok(Self { way, token })
    }

    /// What is answered to `ask`.
    ///
    /// # Errors
    ///
    /// The sentences of a refusal, or why there is no answer.
    pub(in crate::cli) async fn send(&self, ask: &Ask) -> Result<Answer, Failure> {
        let answer = self.exchange(ask).await?;
        check(answer)
    }

    /// The same, and once more if there was no answer: for what is done once however often it is
    /// sent.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub(in crate::cli) async fn send_again_if_lost(&self, ask: &Ask) -> Result<Answer, Failure> {
        match self.exchange(ask).await {
            Ok(answer) => check(answer),
            Err(_lost) => self.send(ask).await,
        }
    }

    /// The same; nothing if there is no such thing.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub(in crate::cli) async fn find(&self, ask: &Ask) -> Result<Option<Answer>, Failure> {
        let answer = self.exchange(ask).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => check(answer).map(Some),
        }
    }

    /// Writes the JSON lines at `ask` to `out` as they come.
    ///
    /// # Errors
    ///
    /// As [`Client::send`]; what was written by then is whole lines or the beginning of one.
    pub(in crate::cli) async fn lines(
        &self,
        ask: &Ask,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let mut driver = JoinSet::new();
        let limit = in_real_time(EXCHANGE);
        let begun = timeout_at(limit, self.begin(ask, &mut driver, "application/x-ndjson")).await;
        let response = begun.map_err(|_| anyhow!("the gateway did not answer in time"))??;
        if !response.status().is_success() {
            return check(read(response).await?).map(drop);
        }
        let mut body = response.into_body();
        loop {
            let frame = timeout_at(in_real_time(STALL), body.frame()).await;
            let frame = frame.map_err(|_| anyhow!("the gateway paused for too long"))?;
            let Some(frame) = frame else {
                return Ok(out.flush()?);
            };
            if let Ok(piece) = frame.context("the log broke off")?.into_data() {
                out.write_all(&piece)?;
            }
        }
    }

    async fn exchange(&self, ask: &Ask) -> anyhow::Result<Answer> {
        let whole = async {
            let mut driver = JoinSet::new();
            let response = self.begin(ask, &mut driver, "application/json").await?;
            read(response).await
        };
        let ended = timeout_at(in_real_time(EXCHANGE), whole).await;
        ended.unwrap_or_else(|_| bail!("the gateway did not answer in time"))
    }

    /// Connects and asks; what drives the connection is put into `driver`.
    async fn begin(
        &self,
        ask: &Ask,
        driver: &mut JoinSet<()>,
        accept: &'static str,
    ) -> anyhow::Result<Response<Incoming>> {
        let unreached = "the gateway was not reached";
        match &self.way {
            Way::Plain { address, host } => {
                let tcp = TcpStream::connect(address);
                let tcp = timeout_at(in_real_time(CONNECT), tcp).await;
                let tcp = tcp.context(unreached)?.context(unreached)?;
                let request = self.write(ask, (host, "/"), accept)?;
                speak(tcp, request, driver).await
            }
            Way::Tls {
                server,
                dialer,
                tls,
                policy,
            } => {
                let dialed = dialer.dial(server.origin(), tls, policy, CONNECT).await;
                let dialed = dialed.context(unreached)?;
                let place = (server.origin().authority(), server.base_path());
                let request = self.write(ask, place, accept)?;
                speak(dialed.stream, request, driver).await
            }
        }
    }

    fn write(
        &self,
        ask: &Ask,
        (host, base): (&str, &str),
        accept: &'static str,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let target = format!("{}/api/v1{}", base.trim_end_matches('/'), ask.path);
        let bearer = format!("Bearer {}", self.token.expose());
        let bearer = HeaderValue::try_from(bearer);
        // The value itself is not repeated.
        let mut bearer =
            bearer.map_err(|_| anyhow!("the token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(target)
            .header(header::HOST, host)
            .header(header::ACCEPT, accept)
            .header(header::AUTHORIZATION, bearer)
            .header(
                header::USER_AGENT,
                concat!("attache/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(tag) = &ask.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some(key) = &ask.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = match &ask.body {
            None => Bytes::new(),
            Some(body) => {
                let media_type = match ask.method {
                    Method::PATCH => "application/merge-patch+json",
                    _ => "application/json",
                };
                request = request.header(header::CONTENT_TYPE, media_type);
                serde_json::to_vec(body)?.into()
            }
        };
        Ok(request.body(Full::new(body))?)
    }
}

fn plain(server: &str) -> anyhow::Result<Way> {
    let url = Url::parse(server).context("the server's address is no URL")?;
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain("localhost")) => Some(std::net::Ipv4Addr::LOCALHOST.into()),
        Some(Host::Domain(_)) | None => None,
    };
    let address = address
        .filter(std::net::IpAddr::is_loopback)
        .ok_or_else(|| {
            anyhow!(
                "http:// would show the token to the network; write https://, unless it is loopback"
            )
        })?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
        bail!("the server's address is a scheme, a host and a port, such as http://127.0.0.1:9901");
    }
    let port = url.port().unwrap_or(80);
    let address = SocketAddr::new(address, port);
    Ok(Way::Plain {
        address,
        host: address.to_string(),
    })
}

fn over_tls(target: &Target) -> anyhow::Result<Way> {
    let server = ResourceDomain::parse(&target.server);
    let server = server.map_err(|error| anyhow!("the server's address {error}"))?;
    let anchors = TrustAnchors::system_and(target.ca_pem.as_deref());
    let anchors = anchors.context("the CA certificates cannot be used")?;
    let runtime = tokio::runtime::Handle::current();
    let lookups = Metrics::new(1, 0).lookups();
    let resolver = Resolver::new(Lookup::System, Clock::system(), runtime, lookups);
    // Whoever names a server may reach it wherever it is.
    let everywhere: [IpNet; 2] = ["0.0.0.0/0".parse()?, "::/0".parse()?];
    Ok(Way::Tls {
        server,
        dialer: Dialer::new(resolver),
        tls: Box::new(ClientTls::new(&anchors, None, Http2::Off)?),
        policy: AddressPolicy::allowing(&everywhere),
    })
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    driver: &mut JoinSet<()>,
) -> anyhow::Result<Response<Incoming>> {
    let broke = "the exchange with the gateway broke off";
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .context(broke)?;
    driver.spawn(async move {
        // How it ends is told by the exchange itself.
        let _ended = connection.await;
    });
    sender.send_request(request).await.context(broke)
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let status = response.status();
    let text = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let etag = text(header::ETAG);
    let retry_after = text(header::RETRY_AFTER).and_then(|text| text.parse().ok());
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| anyhow!(error).context("the gateway's answer broke off"))?;
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    Ok(Answer {
        status,
        etag,
        body,
        retry_after,
    })
}

fn check(answer: Answer) -> Result<Answer, Failure> {
    let is_json = answer.status == StatusCode::NO_CONTENT || !answer.body.is_null();
    match answer.status.is_success() && is_json {
        true => Ok(answer),
        false => {
            let told = sentences(answer.status, &answer.body, answer.retry_after);
            Err(anyhow!(told).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(server: &str) -> String {
        let target = Target {
            server: server.to_owned(),
            token: Secret::new("t".to_owned()),
            ca_pem: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let _within = runtime.enter();
        let refused = Client::to(target).err();
        format!("{:#}", refused.unwrap_or_else(|| anyhow!("it is allowed")))
    }

    #[test]
    fn a_token_goes_in_the_clear_to_this_machine_alone() {
        for server in [
            "http://gateway.example:9901",
            "http://192.0.2.1:9901",
            "http://localhost.example",
            "http://0.0.0.0:9901",
        ] {
            assert!(refused(server).contains("would show the token"), "{server}");
        }
        for server in [
            "gateway.example",
            "ftp://a.example",
            "https://u:p@a.example",
            "",
        ] {
            assert!(refused(server).contains("the server's address"), "{server}");
        }
        for server in [
            "http://127.0.0.1:9901",
            "http://localhost:9901",
            "http://[::1]:1",
        ] {
            assert_eq!(refused(server), "it is allowed");
        }
    }

    #[test]
    fn whatever_stands_for_an_id_is_one_segment_of_the_path() {
        let ask = Ask::get(&["connectors", "../a?b/c", "test"]);
        let ask = ask.with_query(&[("name", Some("a&b=c")), ("kind", None)]);

        assert_eq!(ask.path, "/connectors/..%2Fa%3Fb%2Fc/test?name=a%26b%3Dc");
    }
}
