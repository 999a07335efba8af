//! `certs/generate.sh`: what it makes can be used, stays, and is readable by its owner only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use attache::config::ServerTls;
use attache::connector::ClientCertificate;
use attache::secret::Secret;
use attache::tls::client::check_pair;
use attache::tls::server::{Protocols, server_config};

const KEYS: [&str; 3] = ["ca.key", "server.key", "client.key"];

fn generate(out: &Path, arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/generate.sh");
    Command::new("sh")
        .arg(script)
        .arg("--out")
        .arg(out)
        .args(arguments)
        .output()
        .expect("sh runs")
}

fn made(out: &Path, arguments: &[&str]) {
    let output = generate(out, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "is openssl installed? {stderr}");
}

fn read(out: &Path, name: &str) -> String {
    fs::read_to_string(out.join(name)).unwrap()
}

fn pair(out: &Path, name: &str) -> ClientCertificate {
    ClientCertificate {
        certificate_pem: read(out, &format!("{name}.pem")),
        private_key_pem: Secret::new(read(out, &format!("{name}.key"))),
    }
}

#[test]
fn what_is_no_name_is_refused_before_anything_is_made() {
    let out = tempfile::tempdir().unwrap();
    for arguments in [&["a b"][..], &["x;y"], &["--colour"], &[""]] {
        let output = generate(out.path(), arguments);

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn a_private_key_is_its_owners_alone() {
    let out = tempfile::tempdir().unwrap();
    made(out.path(), &[]);
    let loosened = out.path().join("ca.key");
    fs::set_permissions(&loosened, fs::Permissions::from_mode(0o644)).unwrap();

    made(out.path(), &[]);

    for key in KEYS {
        let mode = fs::metadata(out.path().join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_second_run_changes_nothing_and_leaves_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    made(out.path(), &["gateway.test"]);
    let before = KEYS.map(|key| read(out.path(), key));

    made(out.path(), &["gateway.test"]);

    assert_eq!(KEYS.map(|key| read(out.path(), key)), before);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 6);
}

#[test]
fn a_pair_that_does_not_fit_is_made_anew() {
    let out = tempfile::tempdir().unwrap();
    made(out.path(), &[]);
    let ca = read(out.path(), "ca.pem");
    fs::copy(out.path().join("client.key"), out.path().join("server.key")).unwrap();

    made(out.path(), &[]);

    check_pair(&pair(out.path(), "server")).unwrap();
    assert_eq!(read(out.path(), "ca.pem"), ca);
}

#[test]
fn a_listener_takes_what_was_made() {
    let out = tempfile::tempdir().unwrap();

    made(out.path(), &["gateway.test", "192.0.2.7"]);

    let server = pair(out.path(), "server");
    let tls = ServerTls {
        certificate_pem: server.certificate_pem,
        private_key_pem: server.private_key_pem,
        client_ca_pem: Some(read(out.path(), "ca.pem")),
        client_crl_pem: None,
    };
    server_config(&tls, Protocols::Http2AndHttp11).unwrap();
    check_pair(&pair(out.path(), "client")).unwrap();
}
