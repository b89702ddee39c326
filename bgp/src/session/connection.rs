//! One TCP connection to a neighbor, from our OPEN to its end (RFC 4271 §8.2.2, the states from
//! OpenSent on).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;

use super::backoff::jittered;
use super::error::SessionError;
use super::negotiation::{Negotiated, PeerSettings, negotiate};
use crate::wire::subcode::{cease, state_machine};
use crate::wire::{DecodeError, Message, Notification, NotificationCode, RouteRefresh, Update};

/// How long a neighbor may take to send its OPEN (RFC 4271 §8.2.2 suggests 4 minutes).
const OPEN_WAIT: Duration = Duration::from_secs(240);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionState {
    /// Our OPEN is on its way.
    OpenSent,
    /// The neighbor's OPEN was good; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes flow.
    Established,
}

#[derive(Debug)]
enum Phase {
    OpenSent,
    OpenConfirm(Arc<Negotiated>),
    Established { negotiated: Arc<Negotiated>, since: Instant },
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    phase: Phase,
    hold_expires: Option<Instant>,
    keepalive_due: Option<Instant>,
}

/// What a message or a timer leads to.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    /// A good OPEN; [`Connection::confirm`] is next, unless the other connection wins.
    Opened(Arc<Negotiated>),
    /// The first KEEPALIVE.
    Established(Arc<Negotiated>),
    Update(Update),
    RouteRefresh(RouteRefresh),
    Failed(Failure),
}

/// The end of a connection: what to tell the neighbor, and what the operator.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) notification: Option<Notification>,
    pub(super) error: SessionError,
    /// The neighbor may have, or soon want, another connection to us: the peer goes to Active and
    /// does not rest, so that it is let in.
    pub(super) expects_another: bool,
}

impl Failure {
    /// We end it and say why.
    pub(super) fn sending(notification: Notification, detail: Option<&str>) -> Self {
        let error = SessionError::sent(&notification, detail);
        Self { notification: Some(notification), error, expects_another: false }
    }

    /// There is nobody left to tell.
    pub(super) fn silent(text: String) -> Self {
        let error = SessionError::connection(text);
        Self { notification: None, error, expects_another: false }
    }

    /// The neighbor hung up at once: like one that cannot be dialled at all. RFC 4271 §8.2.2 goes to
    /// Active. A router does this while it waits after an error of its own, and then dials: if we
    /// rested as well, the two could refuse each other in turn.
    pub(super) fn before_open() -> Self {
        // Not how it hung up: that differs from one attempt to the next.
        let text = "the router hung up before its OPEN: is this node its neighbor, or does it wait \
                    after an error?";
        let error = SessionError::dial(text.to_owned());
        Self { notification: None, error, expects_another: true }
    }

    fn received(notification: &Notification) -> Self {
        // After a collision the connection that the neighbor prefers may be on its way.
        let expects_another = notification.code == NotificationCode::Cease
            && notification.subcode == cease::CONNECTION_COLLISION_RESOLUTION;
        let error = SessionError::received(notification);
        Self { notification: None, error, expects_another }
    }

    pub(super) fn malformed(error: DecodeError) -> Self {
        let detail = error.to_string();
        Self::sending(error.notification, Some(&detail))
    }
}

