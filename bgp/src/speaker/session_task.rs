//! The task of one neighbor: its sockets, its timers and its [`Peer`].
//!
//! It is the edge of the state machine: it tells the peer what happens and does what the peer says.
//! It never waits for the RIB: routes that the RIB does not take yet stay in `pending`, and until
//! they are taken nothing more is read from the neighbor, while timers, commands and KEEPALIVEs go
//! on. TCP then stops the neighbor.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::Ready;
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::first_open;
use super::link::{Link, connection_error};
use super::member::Incoming;
use super::recorder::SessionRecorder;
use super::rib_task::{Batch, ToRib, sleep_until_or_never};
use super::socket::{self, DialSettings};
use super::status::{LastError, SessionBoard, SessionSnapshot};
use super::tap::Tap;
use super::tcp_refused::RefusedSegments;
use crate::rib::{NeighborId, SessionEvent};
use crate::session::{
    Action, CannotRefresh, ErrorDirection, Event, Peer, PeerSettings, Refused, Role, SessionError,
    State, StopReason, Timers,
};
use crate::wire::Message;

/// Bytes of an UPDATE as most are.
const USUAL_MESSAGE: usize = 64;
/// How many refused connections are told why at a time; further ones are just closed.
const TURNED_AWAY: usize = 4;

/// What a handle wants of a session.
#[derive(Debug)]
pub(super) enum Command {
    /// End the session and begin again.
    Reset,
    /// Ask for the table again.
    Refresh(oneshot::Sender<Result<(), CannotRefresh>>),
    /// Say when the timers run out.
    Timers(oneshot::Sender<Timers>),
    /// End the session for good, with a text for the router's operator.
    Shutdown(Option<String>),
    /// End the session for good: the router is no neighbor any more.
    Remove,
}

/// What a session task is made from.
#[derive(Debug)]
pub(super) struct SessionSetup {
    pub(super) id: NeighborId,
    pub(super) settings: PeerSettings,
    pub(super) max_prefixes: u32,
    pub(super) dial: DialSettings,
    pub(super) board: Arc<SessionBoard>,
    /// Whoever listens to the sessions.
    pub(super) tap: Tap,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// To the RIB; bounded.
    pub(super) to_rib: mpsc::Sender<ToRib>,
    /// From the RIB: the number of the session that must end.
    pub(super) over_limit: watch::Receiver<u64>,
    /// Runs the last words of closed connections.
    pub(super) closing: TaskTracker,
}

type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// See the module's documentation.
pub(super) struct SessionTask {
    setup: SessionSetup,
    address: IpAddr,
    peer: Peer,
    dialled: Option<Link>,
    accepted: Option<Link>,
    dialling: Option<Dialling>,
    /// A connection that the peer has not decided on; only inside [`SessionTask::tell`].
    undecided: Option<Incoming>,
    /// Places for refused connections that are being told.
    turned_away: Arc<Semaphore>,
    /// For the RIB, in order.
    pending: Vec<SessionEvent>,
    actions: Vec<Action>,
    recorder: Arc<SessionRecorder>,
    /// As it was when the neighbor was dialled last.
    refused_segments: RefusedSegments,
    /// What made the state change; only inside [`SessionTask::perform`].
    failure: Option<SessionError>,
    snapshot: SessionSnapshot,
    changed: bool,
    /// Number of the current or last established session.
    session: u64,
}

/// What ended the wait.
enum Wake {
    Delivered,
    Ready(Role, io::Result<Ready>),
    Dialled(io::Result<TcpStream>),
    Incoming(Incoming),
    Command(Option<Command>),
    OverLimit,
    Deadline,
}

impl SessionTask {
    pub(super) fn new(setup: SessionSetup) -> Self {
        let snapshot = SessionSnapshot::idle(Instant::now());
        let router_id = setup.settings.router_id;
        let recorder = SessionRecorder::new(Arc::clone(&setup.board), setup.tap.clone(), router_id);
        Self {
            address: setup.board.neighbor().address,
            peer: Peer::new(setup.settings.clone(), rand::make_rng()),
            dialled: None,
            accepted: None,
            dialling: None,
            undecided: None,
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            pending: Vec::new(),
            actions: Vec::new(),
            recorder: Arc::new(recorder),
            refused_segments: RefusedSegments::default(),
            failure: None,
            snapshot,
            changed: false,
            session: 0,
            setup,
        }
    }

