//! The router: its table, its endpoint, and one session after the other.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use mcc_bgp::wire::{Family, Message, Notification, Open};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info};

use crate::Route;
use crate::encode::{self, EncodeError};
use crate::session::{self, Ended};

/// How a router meets its neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// It listens; port 0 takes a free one.
    Listen(SocketAddr),
    /// It dials, again and again, from `source` if that is given.
    Dial {
        /// The neighbor.
        peer: SocketAddr,
        /// The own address, for neighbors that know a router by it.
        source: Option<IpAddr>,
    },
}

/// What a router is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterSettings {
    /// How it meets its neighbor.
    pub endpoint: Endpoint,
    /// Its AS number. A neighbor with the same one is internal.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Hold time to propose in seconds, 0 or at least 3.
    pub hold_time: u16,
    /// `false`: an old speaker without four-octet AS numbers (RFC 6793).
    pub four_octet_as: bool,
    /// Whether IPv6 unicast is offered beside IPv4 unicast.
    pub ipv6: bool,
    /// Whether sending several paths for a prefix is offered (RFC 7911).
    pub add_path: bool,
    /// Restart time in seconds to offer with graceful restart (RFC 4724), if at all.
    pub graceful_restart: Option<u16>,
}

impl RouterSettings {
    /// A router of today: hold time 90 s, four-octet AS numbers, IPv4 unicast.
    #[must_use]
    pub const fn new(endpoint: Endpoint, asn: u32, router_id: Ipv4Addr) -> Self {
        Self {
            endpoint,
            asn,
            router_id,
            hold_time: 90,
            four_octet_as: true,
            ipv6: false,
            add_path: false,
            graceful_restart: None,
        }
    }
}

/// Why a router did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address to listen on is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A route that cannot be sent.
    #[error(transparent)]
    Route(#[from] EncodeError),
}

/// Why a change of the table was not taken.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// A route that cannot be sent. None of its list was taken.
    #[error(transparent)]
    Route(#[from] EncodeError),
    /// The router's task is gone.
    #[error("the router has stopped")]
    Stopped,
}

/// What a router is doing, and what it has heard.
#[derive(Debug, Clone, Default)]
pub struct RouterStatus {
    /// Both OPENs and KEEPALIVEs are through.
    pub established: bool,
    /// Sessions that came that far.
    pub sessions: u64,
    /// How often the whole table, End-of-RIB included, went onto the socket.
    pub tables_sent: u64,
    /// Why the last connection ended, or was never made.
    pub last_error: Option<String>,
    /// What the neighbor sent, over all sessions.
    pub heard: Heard,
}

/// What a neighbor sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last OPEN.
    pub open: Option<Open>,
    /// KEEPALIVEs.
    pub keepalives: u64,
    /// End-of-RIB markers, by family. The last 16.
    pub end_of_rib: Vec<Family>,
    /// ROUTE-REFRESHes.
    pub route_refreshes: u64,
    /// NOTIFICATIONs. The last 16.
    pub notifications: Vec<Notification>,
    /// Prefixes that the neighbor announced or withdrew: a listener has none.
    pub prefixes: u64,
}

/// Lists in [`Heard`] keep so many.
const KEPT: usize = 16;

impl Heard {
    pub(crate) fn note(&mut self, message: &Message) {
        match message {
            Message::Open(open) => self.open = Some(open.clone()),
            Message::Update(update) => {
                if let Some(family) = update.end_of_rib {
                    push_bounded(&mut self.end_of_rib, family);
                }
                let count = update.announced.len() + update.withdrawn.len();
                self.prefixes += u64::try_from(count).unwrap_or(u64::MAX);
            }
            Message::Notification(notification) => {
                push_bounded(&mut self.notifications, notification.clone());
            }
            Message::Keepalive => self.keepalives += 1,
            Message::RouteRefresh(_) => self.route_refreshes += 1,
        }
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() == KEPT {
        list.remove(0);
    }
    list.push(item);
}

/// A change of the table.
pub(crate) enum Change {
    Announce(Vec<Route>),
    Withdraw(Vec<(IpNet, u32)>),
    Close(Option<String>),
}

pub(crate) type Table = BTreeMap<(IpNet, u32), Route>;

/// A running router. Dropped, it breaks off: its connection closes without a word, as that of a
/// router that lost its power.
#[derive(Debug)]
pub struct Router {
    local: Option<SocketAddr>,
    changes: mpsc::Sender<Change>,
    status: watch::Receiver<RouterStatus>,
    task: JoinHandle<()>,
}

/// Between two attempts to dial.
const RETRY: Duration = Duration::from_millis(250);
/// Changes that wait for the router; the caller of the next one waits too.
const CHANGES: usize = 16;

impl Router {
    /// Starts a router with a table. Inside of a tokio runtime.
    ///
    /// # Errors
    ///
    /// It cannot listen, or a route cannot be sent.
    pub fn start(settings: RouterSettings, routes: Vec<Route>) -> Result<Self, StartError> {
        routes.iter().try_for_each(encode::check)?;
        let (listener, local) = match settings.endpoint {
            Endpoint::Listen(address) => {
                let failed = |source| StartError::Listen { address, source };
                let listener = listen(address).map_err(failed)?;
                let local = listener.local_addr().map_err(failed)?;
                (Some(listener), Some(local))
            }
            Endpoint::Dial { .. } => (None, None),
        };
        let (changes, to_do) = mpsc::channel(CHANGES);
        let (tell, status) = watch::channel(RouterStatus::default());
        let table = routes.into_iter().map(|route| (route.key(), route)).collect();
        let task = tokio::spawn(run(settings, listener, table, to_do, tell));
        Ok(Self { local, changes, status, task })
    }

