//! Where the store is: `sqlite:PATH` or `postgres://…`.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::StoreUrl;
use crate::config::error::Problem;
use crate::config::files::{Plain, Use};
use crate::config::reader::{Path, Reader, Section};
use crate::secret::Secret;

const URL_FORM: &str =
    "sqlite:PATH, or postgres://USER@HOST/DATABASE as { file: PATH }, { env: NAME } or plain";
const PASSWORD_IN_URL: &str = "the URL holds a password and stands in the configuration itself; write { env: NAME } or { file: PATH }";

/// What may stand behind a URL's `?`: what the driver knows. It would log the value of anything
/// else, and that may be a password whose name was misspelt.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Reads `url`; `None` where a fault was recorded.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<StoreUrl> {
    let path = path.key("url");
    let Some(node) = section.optional("url") else {
        reader.fault(section.place("url"), &path, Problem::Required(URL_FORM));
        return None;
    };
    let plain = reader.document.text(node).is_some();
    let secret = reader.secret(node, &path, Use::Field, Plain::Accept)?;
    let read = match secret.expose().strip_prefix("sqlite:") {
        Some(file) => sqlite(file).map(|file| StoreUrl::Sqlite(reader.files.resolve(file))),
        None => postgres(secret.expose()).map(|has_password| {
            if plain && has_password {
                reader.warn(node.at, &path, PASSWORD_IN_URL);
            }
            StoreUrl::Postgres(secret.clone())
        }),
    };
    read.map_err(|problem| reader.fault(node.at, &path, problem))
        .ok()
}

/// The file that an `sqlite:` URL names.
fn sqlite(written: &str) -> Result<&str, Problem> {
    let file = written.strip_prefix("//").unwrap_or(written);
    // A database in memory would lose what was acknowledged; parameters could ask for one.
    let in_memory = file.is_empty() || file.starts_with(':') || file.contains('?');
    match in_memory {
        true => Err(Problem::MustBe(
            "sqlite: and the path of a file, without parameters",
        )),
        false => Ok(file),
    }
}

/// Whether a good PostgreSQL URL holds a password.
fn postgres(written: &str) -> Result<bool, Problem> {
    let must_be = |_| Problem::MustBe(URL_FORM);
    let url = Url::parse(written).map_err(must_be)?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(Problem::MustBe(URL_FORM));
    }
    let decoded = percent_decode_str(url.host_str().unwrap_or_default());
    let mut host = decoded.decode_utf8_lossy().into_owned();
    let mut has_password = url.password().is_some();
    let mut mode = None;
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&name.as_ref()) {
            return Err(Problem::UnknownParameter(PARAMETERS));
        }
        match name.as_ref() {
            "host" | "hostaddr" => host = value.into_owned(),
            "password" => has_password = true,
            "sslmode" => mode = Some(value.into_owned()),
            _ => {}
        }
    }
    if host.is_empty() {
        return Err(Problem::MustBe(
            "postgres:// with a host, or with ?host=/DIRECTORY for a socket",
        ));
    }
    let verified = mode.is_none_or(|mode| mode == "verify-full");
    match verified || is_local(&host) {
        true => Ok(has_password),
        false => Err(Problem::StoreUnverified),
    }
}

/// Whether `host` is this machine: a socket's directory, or loopback.
pub(in crate::config) fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(loopback)
}

/// So that whoever opens the store need not parse the URL again to know it.
impl StoreUrl {
    /// Whether the database is on this machine, where TLS adds nothing.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(url) => host(url).is_some_and(|host| is_local(&host)),
        }
    }

    /// Whether the URL itself says how TLS is to be used.
    pub fn names_ssl_mode(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(url) => Url::parse(url.expose())
                .is_ok_and(|url| url.query_pairs().any(|(name, _)| name == "sslmode")),
        }
    }
}

impl StoreUrl {
    /// Which database it is, whoever asks and however: nothing secret, the same on every replica
    /// (for a file: on this machine).
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(file) => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                format!("sqlite:{}", file.display())
            }
            Self::Postgres(url) => {
                let host = host(url).unwrap_or_default().to_ascii_lowercase();
                let (port, database) = port_and_database(url);
                format!("postgres:{host}:{port}/{database}")
            }
        }
    }
}

/// What counts for the driver: the last parameter that says it, then the URL's own part.
fn port_and_database(url: &Secret) -> (String, String) {
    let Ok(url) = Url::parse(url.expose()) else {
        return (String::new(), String::new());
    };
    let port = parameter(&url, &["port"]).or_else(|| Some(url.port()?.to_string()));
    let path = url.path().trim_start_matches('/');
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let database = parameter(&url, &["dbname"]).unwrap_or(path);
    (port.unwrap_or("5432".to_owned()), database)
}

fn parameter(url: &Url, names: &[&str]) -> Option<String> {
    let named = url
        .query_pairs()
        .filter(|(name, _)| names.contains(&name.as_ref()));
    named.last().map(|(_, value)| value.into_owned())
}

fn host(url: &Secret) -> Option<String> {
    let url = Url::parse(url.expose()).ok()?;
    parameter(&url, &["host", "hostaddr"]).or_else(|| {
        let decoded = percent_decode_str(url.host_str()?).decode_utf8_lossy();
        Some(decoded.into_owned())
    })
}
