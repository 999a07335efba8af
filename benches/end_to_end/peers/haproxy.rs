//! HAProxy, reading HTTP and not.

use super::{Kind, PREFIX, Started, Targets, behind, configure, find, target, words};
use crate::processors::Place;
use crate::running::Running;
use crate::stage::{Stage, free_port};

const HTTP: &str = include_str!("haproxy.cfg");
const TCP: &str = include_str!("haproxy_tcp.cfg");
/// The certificate is verified, and that it is for the origin's name; sessions are resumed by
/// default.
const TLS: &str =
    "ssl verify required ca-file @ca@ sni str(@name@) verifyhost @name@ ssl-min-ver TLSv1.3";
/// Below it the origin asks for no credential: a relay that does not read HTTP can add none.
const OPEN: &str = "/open";

pub(super) fn start(kind: Kind, stage: &Stage, threads: usize) -> Option<Started> {
    let program = find("haproxy")?;
    let (port, http2) = (free_port(), free_port());
    let tcp = kind == Kind::HaproxyTcp;
    let configuration = configure(
        stage,
        &format!("haproxy-{port}.cfg"),
        if tcp { TCP } else { HTTP },
        &[
            ("tls", TLS),
            ("threads", &threads.to_string()),
            ("port", &port.to_string()),
            ("http2", &http2.to_string()),
        ],
    );
    let mut command = stage.processors.bound_command(Place::Gateway, &program);
    command.arg("-db").arg("-f").arg(&configuration);
    Some(Started {
        version: behind(&words(&program, "-v"), "version ").to_owned(),
        running: Running::start(&mut command, stage.file(&format!("haproxy-{port}.log"))),
        targets: match tcp {
            true => Targets {
                http1_origin: target(port, OPEN),
                http2_clients: None,
                http2_origin: Some(target(http2, OPEN)),
                token: None,
            },
            false => Targets {
                http1_origin: target(port, PREFIX),
                http2_clients: Some(target(port, PREFIX)),
                http2_origin: Some(target(port, "/h2/o")),
                token: None,
            },
        },
    })
}