    /// Where it listens; `None` if it dials.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Puts routes into the table and, with a session up, on the wire.
    ///
    /// # Errors
    ///
    /// One of them cannot be sent: then none is taken.
    pub async fn announce(&self, routes: Vec<Route>) -> Result<(), AnnounceError> {
        routes.iter().try_for_each(encode::check)?;
        self.change(Change::Announce(routes)).await
    }

    /// Takes the routes with these prefixes and path identifier 0 back.
    ///
    /// # Errors
    ///
    /// The router has stopped.
    pub async fn withdraw(&self, prefixes: Vec<IpNet>) -> Result<(), AnnounceError> {
        let keys = prefixes.into_iter().map(|prefix| (prefix.trunc(), 0)).collect();
        self.change(Change::Withdraw(keys)).await
    }

    async fn change(&self, change: Change) -> Result<(), AnnounceError> {
        self.changes.send(change).await.map_err(|_| AnnounceError::Stopped)
    }

    /// Ends the session with Cease / Administrative Shutdown and `text`, and stops.
    pub async fn close(mut self, text: Option<&str>) {
        if self.change(Change::Close(text.map(str::to_owned))).await.is_ok() {
            // A task that panicked is gone too.
            let _gone = (&mut self.task).await;
        }
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        self.status.borrow().clone()
    }

    /// Returns as soon as the session is up.
    pub async fn established(&self) {
        self.wait_for(|status| status.established).await;
    }

    /// Returns the status as soon as it fulfils `condition`, or as it was when the router stopped.
    pub async fn wait_for(&self, condition: impl FnMut(&RouterStatus) -> bool) -> RouterStatus {
        let mut status = self.status.clone();
        let fulfilled = status.wait_for(condition).await.map(|status| status.clone());
        fulfilled.unwrap_or_else(|_| self.status())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket_for(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(16)
}

async fn dial(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = socket_for(peer)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(peer).await
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

async fn run(
    settings: RouterSettings,
    listener: Option<TcpListener>,
    mut table: Table,
    mut changes: mpsc::Receiver<Change>,
    status: watch::Sender<RouterStatus>,
) {
    loop {
        let connect = async {
            match (&listener, settings.endpoint) {
                (Some(listener), _) => Ok(listener.accept().await?.0),
                (None, Endpoint::Dial { peer, source }) => dial(peer, source).await,
                (None, Endpoint::Listen(_)) => std::future::pending().await,
            }
        };
        let connected = tokio::select! {
            connected = connect => connected,
            change = changes.recv() => match change {
                Some(Change::Close(_)) | None => return,
                Some(change) => {
                    apply(&mut table, change);
                    continue;
                }
            },
        };
        let ended = match connected {
            Ok(stream) => session::run(stream, &settings, &mut table, &mut changes, &status).await,
            Err(error) => Ended::Lost(error.to_string()),
        };
        match ended {
            Ended::Closed => {
                status.send_modify(|status| status.established = false);
                return;
            }
            Ended::Lost(reason) => {
                debug!(asn = settings.asn, reason, "router has no session");
                status.send_modify(|status| {
                    if status.established {
                        info!(asn = settings.asn, reason, "router lost its session");
                    }
                    status.established = false;
                    status.last_error = Some(reason);
                });
            }
        }
        // Also after an accepted one: a neighbor that is refused comes back at once.
        tokio::time::sleep(RETRY).await;
    }
}

/// Changes the table. What is to be sent for it is the session's matter.
pub(crate) fn apply(table: &mut Table, change: Change) {
    match change {
        Change::Announce(routes) => {
            table.extend(routes.into_iter().map(|route| (route.key(), route)));
        }
        Change::Withdraw(keys) => {
            for key in keys {
                table.remove(&key);
            }
        }
        Change::Close(_) => {}
    }
}
