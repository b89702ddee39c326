//! A node: the BGP speaker, the cache, the admin API and the link to the control plane, wired
//! together on one runtime, started and stopped in order.

mod admin;
mod central_settings;
mod control_link;
mod exports;
mod metrics;
mod neighbor_report;
mod own_address;
pub(crate) mod prefill;
mod report;
mod shortage;
pub(crate) mod status;
mod token_file;
pub(crate) mod verify;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use mcc_bgp::rib::ExportRules;
use mcc_bgp::speaker::{Speaker, SpeakerHandle, SpeakerSettings, StartError};
use mcc_cache::{Cache, CacheError, CacheSettings, CertificateFiles, Limits};
use mcc_config::{Bgp, NodeConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use central_settings::CentralSettings;
use control_link::{ControlLink, LinkWatch, NewLink, Report};
use exports::Exports;

/// How long running downloads may go on after the node was told to stop.
const DOWNLOADS_MAY_RUN: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted: clients come in crowds, and one that finds no place tries again only after
/// a second. The system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How long the start waits for the drives.
const DRIVES_MAY_OPEN: Duration = Duration::from_millis(500);

/// A running node.
pub(crate) struct Node {
    speaker: Speaker,
    view: Arc<View>,
    link: Option<ControlLink>,
    addresses: Addresses,
    stop: CancellationToken,
}

/// Where the node listens, after ports 0 have become real ones.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

/// What the admin API reads from: handles and snapshots, nothing that makes it wait for a part.
pub(crate) struct View {
    config: NodeConfig,
    started: SystemTime,
    addresses: Addresses,
    speaker: SpeakerHandle,
    cache: Arc<Cache>,
    link: Option<LinkWatch>,
    exports: Exports,
    /// Generation of the settings from the control plane that are in `config`; 0: none.
    central_generation: u64,
}

impl Node {
    /// Starts everything that `config` asks for. What cannot start at all (an address in use, say)
    /// is an error that names it; what can fail alone (a drive, a neighbor, the control plane)
    /// does so and is shown by `mcc status`.
    pub(crate) async fn start(config: NodeConfig) -> Result<Self> {
        own_address::check(&config)?;
        let stop = CancellationToken::new();
        let settings = Arc::new(CentralSettings::fetch(config).await?);
        let config = settings.running().clone();
        let cache = Arc::new(open_cache(&config).await?);

        // All addresses first: a node that cannot listen must not have told a router that it is there.
        let http = listen_all("http.listen", &config.http.listen)?;
        let https = listen_all("https.listen", &config.https.listen)?;
        let admin = listen("admin.listen", config.admin.listen)?;
        let addresses = Addresses {
            http: local_addresses(&http)?,
            https: local_addresses(&https)?,
            admin: admin.local_addr()?,
        };

        let speaker = Speaker::start(speaker_settings(&config)?).map_err(|error| match error {
            StartError::Listen { address, source } => cannot_listen("bgp.listen", address, source),
            error => error.into(),
        })?;
        for listener in http {
            let (cache, stop) = (Arc::clone(&cache), stop.clone());
            tokio::spawn(async move { cache.serve_http(listener, stop).await });
        }
        for listener in https {
            let (cache, stop) = (Arc::clone(&cache), stop.clone());
            tokio::spawn(async move { cache.serve_https(listener, stop).await });
        }
        let link = match &config.control {
            Some(control) => {
                Some(ControlLink::prepare(&control.url, &control.token_file, &speaker.handle())?)
            }
            None => None,
        };
        let exports = Exports::start(&config, &speaker.handle())?;
        let view = Arc::new(View {
            exports,
            started: SystemTime::now(),
            addresses: addresses.clone(),
            speaker: speaker.handle(),
            cache,
            link: link.as_ref().map(NewLink::watch),
            config,
            central_generation: settings.generation,
        });
        let link = link.map(|link| link.start(heartbeats(Arc::clone(&view)), settings));
        tokio::spawn(admin::serve(admin, Arc::clone(&view), stop.clone()));
        tracing::info!(
            name = %view.config.node.name,
            http = ?addresses.http,
            https = ?addresses.https,
            admin = %addresses.admin,
            "node is up"
        );
        Ok(Self { speaker, view, link, addresses, stop })
    }

    /// Where the node listens.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Stops in order: no new clients, CEASE to the routers, a last word to the control plane,
    /// then up to 30 s for running downloads, then the drives' last checkpoint.
    pub(crate) async fn stop(self) {
        self.view.cache.drain(true);
        self.speaker.shutdown(Some("mcc is stopping")).await;
        self.view.exports.finish().await;
        if let Some(link) = self.link {
            link.stop().await;
        }
        self.view.cache.close(DOWNLOADS_MAY_RUN).await;
        // Last, so that `mcc status` answers as long as there is something to ask about.
        self.stop.cancel();
    }
}

/// Opening reads the index of each drive: not a thing for a thread of the runtime.
async fn open_cache(config: &NodeConfig) -> Result<Cache> {
    let certificate = match (&config.https.certificate, &config.https.key) {
        (Some(chain), Some(key)) => {
            Some(CertificateFiles { certificate: chain.clone(), key: key.clone() })
        }
        _ => None,
    };
    let limits = Limits::from(&config.cache.limits);
    let settings = CacheSettings {
        node_name: config.node.name.clone(),
        addresses: vec![config.node.address],
        data_dir: config.node.data_dir.clone(),
        drives: config.drives.clone(),
        keeping: config.cache.clone(),
        origins: config.origins.clone(),
        certificate,
        max_egress_mbps: config.node.max_egress_mbps,
        ipv6: config.node.ipv6,
        limits: Limits {
            connections: crate::open_files::most_connections(limits.connections),
            ..limits
        },
    };
    let opened = tokio::task::spawn_blocking(move || {
        let cache = Cache::open(settings)?;
        // Most drives join at once: then the first word to the control plane is that the node is
        // ready. What takes longer joins while the node serves.
        cache.wait_for_drives(DRIVES_MAY_OPEN);
        Ok::<_, CacheError>(cache)
    });
    Ok(opened.await??)
}

/// Makes heartbeats, and the egress rate between one and the next.
fn heartbeats(view: Arc<View>) -> Report {
    let started = Instant::now();
    let (last_micros, last_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    Box::new(move |link| {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let bytes = view.cache.status().egress_bytes;
        let passed = micros.saturating_sub(last_micros.swap(micros, Ordering::Relaxed));
        let sent = bytes.saturating_sub(last_bytes.swap(bytes, Ordering::Relaxed));
        #[expect(clippy::cast_precision_loss, reason = "a rate for people and thresholds")]
        let mbps = if passed == 0 { 0.0 } else { sent as f64 * 8.0 / passed as f64 };
        report::heartbeat(&view, link, mbps)
    })
}

fn speaker_settings(config: &NodeConfig) -> Result<SpeakerSettings> {
    let router_id = config
        .router_id()
        .context("bgp.router_id: an IPv6 node has to set it, to any IPv4 address of its own")?;
    let (listen, neighbors, dynamic) = match &config.bgp {
        Some(bgp) => (bgp.listen.clone(), bgp.neighbors.clone(), bgp.dynamic.clone()),
        None => Default::default(),
    };
    Ok(SpeakerSettings {
        router_id,
        listen,
        neighbors,
        dynamic,
        manual: config.footprint.cidrs.clone(),
        ipv6: config.node.ipv6,
        ebgp_requires_rules: config.bgp.as_ref().is_some_and(|bgp| bgp.ebgp_requires_rules),
        export: ExportRules {
            max_change: config.footprint.max_change,
            damping: config.footprint.damping,
        },
        last_good: Some(config.node.data_dir.join("footprint.last-good")),
        last_good_time: Duration::from_secs(u64::from(
            config.bgp.as_ref().unwrap_or(&Bgp::default()).last_good_time,
        )),
    })
}

fn listen_all(key: &str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(listen(key, *address)?);
    }
    Ok(listeners)
}

fn listen(key: &str, address: SocketAddr) -> Result<TcpListener> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // So that a restart need not wait for the last connections of the node before it to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| cannot_listen(key, address, error))
}

