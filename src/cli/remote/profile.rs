//! Which gateway is meant, and with whose token: flags, then the environment, then a profile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Deserialize;

use crate::secret::Secret;

/// The longest token file or profile, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;
/// Everybody who is neither the owner nor of the group.
const OTHERS: u32 = 0o007;

/// Which gateway is meant. What no flag says is taken from ATTACHE_SERVER, ATTACHE_TOKEN or
/// ATTACHE_TOKEN_FILE, and ATTACHE_CA, and then from the profile.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Flags {
    /// The gateway's admin address: https://host:port, or http://127.0.0.1:9901 on this machine
    #[arg(long, value_name = "URL", global = true)]
    pub(in crate::cli) server: Option<String>,
    /// A file that holds the token and nothing else; others may not read it
    #[arg(long, value_name = "FILE", global = true)]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// PEM certificates to trust for it beside the system's
    #[arg(long, value_name = "FILE", global = true)]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Which profile of ~/.config/attache/profile.yaml (ATTACHE_PROFILE); its `default` otherwise
    #[arg(long, value_name = "NAME", global = true)]
    pub(in crate::cli) profile: Option<String>,
}

/// Where to, and with what.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) server: String,
    pub(super) token: Secret,
    pub(super) ca_pem: Option<String>,
}

/// The profile file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    default: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

/// What the process was started with.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Flags {
    /// Which gateway is meant, by `environment`.
    ///
    /// # Errors
    ///
    /// What is missing, cannot be read, or can be read by others.
    pub(super) fn resolve(&self, environment: Environment<'_>) -> anyhow::Result<Target> {
        let from = |name: &str| environment(name).filter(|text| !text.is_empty());
        let chosen = self.profile.clone().or_else(|| from("ATTACHE_PROFILE"));
        let (profile, base) = profile(chosen.as_deref(), environment)?;
        let given = self.server.clone().or_else(|| from("ATTACHE_SERVER"));
        // A profile's token is for its own server alone.
        let is_own = given.is_none() || given == profile.server;
        let server = given.or_else(|| profile.server.clone()).ok_or_else(|| {
            anyhow!("no gateway is named: give --server, ATTACHE_SERVER or a profile")
        })?;
        let mine = if is_own { profile } else { Profile::default() };
        let file = self.token_file.clone();
        let named = file.or_else(|| from("ATTACHE_TOKEN_FILE").map(PathBuf::from));
        let token = match (named, from("ATTACHE_TOKEN")) {
            (Some(file), _) => read_token(&file)?,
            (None, Some(token)) => Secret::new(token),
            (None, None) => own_token(&mine, &base)?,
        };
        let ca = self
            .ca
            .clone()
            .or_else(|| from("ATTACHE_CA").map(PathBuf::from));
        let ca = ca.or_else(|| mine.ca.map(|ca| base.join(ca)));
        let ca_pem = ca.map(|ca| read_text(&ca)).transpose()?;
        Ok(Target {
            server,
            token,
            ca_pem,
        })
    }
}

fn own_token(profile: &Profile, base: &Path) -> anyhow::Result<Secret> {
    match (&profile.token, &profile.token_file) {
        (Some(token), None) => Ok(Secret::new(token.clone())),
        (None, Some(file)) => read_token(&base.join(file)),
        (Some(_), Some(_)) => bail!("the profile has both `token` and `token_file`; write one"),
        (None, None) => bail!(
            "no token for this server: give --token-file, ATTACHE_TOKEN, ATTACHE_TOKEN_FILE or a \
             profile"
        ),
    }
}

/// The chosen profile and the directory its paths are relative to; an empty one if there is no
/// file and none was chosen.
fn profile(
    chosen: Option<&str>,
    environment: Environment<'_>,
) -> anyhow::Result<(Profile, PathBuf)> {
    let home = environment("HOME").map(|home| Path::new(&home).join(".config"));
    let Some(base) = environment("XDG_CONFIG_HOME").map(PathBuf::from).or(home) else {
        return Ok((Profile::default(), PathBuf::new()));
    };
    let base = base.join("attache");
    let path = base.join("profile.yaml");
    if !path.exists() && chosen.is_none() {
        return Ok((Profile::default(), base));
    }
    let shown = path.display();
    let (text, mode) = read(&path)?;
    // The parser's own words could repeat a token.
    let profiles: Profiles = serde_yaml::from_str(&text).map_err(|_| {
        anyhow!(
            "{shown} is not as it has to be: `default` names one of `profiles`, each with \
             `server`, `token` or `token_file`, and `ca`"
        )
    })?;
    let Some(name) = chosen.map(str::to_owned).or(profiles.default) else {
        return Ok((Profile::default(), base));
    };
    let profile = profiles.profiles.get(&name).cloned();
    let profile = profile.with_context(|| format!("{shown} has no profile of that name"))?;
    if profile.token.is_some() {
        refuse_open(&path, mode)?;
    }
    Ok((profile, base))
}

fn read_token(path: &Path) -> anyhow::Result<Secret> {
    let (text, mode) = read(path)?;
    refuse_open(path, mode)?;
    Ok(Secret::new(text.trim_end().to_owned()))
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    read(path).map(|(text, _)| text)
}

/// The text of a file, and who may read it: both of the same open file.
fn read(path: &Path) -> anyhow::Result<(String, u32)> {
    let unreadable = || format!("{} cannot be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let mode = file.metadata().with_context(unreadable)?.mode();
    let mut text = String::new();
    let mut bounded = file.take(BYTES_MAX + 1);
    bounded.read_to_string(&mut text).with_context(unreadable)?;
    if text.len() as u64 > BYTES_MAX {
        bail!("{} is longer than {BYTES_MAX} bytes", path.display());
    }
    Ok((text, mode))
}

fn refuse_open(path: &Path, mode: u32) -> anyhow::Result<()> {
    if mode & OTHERS != 0 {
        let path = path.display();
        bail!("{path} holds a token and everybody may read it: chmod 600 {path}");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