    /// Runs until [`Command::Shutdown`] or [`Command::Remove`].
    pub(super) async fn run(mut self) {
        self.tell(Event::Start, Instant::now());
        loop {
            let wake = self.wait().await;
            let now = Instant::now();
            match wake {
                Wake::Delivered => self.peer.reading_was_paused(now),
                Wake::Ready(role, ready) => self.ready(role, ready, now),
                Wake::Dialled(result) => self.dial_finished(result, now),
                Wake::Incoming(incoming) => {
                    self.undecided = Some(incoming);
                    self.tell(Event::Incoming, now);
                    self.take_in(Role::Accepted, now);
                }
                Wake::Command(Some(Command::Reset)) => {
                    self.tell(Event::Stop(StopReason::Reset), now);
                }
                Wake::Command(Some(Command::Refresh(reply))) => self.refresh(reply, now),
                Wake::Command(Some(Command::Timers(reply))) => {
                    // Whoever asked may have gone away.
                    let _ = reply.send(self.peer.timers());
                }
                Wake::Command(Some(Command::Shutdown(text))) => {
                    return self.tell(Event::Stop(StopReason::Shutdown(text)), now);
                }
                Wake::Command(Some(Command::Remove)) => {
                    return self.tell(Event::Stop(StopReason::Removed), now);
                }
                Wake::Command(None) => {
                    return self.tell(Event::Stop(StopReason::Shutdown(None)), now);
                }
                Wake::OverLimit => self.over_limit(now),
                Wake::Deadline => self.deadline(now),
            }
            self.report_broken_links(now);
            self.deliver();
        }
    }

    async fn wait(&mut self) -> Wake {
        let reading = self.pending.is_empty();
        let stalls = self.links().filter_map(Link::stalls_at).min();
        let deadline = [self.peer.next_deadline(), stalls].into_iter().flatten().min();
        let batch = (self.setup.id, self.session);
        tokio::select! {
            Ok(permit) = self.setup.to_rib.reserve(), if !reading => {
                let (neighbor, session) = batch;
                let events = mem::take(&mut self.pending);
                permit.send(ToRib::Batch(Batch { neighbor, session, events }));
                Wake::Delivered
            }
            ready = ready(self.dialled.as_ref(), reading) => Wake::Ready(Role::Dialled, ready),
            ready = ready(self.accepted.as_ref(), reading) => Wake::Ready(Role::Accepted, ready),
            result = finished(&mut self.dialling) => Wake::Dialled(result),
            Some(incoming) = self.setup.incoming.recv() => Wake::Incoming(incoming),
            command = self.setup.commands.recv() => Wake::Command(command),
            Ok(()) = self.setup.over_limit.changed() => Wake::OverLimit,
            () = sleep_until_or_never(deadline) => Wake::Deadline,
        }
    }

    /// Hands over what is pending, if the RIB has room now.
    fn deliver(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let events = mem::take(&mut self.pending);
        let batch = Batch { neighbor: self.setup.id, session: self.session, events };
        let sent = self.setup.to_rib.try_send(ToRib::Batch(batch));
        if let Err(TrySendError::Full(ToRib::Batch(batch))) = sent {
            self.pending = batch.events;
        }
    }

    fn ready(&mut self, role: Role, ready: io::Result<Ready>, now: Instant) {
        let Some(link) = self.link_mut(role) else { return };
        match ready {
            Ok(ready) => {
                if ready.is_writable() {
                    link.flush(now);
                }
                if ready.is_readable() {
                    self.read(role, now);
                }
            }
            Err(error) => link.fail(connection_error(&error)),
        }
    }

    /// Reads once and handles every whole message that is there.
    fn read(&mut self, role: Role, now: Instant) {
        if self.link_mut(role).is_some_and(Link::read) {
            self.take_in(role, now);
        }
    }

    /// Handles every whole message of what has been read.
    fn take_in(&mut self, role: Role, now: Instant) {
        // Once, and not step by step: each step would copy what is there.
        let messages = self.link_mut(role).map_or(0, |link| link.unread() / USUAL_MESSAGE);
        self.pending.reserve(messages);
        // The link goes when a message ends the session.
        while let Some(link) = self.link_mut(role) {
            match link.next_message() {
                Ok(None) => return,
                Ok(Some(Message::Update(update))) if self.peer.takes_update(role, now) => {
                    self.pending.push(SessionEvent::Update(update));
                }
                Ok(Some(message)) => self.tell(Event::Received(role, message), now),
                Err(error) => self.tell(Event::Malformed(role, error), now),
            }
        }
    }

