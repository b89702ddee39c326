//! What the rest of the node sees of the speaker.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::history::{MalformedMessages, SessionHistory};
use super::member::Member;
use super::rib_task::{Changes, Request};
use super::rules_of;
use super::session_task::Command;
use super::status::{Board, NeighborDetail, SessionBoard, SpeakerStatus};
use super::tap::{EstablishedSession, Tap, TapSubscription};
use crate::mrt::TableDumpStream;
use crate::policy::AcceptPolicy;
use crate::rib::{
    DampedPrefix, FootprintPage, FootprintQuery, PrefixAttributes, RoutePage, RouteQuery,
    SnapshotPage, SubscriberId, TablePage,
};
use crate::session::CannotRefresh;

/// Asks the speaker and commands it. Cheap to clone; outlives the speaker, and then says so.
#[derive(Debug, Clone)]
pub struct SpeakerHandle {
    pub(super) board: Arc<Board>,
    pub(super) tap: Tap,
    pub(super) requests: mpsc::Sender<Request>,
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

    /// One neighbor with everything there is to know of its session.
    ///
    /// # Errors
    /// Unknown neighbor, or stopped.
    pub async fn neighbor(&self, address: IpAddr) -> Result<NeighborDetail, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.member(address)?.commands.send(Command::Timers(reply)).await.map_err(|_| Stopped)?;
        let timers = answer.await.map_err(|_| Stopped)?;
        let neighbors = self.status().neighbors.into_iter();
        let mut found = neighbors.filter(|neighbor| neighbor.address == address);
        let status = found.next().ok_or_else(|| self.unknown(address))?;
        let history = self.member(address)?.board.history().of(address);
        Ok(NeighborDetail::new(status, timers, history.states, Instant::now()))
    }

    /// What sessions remember, of all neighbors or of one: changes of state and messages.
    ///
    /// # Errors
    /// Unknown neighbor.
    pub fn history(&self, neighbor: Option<IpAddr>) -> Result<Vec<SessionHistory>, CommandError> {
        if let Some(address) = neighbor {
            return Ok(vec![self.member(address)?.board.history().of(address)]);
        }
        let sessions = self.sessions();
        Ok(sessions.map(|session| session.history().of(session.neighbor().address)).collect())
    }

    /// The malformed messages that are remembered, of all neighbors or of one, oldest first.
    ///
    /// # Errors
    /// Unknown neighbor.
    pub fn malformed(&self, neighbor: Option<IpAddr>) -> Result<MalformedMessages, CommandError> {
        if let Some(address) = neighbor {
            return Ok(self.member(address)?.board.history().malformed_messages());
        }
        let mut all = MalformedMessages::default();
        for session in self.sessions() {
            let MalformedMessages { last, total } = session.history().malformed_messages();
            all.last.extend(last);
            all.total += total;
        }
        all.last.sort_by_key(|message| message.at);
        Ok(all)
    }

    /// The sessions that are up, with their OPENs: what a listener of the tap has to know of
    /// sessions that were there before it.
    #[must_use]
    pub fn established(&self) -> Vec<Arc<EstablishedSession>> {
        self.sessions().filter_map(|session| session.established()).collect()
    }

    /// Listens to the sessions from now on: to all, or to that of one neighbor.
    ///
    /// # Errors
    /// Unknown neighbor.
    pub fn tap(&self, neighbor: Option<IpAddr>) -> Result<TapSubscription, CommandError> {
        self.check_known(neighbor)?;
        Ok(self.tap.subscribe(neighbor))
    }

    /// One page of routes: `query.limit` of them, or all that are left.
    ///
    /// # Errors
    /// Unknown neighbor, or stopped: "none" would be a misleading answer.
    pub async fn routes(&self, mut query: RouteQuery) -> Result<RoutePage, CommandError> {
        self.check_known(query.neighbor)?;
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

    /// How many routes are asked for; `query.limit` does not matter.
    ///
    /// # Errors
    /// As for [`SpeakerHandle::routes`].
    pub async fn count_routes(&self, mut query: RouteQuery) -> Result<usize, CommandError> {
        self.check_known(query.neighbor)?;
        let mut count = 0;
        loop {
            let asked = query.clone();
            let slice = self.ask(|reply| Request::Count { query: asked, reply }).await?;
            count += slice.count;
            if slice.next.is_none() {
                return Ok(count);
            }
            query.after = slice.next;
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

    /// The whole table as an MRT file, of all neighbors or of one. `view` names the table in it.
    ///
    /// # Errors
    /// Unknown neighbor.
    pub fn dump(
        &self,
        neighbor: Option<IpAddr>,
        view: &str,
    ) -> Result<TableDumpStream, CommandError> {
        self.check_known(neighbor)?;
        Ok(TableDumpStream::new(self.clone(), neighbor, view))
    }

    /// The accept rules of a neighbor, if there is one.
    pub(crate) fn policy(&self, address: IpAddr) -> Option<AcceptPolicy> {
        let Board { router_id, ebgp_requires_rules, ref roster, .. } = *self.board;
        let member = roster.find(address)?;
        // Rules that cannot be read have stopped the speaker from starting.
        let rules = rules_of(member.board.neighbor(), router_id, ebgp_requires_rules).ok()?;
        Some(rules.policy)
    }

    /// Waits until the speaker has stopped.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    /// One page of the whole table, after `after`: of all neighbors, or of one.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn table_page(
        &self,
        neighbor: Option<IpAddr>,
        after: Option<IpNet>,
    ) -> Result<TablePage, Stopped> {
        self.ask(|reply| Request::Table { neighbor, after, reply }).await
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
        Ok(self.member(address)?.commands.send(Command::Reset).await.map_err(|_| Stopped)?)
    }

    /// Asks a neighbor to send its table again.
    ///
    /// # Errors
    /// Unknown neighbor, session not established, or a router without route refresh.
    pub async fn refresh(&self, address: IpAddr) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.member(address)?.commands.send(Command::Refresh(reply)).await.map_err(|_| Stopped)?;
        match answer.await.map_err(|_| Stopped)? {
            Ok(()) => Ok(()),
            Err(CannotRefresh::NotEstablished) => Err(CommandError::NotEstablished { address }),
            Err(CannotRefresh::NotNegotiated) => Err(CommandError::NoRouteRefresh { address }),
        }
    }

    fn sessions(&self) -> impl Iterator<Item = Arc<SessionBoard>> {
        let members = self.board.roster.members().into_iter();
        members.map(|(_, member)| Arc::clone(&member.board))
    }

    fn member(&self, address: IpAddr) -> Result<Arc<Member>, CommandError> {
        self.board.roster.find(address).ok_or_else(|| self.unknown(address))
    }

    fn check_known(&self, address: Option<IpAddr>) -> Result<(), CommandError> {
        address.map_or(Ok(()), |address| self.member(address).map(|_| ()))
    }

    fn unknown(&self, address: IpAddr) -> CommandError {
        let known: Vec<_> =
            self.sessions().map(|session| session.neighbor().address.to_string()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        CommandError::UnknownNeighbor { address, known }
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
    AwaitsSubscription(oneshot::Receiver<SubscriberId>),
    /// Has read so much of the footprint.
    Reads(SubscriberId, SnapshotPage),
    AwaitsPage(SubscriberId, SnapshotPage, oneshot::Receiver<Option<SnapshotPage>>),
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
                    self.state = Following::AwaitsSubscription(answer);
                }
                Following::AwaitsSubscription(answer) => {
                    let id = answer.await.ok()?;
                    self.state = Following::Reads(id, SnapshotPage::default());
                }
                Following::Reads(id, read) => {
                    let permit = self.requests.reserve().await.ok()?;
                    let (reply, answer) = oneshot::channel();
                    permit.send(Request::Snapshot { after: read.next, reply });
                    self.state = Following::AwaitsPage(id.clone(), mem::take(read), answer);
                }
                Following::AwaitsPage(id, read, answer) => {
                    let Some(page) = answer.await.ok()? else {
                        // The footprint has changed too much meanwhile: what was read is not told.
                        self.state = Following::Nothing;
                        continue;
                    };
                    read.prefixes.extend(page.prefixes);
                    read.next = page.next;
                    if read.next.is_some() {
                        self.state = Following::Reads(id.clone(), mem::take(read));
                        continue;
                    }
                    let snapshot = mem::take(&mut read.prefixes);
                    self.state = Following::Follows(id.clone());
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
