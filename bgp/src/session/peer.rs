//! One neighbor: dialling and being dialled, which connection wins, and when to try again.
//!
//! Both sides may dial, so there can be two connections until one of them wins (RFC 4271 §6.8):
//! * an established connection wins always;
//! * of two whose OPENs were good, the one that the side with the higher identifier dialled wins;
//! * while a connection that the neighbor dialled is alive, no further dial is started.
//!
//! When the last connection ends, the peer rests (state Idle) and refuses connections for a time
//! that grows with each failure in a row. It does not rest (state Active) when the neighbor could
//! not be dialled, hung up before its OPEN, or gave a reason after which it may come back by itself
//! (see [`failure`](super::failure)): then only the next dial waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;

use super::backoff::Backoff;
use super::connection::{Connection, ConnectionState, Outcome};
use super::error::SessionError;
use super::event::{Action, CannotRefresh, Event, Refused, Role, State};
use super::failure::{Comeback, Failure};
use super::negotiation::Negotiated;
use super::retention::Ending;
use super::settings::PeerSettings;
use super::stop::StopReason;
use super::timers::Timers;
use crate::wire::subcode::cease;
use crate::wire::{Family, Message, Notification, NotificationCode, Open, Outgoing};

/// How long a TCP connection may take to come about.
const DIAL_TIME: Duration = Duration::from_secs(30);
/// A session that has lasted this long ends the row of failures.
const STABLE: Duration = Duration::from_secs(60);
/// A second connection this soon after Established is a collision that took its time, and not a
/// router that restarted (RFC 4724 §4.2).
const COLLISION_GRACE: Duration = Duration::from_secs(5);

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
    /// The R flag of the next OPEN (RFC 4724 §3).
    restarting: bool,
    /// The next OPEN goes without capabilities: the neighbor has refused one with them.
    without_capabilities: bool,
    random: SmallRng,
}

impl Peer {
    /// A peer that rests until [`Event::Start`]. `random` is for jitter only.
    #[must_use]
    pub fn new(settings: PeerSettings, random: SmallRng) -> Self {
        Self {
            rest: Rest::Stopped,
            dial: Dial::Off,
            dialled: None,
            accepted: None,
            backoff: Backoff::new(settings.connect_retry),
            restarting: settings.restarted,
            without_capabilities: false,
            random,
            settings,
        }
    }