    fn deadline(&mut self, now: Instant) {
        if self.pending.is_empty() {
            // What has come in already counts, even if this task had no time to look at it.
            self.read(Role::Dialled, now);
            self.read(Role::Accepted, now);
        } else {
            self.peer.reading_was_paused(now);
        }
        for link in [&mut self.dialled, &mut self.accepted].into_iter().flatten() {
            link.check_stall(now);
        }
        let mut actions = mem::take(&mut self.actions);
        self.peer.handle_timeout(now, &mut actions);
        self.perform(actions, now);
    }

    fn dial_finished(&mut self, result: io::Result<TcpStream>, now: Instant) {
        self.dialling = None;
        match result {
            Ok(stream) => {
                self.dialled = Some(self.link(stream));
                self.tell(Event::Connected, now);
            }
            Err(error) => {
                let text = socket::dial_error(&self.setup.dial, &error);
                let advice = socket::dial_advice(&error).map(str::to_owned);
                self.tell(Event::DialFailed { text, advice }, now);
            }
        }
    }

    fn refresh(&mut self, reply: oneshot::Sender<Result<(), CannotRefresh>>, now: Instant) {
        let mut actions = mem::take(&mut self.actions);
        let result = self.peer.request_refresh(&mut actions);
        self.perform(actions, now);
        // Whoever asked may have gone away.
        let _ = reply.send(result);
    }

    fn over_limit(&mut self, now: Instant) {
        let session = *self.setup.over_limit.borrow_and_update();
        // Not if that session has ended in the meantime.
        if session == self.session && self.peer.state() == State::Established {
            let limit = self.setup.max_prefixes;
            self.tell(Event::Stop(StopReason::MaxPrefixes { limit }), now);
        }
    }

    /// Tells the peer what happened, and does what it says.
    fn tell(&mut self, event: Event, now: Instant) {
        let mut actions = mem::take(&mut self.actions);
        self.peer.handle(event, now, &mut actions);
        self.perform(actions, now);
    }

    fn report_broken_links(&mut self, now: Instant) {
        for role in [Role::Dialled, Role::Accepted] {
            let why = self.link_mut(role).and_then(|link| link.broken().map(ToOwned::to_owned));
            if let Some(why) = why {
                self.tell(Event::Closed(role, why), now);
            }
        }
    }

