//! One neighbor: dialling and being dialled, which connection wins, and when to try again.
//!
//! Both sides may dial, so there can be two connections until one of them wins (RFC 4271 §6.8):
//! * an established connection wins always;
//! * of two whose OPENs were good, the one that the side with the higher identifier dialled wins;
//! * while a connection that the neighbor dialled is alive, no further dial is started.
//!
//! When the last connection ends, the peer rests (state Idle) and refuses connections for a time
//! that grows with each failure in a row. It does not rest (state Active) when the neighbor could
//! not be dialled, hung up before its OPEN, or prefers another connection: then only the next dial
//! waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use serde::Serialize;

use super::backoff::Backoff;
use super::connection::{Connection, ConnectionState, Failure, Outcome};
use super::error::SessionError;
use super::negotiation::{Negotiated, PeerSettings};
use super::stop::StopReason;
use crate::wire::subcode::cease;
use crate::wire::{
    DecodeError, Family, Message, Notification, NotificationCode, Outgoing, RouteRefresh, Update,
};

/// How long a TCP connection may take to come about.
const DIAL_TIME: Duration = Duration::from_secs(30);
/// A session that has lasted this long ends the row of failures.
const STABLE: Duration = Duration::from_secs(60);
/// How long a neighbor rests that announced too many prefixes; `reset` ends it early.
const MAX_PREFIXES_REST: Duration = Duration::from_secs(30 * 60);
/// A second connection this soon after Established is a collision that took its time, and not a
/// router that restarted (RFC 4724 §4.2).
const COLLISION_GRACE: Duration = Duration::from_secs(5);

/// Who dialled a connection. There is at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled.
    Dialled,
    /// The neighbor dialled.
    Accepted,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Dialled => Self::Accepted,
            Self::Accepted => Self::Dialled,
        }
    }
}

/// The state of a session (RFC 4271 §8.2.2): that of the connection that has come furthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "RFC 4271 §8.2.2 says what each is")]
pub enum State {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Something happened outside.
#[derive(Debug)]
pub enum Event {
    /// Begin.
    Start,
    /// The operator, or the table, wants the session to end.
    Stop(StopReason),
    /// The connection of [`Action::Dial`] is there.
    Connected,
    /// [`Action::Dial`] came to nothing; why.
    DialFailed(String),
    /// The neighbor has dialled; answered by [`Action::Accept`] or [`Action::Refuse`].
    Incoming,
    /// A message came in.
    Received(Role, Message),
    /// Something came in that is no message.
    Malformed(Role, DecodeError),
    /// The TCP connection is gone; why.
    Closed(Role, String),
}

/// Something to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial the neighbor.
    Dial,
    /// Drop the dial that is under way.
    AbortDial,
    /// The incoming connection becomes [`Role::Accepted`].
    Accept,
    /// Close the incoming connection.
    Refuse(Refused),
    /// Send a message.
    Send(Role, Outgoing),
    /// Close a connection once what was sent is written.
    Close(Role),
    /// The session is established.
    Up(Arc<Negotiated>),
    /// Routes.
    Update(Update),
    /// A refresh marker (RFC 7313); requests are not passed on: we have nothing to send again.
    RefreshMarker(RouteRefresh),
    /// A session or an attempt ended.
    Failed(SessionError),
    /// An established session ended.
    Down(Retention),
}

/// Why an incoming connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The peer rests after a failure, or has been stopped.
    Idle,
    /// There is an established session.
    Established,
}

/// What becomes of the routes of a session that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// They stay as stale, at least for the neighbor's restart time (0 without graceful restart).
    Keep {
        /// Restart time of the neighbor (RFC 4724 §3).
        restart_time: Duration,
    },
    /// They are not to be trusted and go at once.
    Withdraw,
}

/// Why no ROUTE-REFRESH can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CannotRefresh {
    /// There is no established session.
    NotEstablished,
    /// The neighbor does not know route refresh.
    NotNegotiated,
}

/// When the timers of a session run out (RFC 4271 §8.1.3); `None` for one that does not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// HoldTimer: the session ends unless something comes from the neighbor.
    pub hold: Option<Instant>,
    /// KeepaliveTimer: the next KEEPALIVE is sent.
    pub keepalive: Option<Instant>,
    /// ConnectRetryTimer or IdleHoldTimer: the neighbor is dialled, or let in, again.
    pub retry: Option<Instant>,
}

#[derive(Debug)]
enum Rest {
    Awake,
    Until(Instant),
    Stopped,
}

#[derive(Debug)]
enum Dial {
    Off,
    At(Instant),
    UnderWay { give_up: Instant },
}

