//! The doors of the control plane's listeners.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::config::Config;
use crate::control::{self, Control, Door, HostRule};
use crate::tls::TlsError;
use crate::tls::server::{Protocols, Renewable, ServerIdentity};

/// Serves the admin listener and, if there is one, that for scrapers, until something is sent to
/// what is returned, or it is dropped. It is closed once both have ended.
pub(super) fn show_all(
    (admin, scraped): ((TcpListener, Door), Option<TcpListener>),
    control: &Arc<Control>,
    runtime: &Runtime,
) -> watch::Sender<()> {
    let (stop, _) = watch::channel(());
    let scraped = scraped.map(|listener| (listener, metrics_door()));
    for (listener, door) in [admin].into_iter().chain(scraped) {
        let stopped = stop.subscribe();
        runtime.spawn(show(listener, door, Arc::clone(control), stopped));
    }
    stop
}

/// Serves one listener of the control plane until `stopped` is told so.
async fn show(
    listener: TcpListener,
    door: Door,
    control: Arc<Control>,
    stopped: watch::Receiver<()>,
) {
    // The other one says, as long as it is there, that somebody may still be answered.
    let mut told = stopped.clone();
    let stop = async move { drop(told.changed().await) };
    if let Err(error) = control::serve(listener, door, control, stop).await {
        tracing::error!(%error, "a listener of the control plane ended");
    }
    drop(stopped);
}

/// The admin listener's identity, if it has one.
pub(super) fn admin_identity(config: &Config) -> Result<Option<ServerIdentity>, TlsError> {
    let tls = config.admin.tls.as_ref();
    tls.map(|tls| ServerIdentity::new(tls, Protocols::Http11))
        .transpose()
}

/// The door of the admin listener.
pub(super) fn admin_door(config: &Config) -> Result<Door, TlsError> {
    Ok(Door {
        tls: admin_identity(config)?.map(Renewable::new),
        hosts: HostRule::Ours(config.admin.hosts.clone()),
        front: config.admin.balancers.clone(),
    })
}

/// The door of the listener for scrapers.
fn metrics_door() -> Door {
    Door {
        tls: None,
        hosts: HostRule::Free,
        front: None,
    }
}