    fn perform(&mut self, mut actions: Vec<Action>, now: Instant) {
        for action in actions.drain(..) {
            self.act(action, now);
        }
        self.actions = actions;
        let (before, state) = (self.snapshot.state, self.peer.state());
        if state != before {
            tracing::debug!(neighbor = %self.address, ?state, "BGP session changed state");
            self.snapshot.enter(state, now);
            self.changed = true;
        }
        let retries_at = self.peer.retries_at();
        if retries_at != self.snapshot.retries_at {
            self.snapshot.retries_at = retries_at;
            self.changed = true;
        }
        if mem::take(&mut self.changed) {
            self.setup.board.publish(self.snapshot.clone());
        }
        // Whoever hears of it finds it published.
        let failure = self.failure.take();
        if state != before {
            self.recorder.state_changed(before, state, failure, self.usual_reason(state));
            if let Some(session) = &self.snapshot.established
                && state == State::Established
            {
                self.recorder.established(session);
            }
        }
    }

    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Update(update) => self.pending.push(SessionEvent::Update(update)),
            Action::Dial => {
                self.refused_segments = RefusedSegments::now();
                self.dialling = Some(Box::pin(socket::dial(self.setup.dial.clone())));
            }
            Action::AbortDial => self.dialling = None,
            Action::Accept => {
                self.accepted = self.undecided.take().map(|incoming| self.accept(incoming));
            }
            Action::Refuse(refused) => {
                tracing::debug!(neighbor = %self.address, ?refused, "refused a BGP connection");
                self.turn_away(refused);
            }
            Action::Send(role, message) => {
                let negotiated = self.peer.negotiated(role).cloned();
                if let Some(link) = self.link_mut(role) {
                    // The KEEPALIVE that confirms an OPEN: what comes next is read as agreed.
                    if let Some(negotiated) = negotiated {
                        link.agree(&negotiated);
                    }
                    link.send(&message, now);
                }
            }
            Action::Close(role) => {
                let link = match role {
                    Role::Dialled => self.dialled.take(),
                    Role::Accepted => self.accepted.take(),
                };
                if let Some(link) = link {
                    self.setup.closing.spawn(link.close());
                }
            }
            Action::Up(negotiated) => {
                tracing::info!(
                    neighbor = %self.address,
                    hold_time = negotiated.hold_time,
                    capabilities = negotiated.capabilities().join(" "),
                    "BGP session established"
                );
                self.session += 1;
                // The other connection, if there was one, is closed by now.
                let link = self.dialled.as_mut().or(self.accepted.as_mut());
                self.snapshot.established =
                    link.map(|link| link.established(Arc::clone(&negotiated)));
                self.snapshot.remote_id = Some(negotiated.remote_id);
                self.snapshot.negotiated = Some(negotiated);
                self.snapshot.dial_error = None;
                self.snapshot.shut_down_by_router = None;
                self.changed = true;
                self.pending.push(SessionEvent::Up);
            }
            Action::RefreshMarker(refresh) => {
                self.pending.push(SessionEvent::RefreshMarker(refresh));
            }
            Action::Failed(error) => self.remember(error),
            Action::Down(retention) => {
                self.snapshot.flaps += 1;
                self.snapshot.negotiated = None;
                self.snapshot.established = None;
                self.changed = true;
                self.pending.push(SessionEvent::Down(retention));
            }
        }
    }

    /// The same failure again and again is logged once. A failed dial does not hide why the session
    /// before it ended.
    fn remember(&mut self, mut error: SessionError) {
        if error.direction == ErrorDirection::Dial
            && let Some(hint) =
                RefusedSegments::now().since(self.refused_segments, self.setup.dial.tcp.hops)
        {
            error.advice = Some(hint.to_owned());
        }
        let at = jiff::Timestamp::now();
        self.snapshot.note_operator(&error, at);
        let was_up = self.snapshot.state == State::Established;
        let last = match error.direction {
            ErrorDirection::Dial => &mut self.snapshot.dial_error,
            ErrorDirection::Received | ErrorDirection::Sent | ErrorDirection::Connection => {
                &mut self.snapshot.last_error
            }
        };
        let known = last.as_ref().is_some_and(|last| last.error == error);
        let (neighbor, reason) = (self.address, &error);
        if was_up {
            tracing::warn!(%neighbor, %reason, "BGP session ended");
        } else if !known {
            tracing::warn!(%neighbor, %reason, "no BGP session");
        }
        self.failure = Some(error.clone());
        *last = Some(LastError { error, at });
        self.changed = true;
    }

    /// Why the session comes to a state in the way of things.
    fn usual_reason(&self, state: State) -> &'static str {
        match state {
            State::Idle => "at rest",
            State::Connect => "dialling the router",
            State::Active if self.setup.settings.ttl_security => {
                "waiting for the router to connect; not heard is what comes from farther away than \
                 `ttl_security` says, or from a router without it"
            }
            State::Active => "waiting for the router to connect",
            State::OpenSent if self.accepted.is_some() => "the router connected; our OPEN is sent",
            State::OpenSent => "connected to the router; our OPEN is sent",
            State::OpenConfirm => "the router's OPEN is good",
            State::Established => "the router's KEEPALIVE has come",
        }
    }

    /// Closes the undecided connection. The router is told why, by another task and not for long; but
    /// not one that dials on and on.
    fn turn_away(&mut self, refused: Refused) {
        let Some(Incoming { stream, .. }) = self.undecided.take() else { return };
        if let Ok(place) = Arc::clone(&self.turned_away).try_acquire_owned() {
            self.setup.closing.spawn(async move {
                first_open::refuse(stream, refused.notification()).await;
                drop(place);
            });
        }
    }

    fn accept(&self, Incoming { stream, read }: Incoming) -> Link {
        let set_up = socket::accepted(&stream, self.address, self.setup.dial.tcp.hops);
        let mut link = self.link(stream).with_inbox(read);
        if let Err(error) = set_up {
            link.fail(connection_error(&error));
        }
        link
    }

    fn link(&self, stream: TcpStream) -> Link {
        let recorder = self.recorder.link(&stream);
        Link::new(stream, &self.setup.settings, recorder)
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        [&self.dialled, &self.accepted].into_iter().flatten()
    }

    fn link_mut(&mut self, role: Role) -> Option<&mut Link> {
        match role {
            Role::Dialled => self.dialled.as_mut(),
            Role::Accepted => self.accepted.as_mut(),
        }
    }
}

async fn ready(link: Option<&Link>, reading: bool) -> io::Result<Ready> {
    match link {
        Some(link) => link.ready(reading).await,
        None => std::future::pending().await,
    }
}

async fn finished(dialling: &mut Option<Dialling>) -> io::Result<TcpStream> {
    match dialling {
        Some(dialling) => dialling.await,
        None => std::future::pending().await,
    }
}