    /// The state as RFC 4271 names it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.connections().map(Connection::state).max() {
            Some(ConnectionState::Established) => State::Established,
            Some(ConnectionState::OpenConfirm) => State::OpenConfirm,
            Some(ConnectionState::OpenSent) => State::OpenSent,
            Some(ConnectionState::OpenDelayed) if self.dialled.is_some() => State::Connect,
            Some(ConnectionState::OpenDelayed) | None => match (&self.rest, &self.dial) {
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
            Event::Connected if matches!(self.dial, Dial::UnderWay { .. }) => {
                self.dial = Dial::Off;
                self.open(Role::Dialled, now, actions);
            }
            // Nobody wants it any more.
            Event::Connected if self.dialled.is_none() => {
                actions.push(Action::Close(Role::Dialled));
            }
            Event::Connected => {}
            Event::DialFailed { text, advice } => {
                self.dial_failed(SessionError { advice, ..SessionError::dial(text) }, now, actions);
            }
            Event::Incoming => self.incoming(now, actions),
            Event::Received(role, message) => self.received(role, message, now, actions),
            Event::Malformed(role, error) => {
                let failure = self
                    .connection(role)
                    .map(|connection| connection.malformed(error, &self.settings));
                if let Some(failure) = failure {
                    self.fail(role, failure, now, actions);
                }
            }
            Event::Closed(role, text) => {
                let state = self.connection(role).map(Connection::state);
                let failure = match state {
                    Some(ConnectionState::OpenDelayed | ConnectionState::OpenSent) => {
                        Failure::before_open()
                    }
                    _ => Failure::lost(text),
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
                    "no answer for {} s: {}",
                    DIAL_TIME.as_secs(),
                    self.settings.if_silent()
                );
                self.dial_failed(SessionError::dial(text), now, actions);
            }
            Dial::Off | Dial::At(_) | Dial::UnderWay { .. } => {}
        }
        for role in [Role::Dialled, Role::Accepted] {
            let expired = self.connection(role).and_then(|c| c.hold_expired(&self.settings, now));
            if let Some(failure) = expired {
                self.fail(role, failure, now, actions);
            }
            let (slot, random) = self.slot_and_random(role);
            let Some(connection) = slot else { continue };
            if let Some(open) = connection.open_due(now) {
                actions.push(Action::Send(role, Outgoing::Open(open)));
            }
            if connection.keepalive_due(now, random) {
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

    /// The short way of an UPDATE, of which a full table has a million: whether the session is
    /// established, so that its routes count. Then its hold timer starts anew, and that is all that an
    /// UPDATE changes. If not, it is to be [told](Self::handle) like any message.
    pub fn takes_update(&mut self, role: Role, now: Instant) -> bool {
        let connection = match role {
            Role::Dialled => &mut self.dialled,
            Role::Accepted => &mut self.accepted,
        };
        connection.as_mut().is_some_and(|connection| connection.takes_update(now))
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

    fn dial_failed(&mut self, error: SessionError, now: Instant, actions: &mut Vec<Action>) {
        self.dial = Dial::Off;
        if self.connections().next().is_some() {
            return;
        }
        actions.push(Action::Failed(error));
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
            self.drop_connection(role, Failure::lost(text.to_owned()), actions);
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
        let mut open = self.settings.open(self.restarting);
        if self.without_capabilities {
            open = Open { capabilities: Vec::new(), ..open };
        }
        let mut connection = Connection::new(open, self.settings.delay_open, now);
        if let Some(open) = connection.open_due(now) {
            actions.push(Action::Send(role, Outgoing::Open(open)));
        }
        *self.slot_and_random(role).0 = Some(connection);
    }

    fn received(&mut self, role: Role, message: Message, now: Instant, actions: &mut Vec<Action>) {
        let slot = match role {
            Role::Dialled => &mut self.dialled,
            Role::Accepted => &mut self.accepted,
        };
        let Some(connection) = slot else { return };
        match connection.receive(message, &self.settings, now) {
            Outcome::Nothing => {}
            Outcome::Opened(negotiated) => {
                if let Some(open) = connection.open_held_back() {
                    actions.push(Action::Send(role, Outgoing::Open(open.clone())));
                }
                self.opened(role, negotiated, now, actions);
            }
            Outcome::Established(negotiated) => self.came_up(role, negotiated, actions),
            Outcome::Update(update) => actions.push(Action::Update(update)),
            Outcome::RefreshMarker(refresh) => actions.push(Action::RefreshMarker(refresh)),
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
            Some(ConnectionState::OpenDelayed | ConnectionState::OpenSent) | None => {}
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
        self.restarting = false;
        let families = self.connection(role).map_or(&[][..], Connection::end_of_rib_families);
        let marker = |&family: &Family| Action::Send(role, Outgoing::EndOfRib(family));
        actions.extend(families.iter().map(marker));
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
        for role in [Role::Dialled, Role::Accepted] {
            let Some(connection) = self.connection(role) else { continue };
            let families = connection.negotiated().map_or(&[][..], |agreed| &agreed.families);
            let mut notification = reason.notification(families);
            let detail = reason.detail(&notification);
            if reason.is_for_long() && connection.keeps_routes_over_notifications() {
                // Or the neighbor would wait for us (RFC 8538 §5.1).
                notification = notification.into_hard_reset();
            }
            let mut failure = Failure::sending(notification, detail.as_deref());
            if matches!(reason, StopReason::MaxPrefixes { .. }) {
                failure.ending = Ending::Untrusted;
            }
            self.drop_connection(role, failure, actions);
        }
        self.abort_dial(actions);
        match reason {
            StopReason::Shutdown(_) | StopReason::Removed => self.rest = Rest::Stopped,
            StopReason::Reset => {
                self.backoff.reset();
                self.wake(now, actions);
            }
            StopReason::MaxPrefixes { .. } => {
                if !matches!(self.rest, Rest::Stopped) {
                    self.rest = Rest::Until(now + self.settings.max_prefixes_rest);
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
        // Once: who refuses the OPEN without them as well has another reason.
        self.without_capabilities = failure.knows_no_capabilities
            && !self.without_capabilities
            && self.settings.can_go_without_capabilities();
        let comeback = failure.comeback;
        self.drop_connection(role, failure, actions);
        if self.connections().next().is_some() {
            return;
        }
        let wait = self.backoff.next(&mut self.random);
        let dial_at = match comeback {
            Comeback::Rest => {
                self.abort_dial(actions);
                self.rest = Rest::Until(now + wait);
                return;
            }
            Comeback::LetIn => now + wait,
            Comeback::LetInAndDialLate => now + self.backoff.longest(&mut self.random),
        };
        if matches!(self.dial, Dial::Off) && !self.settings.passive {
            self.dial = Dial::At(dial_at);
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
        if let Some(negotiated) = connection.negotiated()
            && connection.state() == ConnectionState::Established
        {
            actions.push(Action::Down(failure.ending.retention(negotiated)));
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