/// With what to do about it, where that is known.
fn cannot_listen(key: &str, address: SocketAddr, error: io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => " (a port below 1024 needs root or CAP_NET_BIND_SERVICE)",
        ErrorKind::AddrInUse => " (`ss -ltnp` shows who has it)",
        ErrorKind::AddrNotAvailable => {
            " (this node does not have that address: `ip address` lists those that it has)"
        }
        _ => "",
    };
    anyhow!(error).context(format!("{key}: cannot listen on {address}{advice}"))
}

fn local_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>> {
    listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_listening_has_its_own_way_out() {
        let address = SocketAddr::from(([192, 0, 2, 1], 179));
        for (kind, advice) in [
            (
                ErrorKind::PermissionDenied,
                " (a port below 1024 needs root or CAP_NET_BIND_SERVICE)",
            ),
            (ErrorKind::AddrInUse, " (`ss -ltnp` shows who has it)"),
            (
                ErrorKind::AddrNotAvailable,
                " (this node does not have that address: `ip address` lists those that it has)",
            ),
            (ErrorKind::OutOfMemory, ""),
        ] {
            let error = cannot_listen("bgp.listen", address, kind.into());
            let expected = format!("bgp.listen: cannot listen on 192.0.2.1:179{advice}");
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.root_cause().to_string(), io::Error::from(kind).to_string());
        }
    }
}