/// The state machine of one neighbor.
#[derive(Debug)]
pub struct Peer {
    settings: PeerSettings,
    rest: Rest,
    dial: Dial,
    dialled: Option<Connection>,
    accepted: Option<Connection>,
    backoff: Backoff,
    random: SmallRng,
}

impl Peer {
    /// A peer that rests until [`Event::Start`]. `random` is for jitter only.
    #[must_use]
    pub fn new(settings: PeerSettings, random: SmallRng) -> Self {
        Self {
            settings,
            rest: Rest::Stopped,
            dial: Dial::Off,
            dialled: None,
            accepted: None,
            backoff: Backoff::new(),
            random,
        }
    }

    /// The state as RFC 4271 names it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.connections().map(Connection::state).max() {
            Some(ConnectionState::Established) => State::Established,
            Some(ConnectionState::OpenConfirm) => State::OpenConfirm,
            Some(ConnectionState::OpenSent) => State::OpenSent,
            None => match (&self.rest, &self.dial) {
                (Rest::Until(_) | Rest::Stopped, _) => State::Idle,
                (Rest::Awake, Dial::UnderWay { .. }) => State::Connect,
                (Rest::Awake, Dial::Off | Dial::At(_)) => State::Active,
            },
        }
    }

    /// What was agreed on a connection; `None` before its OPEN has come. Messages that come next
    /// are to be decoded by it.
    #[must_use]
    pub fn negotiated(&self, role: Role) -> Option<&Arc<Negotiated>> {
        self.connection(role)?.negotiated()
    }

    /// Until when the peer is idle or waits to dial again; `None` if it does neither.
    #[must_use]
    pub fn retries_at(&self) -> Option<Instant> {
        match (&self.rest, &self.dial) {
            (Rest::Until(at), _) | (Rest::Awake, Dial::At(at)) => Some(*at),
            (Rest::Stopped | Rest::Awake, _) => None,
        }
    }

    /// When its timers run out: of two connections those of the one that has come further.
    #[must_use]
    pub fn timers(&self) -> Timers {
        let connection = self.connections().max_by_key(|connection| connection.state());
        let (hold, keepalive) = connection.map(Connection::timers).unwrap_or_default();
        Timers { hold, keepalive, retry: self.retries_at() }
    }

    /// When [`Peer::handle_timeout`] is to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let rest = match self.rest {
            Rest::Until(at) => Some(at),
            Rest::Awake | Rest::Stopped => None,
        };
        let dial = match self.dial {
            Dial::At(at) | Dial::UnderWay { give_up: at } => Some(at),
            Dial::Off => None,
        };
        let connections = self.connections().filter_map(Connection::next_deadline);
        connections.chain(rest).chain(dial).min()
    }

    /// Takes in `event` and appends what is to be done to `actions`.
    pub fn handle(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        match event {
            Event::Start => {
                if matches!(self.rest, Rest::Stopped) {
                    self.wake(now, actions);
                }
            }
            Event::Stop(reason) => self.stop(&reason, now, actions),
            Event::Connected => {
                self.dial = Dial::Off;
                self.open(Role::Dialled, now, actions);
            }
            Event::DialFailed(text) => self.dial_failed(text, now, actions),
            Event::Incoming => self.incoming(now, actions),
            Event::Received(role, message) => self.received(role, message, now, actions),
            Event::Malformed(role, error) => {
                self.fail(role, Failure::malformed(error), now, actions);
            }
            Event::Closed(role, text) => {
                let state = self.connection(role).map(Connection::state);
                let failure = match state {
                    Some(ConnectionState::OpenSent) => Failure::before_open(),
                    _ => Failure::silent(text),
                };
                self.fail(role, failure, now, actions);
            }
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if matches!(self.rest, Rest::Until(at) if at <= now) {
            self.wake(now, actions);
        }
        match self.dial {
            Dial::At(at) if at <= now => self.start_dial(now, actions),
            Dial::UnderWay { give_up } if give_up <= now => {
                actions.push(Action::AbortDial);
                let text = format!(
                    "no answer for {} s: check the address, firewalls and the password on both sides",
                    DIAL_TIME.as_secs()
                );
                self.dial_failed(text, now, actions);
            }
            Dial::Off | Dial::At(_) | Dial::UnderWay { .. } => {}
        }
        for role in [Role::Dialled, Role::Accepted] {
            let expired = self.connection(role).and_then(|c| c.hold_expired(now));
            if let Some(failure) = expired {
                self.fail(role, failure, now, actions);
            }
            let (slot, random) = self.slot_and_random(role);
            if slot.as_mut().is_some_and(|connection| connection.keepalive_due(now, random)) {
                actions.push(Action::Send(role, Outgoing::Keepalive));
            }
        }
    }

    /// Says that the bytes of a connection were not looked at until now, because the table did not
    /// take any. Its silence was ours: the hold time starts anew.
    pub fn reading_was_paused(&mut self, now: Instant) {
        for connection in [&mut self.dialled, &mut self.accepted].into_iter().flatten() {
            connection.restart_hold_timer(now);
        }
    }

    /// Asks the neighbor to send its table again.
    pub(crate) fn request_refresh(&self, actions: &mut Vec<Action>) -> Result<(), CannotRefresh> {
        let (role, negotiated) = self.established().ok_or(CannotRefresh::NotEstablished)?;
        if !negotiated.route_refresh {
            return Err(CannotRefresh::NotNegotiated);
        }
        let request = |&family: &Family| Action::Send(role, Outgoing::RouteRefreshRequest(family));
        actions.extend(negotiated.families.iter().map(request));
        Ok(())
    }

    fn wake(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.rest = Rest::Awake;
        self.start_dial(now, actions);
    }

    fn start_dial(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.settings.passive {
            self.dial = Dial::Off;
            return;
        }
        self.dial = Dial::UnderWay { give_up: now + DIAL_TIME };
        actions.push(Action::Dial);
    }

    fn abort_dial(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.dial, Dial::UnderWay { .. }) {
            actions.push(Action::AbortDial);
        }
        self.dial = Dial::Off;
    }

    fn dial_failed(&mut self, text: String, now: Instant, actions: &mut Vec<Action>) {
        self.dial = Dial::Off;
        if self.connections().next().is_some() {
            return;
        }
        actions.push(Action::Failed(SessionError::dial(text)));
        // Not Idle: whoever cannot be dialled may still dial us.
        self.dial = Dial::At(now + self.backoff.next(&mut self.random));
    }

    fn incoming(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !matches!(self.rest, Rest::Awake) {
            actions.push(Action::Refuse(Refused::Idle));
            return;
        }
        if let Some((role, negotiated)) = self.established() {
            let restarts = negotiated.graceful_restart.is_some();
            let age = self.connection(role).and_then(Connection::established_since);
            let fresh = age.is_none_or(|since| now < since + COLLISION_GRACE);
            if !restarts || fresh {
                actions.push(Action::Refuse(Refused::Established));
                return;
            }
            let text = "the router opened a new connection: it has restarted (RFC 4724 §4.2)";
            self.drop_connection(role, Failure::silent(text.to_owned()), actions);
        }
        // The earlier connection is one that the neighbor has given up or forgotten.
        self.close_collided(Role::Accepted, actions);
        if matches!(self.dial, Dial::At(_)) {
            self.dial = Dial::Off;
        }
        actions.push(Action::Accept);
        self.open(Role::Accepted, now, actions);
    }

    fn open(&mut self, role: Role, now: Instant, actions: &mut Vec<Action>) {
        *self.slot_and_random(role).0 = Some(Connection::open_sent(now));
        actions.push(Action::Send(role, Outgoing::Open(self.settings.open())));
    }

    fn received(&mut self, role: Role, message: Message, now: Instant, actions: &mut Vec<Action>) {
        let slot = match role {
            Role::Dialled => &mut self.dialled,
            Role::Accepted => &mut self.accepted,
        };
        let Some(connection) = slot else { return };
        match connection.receive(message, &self.settings, now) {
            Outcome::Nothing => {}
            Outcome::Opened(negotiated) => self.opened(role, negotiated, now, actions),
            Outcome::Established(negotiated) => self.came_up(role, negotiated, actions),
            Outcome::Update(update) => actions.push(Action::Update(update)),
            Outcome::RouteRefresh(refresh) => actions.push(Action::RefreshMarker(refresh)),
            Outcome::Failed(failure) => self.fail(role, failure, now, actions),
        }
    }

    /// The OPEN on `role` is good: now it is known who the other side is, so a collision can be
    /// decided (RFC 4271 §6.8).
    fn opened(
        &mut self,
        role: Role,
        negotiated: Arc<Negotiated>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match self.connection(role.other()).map(Connection::state) {
            Some(ConnectionState::Established) => return self.close_collided(role, actions),
            Some(ConnectionState::OpenConfirm) => {
                let winner = self.collision_winner(&negotiated);
                self.close_collided(winner.other(), actions);
                if winner != role {
                    return;
                }
            }
            Some(ConnectionState::OpenSent) | None => {}
        }
        let (slot, random) = self.slot_and_random(role);
        if let Some(connection) = slot {
            connection.confirm(negotiated, now, random);
            actions.push(Action::Send(role, Outgoing::Keepalive));
        }
    }

    /// The connection that the side with the higher identifier dialled; with equal identifiers
    /// (different ASes) the side with the higher AS number (RFC 6286 §2.3).
    fn collision_winner(&self, negotiated: &Negotiated) -> Role {
        let ours = (self.settings.router_id, self.settings.local_asn);
        let theirs = (negotiated.remote_id, self.settings.asn);
        if ours > theirs { Role::Dialled } else { Role::Accepted }
    }

    fn came_up(&mut self, role: Role, negotiated: Arc<Negotiated>, actions: &mut Vec<Action>) {
        self.close_collided(role.other(), actions);
        self.abort_dial(actions);
        // A restarted router waits for our marker before it chooses routes (RFC 4724 §4.1).
        if negotiated.graceful_restart.is_some() {
            let marker = |&family: &Family| Action::Send(role, Outgoing::EndOfRib(family));
            actions.extend(negotiated.families.iter().map(marker));
        }
        actions.push(Action::Up(negotiated));
    }

    /// Closes a connection that lost against the other one. That is no failure.
    fn close_collided(&mut self, role: Role, actions: &mut Vec<Action>) {
        if self.slot_and_random(role).0.take().is_some() {
            let subcode = cease::CONNECTION_COLLISION_RESOLUTION;
            let lost = Notification::new(NotificationCode::Cease, subcode);
            actions.push(Action::Send(role, Outgoing::Notification(lost)));
            actions.push(Action::Close(role));
        }
    }

    fn stop(&mut self, reason: &StopReason, now: Instant, actions: &mut Vec<Action>) {
        let notification = reason.notification();
        let before = actions.len();
        for role in [Role::Dialled, Role::Accepted] {
            let failure = Failure::sending(notification.clone(), None);
            self.drop_connection(role, failure, actions);
        }
        self.abort_dial(actions);
        match reason {
            StopReason::Shutdown(_) => self.rest = Rest::Stopped,
            StopReason::Reset => {
                self.backoff.reset();
                self.wake(now, actions);
            }
            StopReason::MaxPrefixes { .. } => {
                self.rest = Rest::Until(now + MAX_PREFIXES_REST);
                for action in actions.iter_mut().skip(before) {
                    if let Action::Down(retention) = action {
                        *retention = Retention::Withdraw;
                    }
                }
            }
        }
    }

    /// A connection has failed. If it was the last one, the peer rests, unless the neighbor is to be
    /// let in.
    fn fail(&mut self, role: Role, failure: Failure, now: Instant, actions: &mut Vec<Action>) {
        let Some(connection) = self.connection(role) else { return };
        if connection.established_since().is_some_and(|since| now >= since + STABLE) {
            self.backoff.reset();
        }
        let expects_another = failure.expects_another;
        self.drop_connection(role, failure, actions);
        if self.connections().next().is_some() {
            return;
        }
        let wait = now + self.backoff.next(&mut self.random);
        if !expects_another {
            self.abort_dial(actions);
            self.rest = Rest::Until(wait);
        } else if matches!(self.dial, Dial::Off) && !self.settings.passive {
            self.dial = Dial::At(wait);
        }
    }

    /// Ends a connection, if there is one, and tells everyone.
    fn drop_connection(&mut self, role: Role, failure: Failure, actions: &mut Vec<Action>) {
        let Some(connection) = self.slot_and_random(role).0.take() else { return };
        if let Some(notification) = failure.notification {
            actions.push(Action::Send(role, Outgoing::Notification(notification)));
        }
        actions.push(Action::Close(role));
        actions.push(Action::Failed(failure.error));
        if connection.state() == ConnectionState::Established {
            let restart_time = connection
                .negotiated()
                .and_then(|negotiated| negotiated.graceful_restart.as_ref())
                .map_or(0, |restart| restart.restart_time);
            let restart_time = Duration::from_secs(u64::from(restart_time));
            actions.push(Action::Down(Retention::Keep { restart_time }));
        }
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        [&self.dialled, &self.accepted].into_iter().flatten()
    }

    fn connection(&self, role: Role) -> Option<&Connection> {
        match role {
            Role::Dialled => self.dialled.as_ref(),
            Role::Accepted => self.accepted.as_ref(),
        }
    }

    fn slot_and_random(&mut self, role: Role) -> (&mut Option<Connection>, &mut SmallRng) {
        match role {
            Role::Dialled => (&mut self.dialled, &mut self.random),
            Role::Accepted => (&mut self.accepted, &mut self.random),
        }
    }

    fn established(&self) -> Option<(Role, &Arc<Negotiated>)> {
        [Role::Dialled, Role::Accepted].into_iter().find_map(|role| {
            let connection = self.connection(role)?;
            let is_up = connection.state() == ConnectionState::Established;
            connection.negotiated().filter(|_| is_up).map(|negotiated| (role, negotiated))
        })
    }
}
