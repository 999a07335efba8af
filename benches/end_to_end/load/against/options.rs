//! What may be asked of `--against`: `cargo bench --bench end_to_end -- --against --help`.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Parser};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri, header};

use super::super::crew::Orders;
use super::super::request::Request;
use super::super::tally::Expected;
use super::super::target::{Target, Tls, TlsError};
use super::super::{Client, Pace};

/// The longest a connection may take to come about where it is seen which address answers.
const REACH_WAIT: Duration = Duration::from_secs(5);
/// Fields that say where a message ends, which is the client's own affair (RFC 9112 §6, §9.6).
const OWN_FIELDS: [HeaderName; 3] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

/// The options alone, for a program whose arguments these are.
#[derive(Clone, Debug, Parser)]
#[command(name = "end_to_end", bin_name = "cargo bench --bench end_to_end --")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) options: Options,
    /// Cargo's own word.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Load a gateway that runs already, and say how it bears it
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What is requested, path and query as they stand: http://gateway:8080/orders/v1/ping
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(super) against: Uri,
    /// Connections; with --rate the most that are used
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// How long requests are sent
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Requests a second, sent when they are due whether others are answered or not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Speak HTTP/2: by prior knowledge, over https by ALPN
    #[arg(long)]
    http2: bool,
    /// With --http2, requests side by side on each connection
    #[arg(long, value_name = "N", default_value_t = 8, requires = "http2",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    streams: u32,
    /// Open a new connection for each request
    #[arg(long, conflicts_with = "http2")]
    new_connections: bool,
    /// [default: GET, with a body POST]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    method: Option<Method>,
    /// Send a body of that many bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1 << 30))]
    body_bytes: Option<u32>,
    /// Send what is in that file
    #[arg(long, value_name = "FILE", conflicts_with = "body_bytes")]
    body: Option<PathBuf>,
    /// A field of the request, `Name: value`; may be given again
    #[arg(long, value_name = "FIELD", value_parser = field)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// For https, the certificates to trust (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long an answer may take before it counts as a failure
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    timeout: Duration,
    /// Open the connections one by one over that time before the clock starts
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    ramp: Duration,
    /// End with code 1 if the 99th percentile of latencies is longer: 50ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) max_p99: Option<Duration>,
    /// End with code 1 if more of the requests fail: 0.1%
    #[arg(long, value_name = "PART", value_parser = percent)]
    pub(super) max_failures: Option<f64>,
    /// Write what was measured there as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// Why it cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("--ca is for https, and {0} is not")]
    CaWithoutTls(Uri),
    #[error("--ca {}: {source}", path.display())]
    Ca { path: PathBuf, source: TlsError },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("--body {}: {source}", path.display())]
    Body {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{name} has no address: {source}")]
    Name {
        name: String,
        source: std::io::Error,
    },
    #[error("{name} has no address")]
    NoAddress { name: String },
    #[error("{address} ({name}) is not reached: {source}")]
    Unreached {
        name: String,
        address: SocketAddr,
        source: std::io::Error,
    },
}

impl Options {
    pub(super) fn pace(&self) -> Pace {
        self.rate
            .map_or(Pace::Closed, |per_second| Pace::Open { per_second })
    }

