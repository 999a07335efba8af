//! A server of another make: OpenSSL's own, for what rustls does not do.

use std::process::Command;

use super::child::Child;
use super::pki::Identity;
use super::stage::Stage;

/// `openssl s_server` on a free port of 127.0.0.1. It writes down what reaches it.
pub(crate) struct OpenSsl {
    child: Child,
    port: u16,
}

impl OpenSsl {
    /// Starts it with `identity` and further `arguments`.
    pub(crate) async fn start(stage: &Stage, identity: &Identity, arguments: &[&str]) -> Self {
        let (certificate, key) = identity.write(stage.directory(), "openssl");
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .args(arguments);
        let child = Child::start(command);
        let line = child
            .stdout
            .line("openssl's address", |line| line.starts_with("ACCEPT "));
        let port = line.await.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { child, port }
    }

    /// `https://localhost:{port}{path}`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// Waits until it has given up on a client.
    pub(crate) async fn gave_up(&self) {
        let errors = &self.child.stderr;
        errors
            .line("an error of openssl's", |line| line.contains("error"))
            .await;
    }

    /// All that it has written down.
    pub(crate) fn heard(&self) -> String {
        self.child.stdout.text()
    }
}
