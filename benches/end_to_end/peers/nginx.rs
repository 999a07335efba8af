//! nginx, and nginx with lua.

use std::path::Path;

use super::{Kind, PREFIX, Started, Targets, behind, configure, find, target, words};
use crate::processors::Place;
use crate::running::Running;
use crate::stage::{Stage, free_port};

/// Directives, with the reasons for them.
const CONFIGURATION: &str = include_str!("nginx.conf");
/// How the credential is attached where it never changes.
const STATIC: &str = "proxy_set_header Authorization \"@basic@\";";
/// How it is attached where something else fetches tokens and puts them into a shared dictionary.
/// A variable costs less than `ngx.req.set_header`, which rewrites the list of the request's own
/// fields.
const LUA: &str = r#"set $credential "";
            rewrite_by_lua_block {
                local credential = ngx.shared.credentials:get("o")
                if not credential then return ngx.exit(503) end
                ngx.var.credential = credential
            }
            proxy_set_header Authorization $credential;"#;
const LUA_START: &str = r#"lua_shared_dict credentials 1m;
    init_by_lua_block { ngx.shared.credentials:set("o", "Bearer @token@", 86400) }"#;
const LUA_MODULES: [&str; 2] = ["ndk_http_module.so", "ngx_http_lua_module.so"];

pub(super) fn start(kind: Kind, stage: &Stage, threads: usize) -> Option<Started> {
    let program = find("nginx")?;
    let described = words(&program, "-V");
    let lua = kind == Kind::NginxLua;
    let modules = match lua {
        true => lua_modules(behind(&described, "--modules-path="))?,
        false => String::new(),
    };
    let (port, http2) = (free_port(), free_port());
    let configuration = configure(
        stage,
        &format!("nginx-{port}.conf"),
        CONFIGURATION,
        &[
            ("modules", &modules),
            ("credential", if lua { LUA } else { STATIC }),
            ("lua_start", if lua { LUA_START } else { "" }),
            // One listening socket for all workers wakes the wrong ones.
            ("reuseport", if threads > 1 { "reuseport" } else { "" }),
            ("threads", &threads.to_string()),
            ("port", &port.to_string()),
            ("http2", &http2.to_string()),
        ],
    );
    let mut command = stage.processors.bound_command(Place::Gateway, &program);
    command
        .arg("-p")
        .arg(stage.file(""))
        .arg("-c")
        .arg(&configuration);
    let over_http2 = Some(target(http2, PREFIX));
    Some(Started {
        version: behind(&described, "nginx/").to_owned(),
        running: Running::start(&mut command, stage.file(&format!("nginx-{port}.log"))),
        targets: Targets {
            http1_origin: target(port, PREFIX),
            http2_clients: over_http2,
            // It speaks HTTP/1 to origins.
            http2_origin: None,
            token: None,
        },
    })
}

/// The lines that load the lua modules, if they are installed.
fn lua_modules(directory: &str) -> Option<String> {
    let lines = LUA_MODULES.map(|module| {
        let path = Path::new(directory).join(module);
        path.is_file()
            .then(|| format!("load_module {};\n", path.display()))
    });
    let lines: Option<String> = lines.into_iter().collect();
    if lines.is_none() {
        eprintln!("nginx has no lua here: benches/peers/install gets it.");
    }
    lines
}
