//! What the rest of the node sees of the speaker.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::rib_task::{Changes, Request, Subscription};
use super::session_task::Command;
use super::status::{Board, SpeakerStatus};
use crate::rib::{
    DampedPrefix, FootprintPage, FootprintQuery, PrefixAttributes, RoutePage, RouteQuery,
    SubscriberId,
};
use crate::session::CannotRefresh;

/// Asks the speaker and commands it. Cheap to clone; outlives the speaker, and then says so.
#[derive(Debug, Clone)]
pub struct SpeakerHandle {
    pub(super) board: Arc<Board>,
    pub(super) requests: mpsc::Sender<Request>,
    /// By neighbor, in the order of the board.
    pub(super) commands: Arc<[mpsc::Sender<Command>]>,
}

/// The speaker has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the BGP speaker has stopped")]
pub struct Stopped;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such neighbor.
    #[error("no neighbor {address}; the configured ones are: {known}")]
    UnknownNeighbor {
        /// The address asked for.
        address: IpAddr,
        /// The addresses there are.
        known: String,
    },
    /// The session is down.
    #[error("the session with {address} is not established: `mcc bgp status` says why")]
    NotEstablished {
        /// The neighbor.
        address: IpAddr,
    },
    /// The router cannot send its table again.
    #[error(
        "{address} does not know route refresh (RFC 2918): `mcc bgp reset {address}` gets its table anew"
    )]
    NoRouteRefresh {
        /// The neighbor.
        address: IpAddr,
    },
    /// There is nobody to command.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl SpeakerHandle {
    /// How things are. Never waits; costs O(neighbors).
    #[must_use]
    pub fn status(&self) -> SpeakerStatus {
        self.board.status(Instant::now())
    }

    /// One page of routes: `query.limit` of them, or all that are left.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn routes(&self, mut query: RouteQuery) -> Result<RoutePage, Stopped> {
        let mut page = RoutePage::default();
        loop {
            let limit = query.limit() - page.routes.len();
            let asked = query.clone();
            let ask = |reply| Request::Routes { query: asked, limit, reply };
            let slice = self.ask(ask).await?;
            page.routes.extend(slice.routes);
            page.next = slice.next;
            if page.next.is_none() || page.routes.len() >= query.limit() {
                return Ok(page);
            }
            query.after = page.next;
        }
    }

    /// One page of the footprint, with the size of the whole.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn footprint(&self, query: FootprintQuery) -> Result<FootprintPage, Stopped> {
        self.ask(|reply| Request::Footprint { query, reply }).await
    }

    /// Says that the footprint is right as it is, so that subscribers are told of it; whether
    /// anything was held.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn approve(&self) -> Result<bool, Stopped> {
        self.ask(|reply| Request::Approve { reply }).await
    }

    /// The prefixes that subscribers are not told of because they flap.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn damped(&self) -> Result<Vec<DampedPrefix>, Stopped> {
        self.ask(|reply| Request::Damped { reply }).await
    }

    /// Follows the footprint from now on.
    #[must_use]
    pub fn subscribe(&self) -> FootprintSubscription {
        FootprintSubscription { requests: self.requests.clone(), state: Following::Nothing }
    }

    /// Ends the session with a neighbor (Cease / Administrative Reset) and begins it again, at once
    /// and whatever it was waiting for. Its routes stay as stale ones meanwhile.
    ///
    /// # Errors
    /// Unknown neighbor, or stopped.
    pub async fn reset(&self, address: IpAddr) -> Result<(), CommandError> {
        Ok(self.commands(address)?.send(Command::Reset).await.map_err(|_| Stopped)?)
    }

    /// Asks a neighbor to send its table again.
    ///
    /// # Errors
    /// Unknown neighbor, session not established, or a router without route refresh.
    pub async fn refresh(&self, address: IpAddr) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.commands(address)?.send(Command::Refresh(reply)).await.map_err(|_| Stopped)?;
        match answer.await.map_err(|_| Stopped)? {
            Ok(()) => Ok(()),
            Err(CannotRefresh::NotEstablished) => Err(CommandError::NotEstablished { address }),
            Err(CannotRefresh::NotNegotiated) => Err(CommandError::NoRouteRefresh { address }),
        }
    }

    fn commands(&self, address: IpAddr) -> Result<&mpsc::Sender<Command>, CommandError> {
        let addresses = || self.board.sessions.iter().map(|session| session.neighbor().address);
        let mut commands = addresses().zip(self.commands.iter());
        commands.find(|(a, _)| *a == address).map(|(_, commands)| commands).ok_or_else(|| {
            let known: Vec<_> = addresses().map(|address| address.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            CommandError::UnknownNeighbor { address, known }
        })
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(ask(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// What a subscriber learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FootprintUpdate {
    /// The whole footprint. First, and once.
    Snapshot(Vec<(IpNet, PrefixAttributes)>),
    /// What has changed since, each prefix as it is now; `None`: it is gone.
    Changes(Vec<(IpNet, Option<PrefixAttributes>)>),
}

/// Follows the footprint. Changes that are not taken are coalesced per prefix: a slow subscriber
/// costs memory by the size of the table, never by its churn.
#[derive(Debug)]
pub struct FootprintSubscription {
    requests: mpsc::Sender<Request>,
    state: Following,
}

#[derive(Debug)]
enum Following {
    Nothing,
    AwaitsSnapshot(oneshot::Receiver<Subscription>),
    Follows(SubscriberId),
    AwaitsChanges(SubscriberId, oneshot::Receiver<Changes>),
}

impl FootprintSubscription {
    /// The next news; waits for it. `None`: the speaker has stopped.
    ///
    /// Nothing is lost if the future is dropped: the next call goes on where it was.
    pub async fn next(&mut self) -> Option<FootprintUpdate> {
        loop {
            match &mut self.state {
                Following::Nothing => {
                    let permit = self.requests.reserve().await.ok()?;
                    let (reply, answer) = oneshot::channel();
                    permit.send(Request::Subscribe { reply });
                    self.state = Following::AwaitsSnapshot(answer);
                }
                Following::AwaitsSnapshot(answer) => {
                    let (id, snapshot) = answer.await.ok()?;
                    self.state = Following::Follows(id);
                    return Some(FootprintUpdate::Snapshot(snapshot));
                }
                Following::Follows(id) => {
                    let permit = self.requests.reserve().await.ok()?;
                    let (reply, answer) = oneshot::channel();
                    permit.send(Request::Changes { id: id.clone(), reply });
                    self.state = Following::AwaitsChanges(id.clone(), answer);
                }
                Following::AwaitsChanges(id, answer) => {
                    let changes = answer.await.ok()?;
                    self.state = Following::Follows(id.clone());
                    return Some(FootprintUpdate::Changes(changes));
                }
            }
        }
    }
}
