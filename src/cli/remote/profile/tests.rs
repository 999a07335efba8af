//! Which gateway is meant, and whose token it gets.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

struct Home(TempDir);

impl Home {
    fn new(profile: &str) -> Self {
        let home = Self(TempDir::new().unwrap());
        std::fs::create_dir_all(home.0.path().join(".config/attache")).unwrap();
        home.write("profile.yaml", profile, 0o600);
        home.write("token", "from-file\n", 0o600);
        home
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(".config/attache").join(name);
        std::fs::write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    fn resolve(&self, flags: &Flags, set: &[(&str, &str)]) -> anyhow::Result<Target> {
        let home = self.0.path().to_str().unwrap().to_owned();
        flags.resolve(&|name| {
            let found = set.iter().find(|(key, _)| *key == name);
            let home = (name == "HOME").then(|| home.clone());
            found.map(|(_, value)| (*value).to_owned()).or(home)
        })
    }

    fn said(&self, flags: &Flags, set: &[(&str, &str)]) -> String {
        format!("{:#}", self.resolve(flags, set).unwrap_err())
    }
}

const TWO: &str = "default: prod
profiles:
  prod: { server: 'https://prod.example', token_file: token }
  dev: { server: 'http://127.0.0.1:9901', token: from-dev }
";

fn at(server: &str) -> Flags {
    Flags {
        server: Some(server.to_owned()),
        ..Flags::default()
    }
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_profile() {
    let home = Home::new(TWO);
    let other = home.write("other", "from-flag\n", 0o600);
    let by_flag = Flags {
        token_file: Some(other),
        ..at("https://flag.example")
    };
    let set = [
        ("ATTACHE_SERVER", "https://env.example"),
        ("ATTACHE_TOKEN", "from-env"),
    ];
    for (flags, set, server, token) in [
        (&by_flag, &set[..], "https://flag.example", "from-flag"),
        (
            &at("https://flag.example"),
            &set,
            "https://flag.example",
            "from-env",
        ),
        (&Flags::default(), &set, "https://env.example", "from-env"),
        (&Flags::default(), &[], "https://prod.example", "from-file"),
        (
            &Flags::default(),
            &[("ATTACHE_PROFILE", "dev")],
            "http://127.0.0.1:9901",
            "from-dev",
        ),
    ] {
        let target = home.resolve(flags, set).unwrap();
        assert_eq!(
            (target.server.as_str(), target.token.expose()),
            (server, token)
        );
    }
}

#[test]
fn a_profiles_token_goes_to_its_own_server_alone() {
    let home = Home::new(TWO);

    let said = home.said(&at("https://elsewhere.example"), &[]);

    assert!(said.contains("no token for this server"), "{said}");
    let same = home.resolve(&at("https://prod.example"), &[]).unwrap();
    assert_eq!(same.token.expose(), "from-file");
}

#[test]
fn a_token_that_everybody_may_read_is_refused() {
    let home = Home::new(TWO);
    for mode in [0o644, 0o604, 0o602, 0o601] {
        let open = home.write("open", "secret\n", mode);
        let flags = Flags {
            token_file: Some(open),
            ..at("https://a.example")
        };
        let said = home.said(&flags, &[]);
        assert!(
            said.contains("everybody may read it: chmod 600"),
            "{mode:o} {said}"
        );
    }
    home.write("profile.yaml", TWO, 0o644);
    let said = home.said(&Flags::default(), &[("ATTACHE_PROFILE", "dev")]);
    assert!(said.contains("everybody may read it"), "{said}");
    // Without a token of its own it may be read.
    assert!(home.resolve(&Flags::default(), &[]).is_ok());
}

#[test]
fn what_is_missing_or_wrong_is_said_without_repeating_it() {
    let home = Home::new("profiles: { dev: { tokn: hunter2 } }");
    let said = home.said(&Flags::default(), &[]);
    assert!(
        said.contains("is not as it has to be") && !said.contains("hunter2"),
        "{said}"
    );

    let home = Home::new(TWO);
    let said = home.said(&Flags::default(), &[("ATTACHE_PROFILE", "test")]);
    assert!(said.contains("has no profile of that name"), "{said}");
    let home = Home::new("{}");
    assert!(
        home.said(&Flags::default(), &[])
            .contains("no gateway is named")
    );
    assert!(
        home.said(&at("https://a.example"), &[])
            .contains("no token for this server")
    );
}