    pub(super) fn client(&self) -> Client {
        match (self.http2, self.new_connections) {
            (true, _) => Client::Http2 {
                streams: self.streams as usize,
            },
            (false, true) => Client::NewEach,
            (false, false) => Client::KeptAlive,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections as usize
    }

    /// Finds the target and makes the request. Blocks on the system's resolver.
    pub(super) fn orders(&self) -> Result<Orders, OptionsError> {
        let target = self.target()?;
        let body = self.content()?;
        let method = match (&self.method, body.is_empty()) {
            (Some(method), _) => method.clone(),
            (None, true) => Method::GET,
            (None, false) => Method::POST,
        };
        let path = self.against.path_and_query();
        let path = path.map_or("/", |path| path.as_str()).to_owned();
        let fields = self.header.iter().cloned().collect();
        Ok(Orders {
            request: Request::new(method, path, &target.host, body).with_fields(fields),
            target,
            client: self.client(),
            connections: self.connections(),
            expected: Expected::NoError,
            timeout: Some(self.timeout),
            grace: self.timeout,
            ramp: self.ramp,
        })
    }

    fn target(&self) -> Result<Target, OptionsError> {
        let url = &self.against;
        let host = url.host().unwrap_or_default();
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        let tls = match (is_https, &self.ca) {
            (true, Some(ca)) => Some(self.trusting(host, ca)?),
            (true, None) => Some(Tls::trusting(host, None)?),
            (false, Some(_)) => return Err(OptionsError::CaWithoutTls(url.clone())),
            (false, None) => None,
        };
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Target {
            address: reach(host, port)?,
            host: url.authority().map_or(host, |all| all.as_str()).to_owned(),
            prefix: String::new(),
            tls,
        })
    }

    fn trusting(&self, host: &str, ca: &Path) -> Result<Tls, OptionsError> {
        Tls::trusting(host, Some(ca)).map_err(|source| OptionsError::Ca {
            path: ca.to_owned(),
            source,
        })
    }

    fn content(&self) -> Result<Bytes, OptionsError> {
        let Some(path) = &self.body else {
            return Ok(vec![b'b'; self.body_bytes.unwrap_or_default() as usize].into());
        };
        let read = std::fs::read(path).map_err(|source| OptionsError::Body {
            path: path.clone(),
            source,
        })?;
        Ok(read.into())
    }
}

/// The first of a name's addresses that takes a connection.
fn reach(name: &str, port: u16) -> Result<SocketAddr, OptionsError> {
    let name = name.to_owned();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let addresses = match (bare, port).to_socket_addrs() {
        Ok(addresses) => addresses,
        Err(source) => return Err(OptionsError::Name { name, source }),
    };
    let mut failed = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, REACH_WAIT) {
            Ok(_) => return Ok(address),
            Err(source) => failed = Some((address, source)),
        }
    }
    Err(match failed {
        None => OptionsError::NoAddress { name },
        Some((address, source)) => OptionsError::Unreached {
            name,
            address,
            source,
        },
    })
}

fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    match uri.authority() {
        _ if !is_known => Err("it begins with neither http:// nor https://".to_owned()),
        None => Err("it names no host".to_owned()),
        Some(authority) if authority.as_str().contains('@') => {
            Err("write who you are into --header, not into the URL".to_owned())
        }
        Some(_) => Ok(uri),
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text.parse() {
        // They are no requests for a resource (RFC 9110 §9.3.6).
        Ok(Method::CONNECT) => Err("it makes tunnels".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err("it is no method".to_owned()),
    }
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write a name, a colon and a value")?;
    let name: HeaderName = name.trim().parse().map_err(|error| format!("{error}"))?;
    if OWN_FIELDS.contains(&name) {
        return Err("it follows from the other options".to_owned());
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|error| format!("{error}"))?;
    Ok((name, value))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number")?;
    match seconds {
        0.1..=86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it is not between 0.1 and 86400".to_owned()),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic());
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("write a number and us, ms, s or m behind it: 50ms".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "it has no number")?;
    let time = Duration::try_from_secs_f64(number * seconds);
    match time {
        Ok(time) if time <= Duration::from_secs(3600) => Ok(time),
        _ => Err("it is not between 0 and 60m".to_owned()),
    }
}

/// A part of all requests, from 0 to 1.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or("write it in percent: 0.1%")?;
    let percent: f64 = number.parse().map_err(|_| "it has no number")?;
    match percent {
        0.0..=100.0 => Ok(percent / 100.0),
        _ => Err("it is not between 0% and 100%".to_owned()),
    }
}