impl Connection {
    /// A connection on which our OPEN is about to be sent.
    pub(super) fn open_sent(now: Instant) -> Self {
        Self { phase: Phase::OpenSent, hold_expires: Some(now + OPEN_WAIT), keepalive_due: None }
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::OpenSent => ConnectionState::OpenSent,
            Phase::OpenConfirm(_) => ConnectionState::OpenConfirm,
            Phase::Established { .. } => ConnectionState::Established,
        }
    }

    /// What was agreed; `None` until the neighbor's OPEN has come.
    pub(super) fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established { negotiated, .. } => {
                Some(negotiated)
            }
        }
    }

    /// Since when routes flow.
    pub(super) fn established_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Established { since, .. } => Some(since),
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
        }
    }

    /// A message came in.
    pub(super) fn receive(
        &mut self,
        message: Message,
        settings: &PeerSettings,
        now: Instant,
    ) -> Outcome {
        match (&self.phase, message) {
            (_, Message::Notification(notification)) => {
                Outcome::Failed(Failure::received(&notification))
            }
            (Phase::OpenSent, Message::Open(open)) => match negotiate(settings, &open) {
                Ok(negotiated) => Outcome::Opened(Arc::new(negotiated)),
                Err(refusal) => {
                    Outcome::Failed(Failure::sending(refusal.notification, Some(&refusal.detail)))
                }
            },
            (Phase::OpenConfirm(negotiated), Message::Keepalive) => {
                let negotiated = Arc::clone(negotiated);
                self.phase = Phase::Established { negotiated: Arc::clone(&negotiated), since: now };
                self.restart_hold_timer(now);
                Outcome::Established(negotiated)
            }
            (Phase::Established { .. }, Message::Keepalive) => {
                self.restart_hold_timer(now);
                Outcome::Nothing
            }
            (Phase::Established { .. }, Message::Update(update)) => {
                self.restart_hold_timer(now);
                Outcome::Update(update)
            }
            (Phase::Established { .. }, Message::RouteRefresh(refresh)) => {
                self.restart_hold_timer(now);
                Outcome::RouteRefresh(refresh)
            }
            (_, unexpected) => Outcome::Failed(self.unexpected(&unexpected)),
        }
    }

    /// The OPEN was good and this connection is to live: OpenConfirm. The caller sends the KEEPALIVE.
    pub(super) fn confirm(
        &mut self,
        negotiated: Arc<Negotiated>,
        now: Instant,
        random: &mut SmallRng,
    ) {
        self.phase = Phase::OpenConfirm(negotiated);
        self.restart_hold_timer(now);
        self.restart_keepalive_timer(now, random);
    }

    /// The hold time starts anew: something came from the neighbor, or may have come and was not
    /// looked at.
    pub(super) fn restart_hold_timer(&mut self, now: Instant) {
        let Some(negotiated) = self.negotiated() else { return };
        self.hold_expires = hold_time(negotiated).map(|time| now + time);
    }

    fn restart_keepalive_timer(&mut self, now: Instant, random: &mut SmallRng) {
        let interval = self.negotiated().and_then(|n| hold_time(n)).map(|time| time / 3);
        self.keepalive_due = interval.map(|interval| now + jittered(interval, random));
    }

    /// When the hold timer runs out, and when the next KEEPALIVE is due.
    pub(super) fn timers(&self) -> (Option<Instant>, Option<Instant>) {
        (self.hold_expires, self.keepalive_due)
    }

    /// When [`Connection::hold_expired`] or [`Connection::keepalive_due`] is to be asked next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.hold_expires, self.keepalive_due].into_iter().flatten().min()
    }

    /// Nothing has come for the hold time (RFC 4271 §6.5).
    pub(super) fn hold_expired(&self, now: Instant) -> Option<Failure> {
        if self.hold_expires.is_none_or(|at| now < at) {
            return None;
        }
        let notification = Notification::new(NotificationCode::HoldTimerExpired, 0);
        let waited = self.negotiated().and_then(|n| hold_time(n)).unwrap_or(OPEN_WAIT);
        let detail = format!("nothing came from the router for {} s", waited.as_secs());
        Some(Failure::sending(notification, Some(&detail)))
    }

    /// Whether a KEEPALIVE is to be sent now; if so, the timer for the next one has been started.
    pub(super) fn keepalive_due(&mut self, now: Instant, random: &mut SmallRng) -> bool {
        let due = self.keepalive_due.is_some_and(|at| at <= now);
        if due {
            self.restart_keepalive_timer(now, random);
        }
        due
    }

    /// A message that its state has no place for (RFC 6608): the data is the message's type.
    fn unexpected(&self, message: &Message) -> Failure {
        let (state, subcode) = match self.phase {
            Phase::OpenSent => ("OpenSent", state_machine::UNEXPECTED_MESSAGE_IN_OPEN_SENT),
            Phase::OpenConfirm(_) => {
                ("OpenConfirm", state_machine::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM)
            }
            Phase::Established { .. } => {
                ("Established", state_machine::UNEXPECTED_MESSAGE_IN_ESTABLISHED)
            }
        };
        let (name, message_type) = match message {
            Message::Open(_) => ("OPEN", 1),
            Message::Update(_) => ("UPDATE", 2),
            Message::Notification(_) => ("NOTIFICATION", 3),
            Message::Keepalive => ("KEEPALIVE", 4),
            Message::RouteRefresh(_) => ("ROUTE-REFRESH", 5),
        };
        let notification = Notification {
            code: NotificationCode::FiniteStateMachine,
            subcode,
            data: Bytes::copy_from_slice(&[message_type]),
        };
        Failure::sending(notification, Some(&format!("{name} in state {state}")))
    }
}

/// `None`: the session never times out and no KEEPALIVEs are sent (RFC 4271 §4.4).
fn hold_time(negotiated: &Negotiated) -> Option<Duration> {
    match negotiated.hold_time {
        0 => None,
        seconds => Some(Duration::from_secs(u64::from(seconds))),
    }
}
