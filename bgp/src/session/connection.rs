//! One TCP connection to a neighbor, from its beginning to its end (RFC 4271 §8.2.2, the states from
//! OpenSent on, and before them the time that our OPEN is held back).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;

use super::advice::update_refused;
use super::backoff::jittered;
use super::failure::Failure;
use super::negotiation::{Negotiated, negotiate};
use super::open_advice::Opens;
use super::settings::PeerSettings;
use crate::wire::subcode::state_machine;
use crate::wire::{
    DecodeError, Family, Message, MessageType, Notification, NotificationCode, Open, RouteRefresh,
    RouteRefreshKind, Update,
};

/// How long a neighbor may take to send its OPEN (RFC 4271 §8.2.2 suggests 4 minutes).
const OPEN_WAIT: Duration = Duration::from_secs(240);

/// No more KEEPALIVEs than one a second (RFC 4271 §4.4), whatever the jitter says.
const SHORTEST_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionState {
    /// Our OPEN is held back (RFC 4271 §8, DelayOpen): the session is still Connect or Active.
    OpenDelayed,
    /// Our OPEN is on its way.
    OpenSent,
    /// The neighbor's OPEN was good; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes flow.
    Established,
}

#[derive(Debug)]
enum Phase {
    OpenDelayed { until: Instant },
    OpenSent,
    OpenConfirm(Arc<Negotiated>),
    Established { negotiated: Arc<Negotiated>, since: Instant },
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    phase: Phase,
    /// What we say of ourselves on this connection.
    open: Open,
    /// What the neighbor says of itself, once that has come and was good.
    received: Option<Open>,
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
    /// Where a refresh begins or ends (RFC 7313 §4). Requests are nothing: we have no table to send.
    RefreshMarker(RouteRefresh),
    Failed(Failure),
}

impl Connection {
    /// A connection on which `open` is to be sent, once `delay` has passed.
    pub(super) fn new(open: Open, delay: Duration, now: Instant) -> Self {
        let phase = Phase::OpenDelayed { until: now + delay };
        Self { phase, open, received: None, hold_expires: None, keepalive_due: None }
    }

    /// Our OPEN, if it is to be sent now; then this is OpenSent.
    pub(super) fn open_due(&mut self, now: Instant) -> Option<Open> {
        match self.phase {
            Phase::OpenDelayed { until } if until <= now => {
                self.phase = Phase::OpenSent;
                self.hold_expires = Some(now + OPEN_WAIT);
                Some(self.open.clone())
            }
            _ => None,
        }
    }

    /// Our OPEN, if it is still held back: the neighbor's was faster (RFC 4271 §8.2.2, event 20).
    pub(super) fn open_held_back(&self) -> Option<&Open> {
        matches!(self.phase, Phase::OpenDelayed { .. }).then_some(&self.open)
    }

    pub(super) fn state(&self) -> ConnectionState {
        match self.phase {
            Phase::OpenDelayed { .. } => ConnectionState::OpenDelayed,
            Phase::OpenSent => ConnectionState::OpenSent,
            Phase::OpenConfirm(_) => ConnectionState::OpenConfirm,
            Phase::Established { .. } => ConnectionState::Established,
        }
    }

    /// What was agreed; `None` until the neighbor's OPEN has come.
    pub(super) fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        match &self.phase {
            Phase::OpenDelayed { .. } | Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established { negotiated, .. } => {
                Some(negotiated)
            }
        }
    }

    /// Since when routes flow.
    pub(super) fn established_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Established { since, .. } => Some(since),
            Phase::OpenDelayed { .. } | Phase::OpenSent | Phase::OpenConfirm(_) => None,
        }
    }

    /// The families whose End-of-RIB we send once the session is established: a restarted router waits
    /// for it before it chooses routes (RFC 4724 §4.1).
    pub(super) fn end_of_rib_families(&self) -> &[Family] {
        match &self.phase {
            Phase::Established { negotiated, .. } if negotiated.graceful_restart.is_some() => {
                &negotiated.families
            }
            _ => &[],
        }
    }

    /// Whether this is a session in which the neighbor keeps routes over a NOTIFICATION, and knows
    /// the one that says that it must not (RFC 8538).
    pub(super) fn keeps_routes_over_notifications(&self) -> bool {
        match &self.phase {
            Phase::Established { negotiated, .. } => {
                negotiated.graceful_restart.as_ref().is_some_and(|restart| restart.notification)
            }
            Phase::OpenDelayed { .. } | Phase::OpenSent | Phase::OpenConfirm(_) => false,
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
                let mut failure = Failure::received(&notification);
                let reason = notification.unwrapped();
                match reason.code {
                    NotificationCode::OpenMessage => {
                        let opens = self.opens(settings, self.received.as_ref());
                        failure.error.advice = Some(opens.refused_by_router(&reason));
                    }
                    NotificationCode::UpdateMessage => {
                        let sent = !self.end_of_rib_families().is_empty();
                        failure.error.advice = Some(update_refused(sent));
                    }
                    _ => {}
                }
                Outcome::Failed(failure)
            }
            (Phase::OpenDelayed { .. } | Phase::OpenSent, Message::Open(open)) => {
                match negotiate(settings, &self.open, &open) {
                    Ok(negotiated) => {
                        self.received = Some(open);
                        Outcome::Opened(Arc::new(negotiated))
                    }
                    Err(refusal) => {
                        let opens = self.opens(settings, Some(&open));
                        let advice = opens.refused_by_us(&refusal.notification);
                        let detail = Some(refusal.detail.as_str());
                        let mut failure = Failure::sending(refusal.notification, detail);
                        failure.error.advice = Some(advice);
                        Outcome::Failed(failure)
                    }
                }
            }
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
                self.takes_update(now);
                Outcome::Update(update)
            }
            (Phase::Established { negotiated, .. }, Message::RouteRefresh(refresh)) => {
                // Else the marker's place in the message is reserved and says nothing (RFC 2918 §3).
                let is_marker = negotiated.enhanced_route_refresh
                    && negotiated.families.contains(&refresh.family)
                    && matches!(
                        refresh.kind,
                        RouteRefreshKind::BeginningOfRefresh | RouteRefreshKind::EndOfRefresh
                    );
                self.restart_hold_timer(now);
                if is_marker { Outcome::RefreshMarker(refresh) } else { Outcome::Nothing }
            }
            (_, unexpected) => Outcome::Failed(self.unexpected(message_type(&unexpected))),
        }
    }

    /// An UPDATE came in: whether its routes count.
    pub(super) fn takes_update(&mut self, now: Instant) -> bool {
        let is_established = matches!(self.phase, Phase::Established { .. });
        if is_established {
            self.restart_hold_timer(now);
        }
        is_established
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
        self.keepalive_due = interval
            .map(|interval| now + jittered(interval, random).max(SHORTEST_KEEPALIVE_INTERVAL));
    }

    /// When the hold timer runs out, and when the next KEEPALIVE is due.
    pub(super) fn timers(&self) -> (Option<Instant>, Option<Instant>) {
        (self.hold_expires, self.keepalive_due)
    }

    /// When [`Connection::open_due`], [`Connection::hold_expired`] or
    /// [`Connection::keepalive_due`] is to be asked next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let open = match self.phase {
            Phase::OpenDelayed { until } => Some(until),
            Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established { .. } => None,
        };
        [self.hold_expires, self.keepalive_due, open].into_iter().flatten().min()
    }

    /// Nothing has come for the hold time (RFC 4271 §6.5).
    pub(super) fn hold_expired(&self, settings: &PeerSettings, now: Instant) -> Option<Failure> {
        if self.hold_expires.is_none_or(|at| now < at) {
            return None;
        }
        let notification = Notification::new(NotificationCode::HoldTimerExpired, 0);
        let waited = self.negotiated().and_then(|n| hold_time(n)).unwrap_or(OPEN_WAIT);
        let detail = format!("nothing came from the router for {} s", waited.as_secs());
        let mut failure = Failure::sending(notification, Some(&detail));
        if self.negotiated().is_none() && settings.ttl_security {
            // Its listener may well answer with a TTL of 255 for all, as BIRD's does.
            let advice = "does the router have TTL security (GTSM) for this session too, and is it no \
                          more hops away than `ttl_security` says? Else nothing of it is heard";
            failure.error.advice = Some(advice.to_owned());
        }
        Some(failure)
    }

    /// Whether a KEEPALIVE is to be sent now; if so, the timer for the next one has been started.
    pub(super) fn keepalive_due(&mut self, now: Instant, random: &mut SmallRng) -> bool {
        let due = self.keepalive_due.is_some_and(|at| at <= now);
        if due {
            self.restart_keepalive_timer(now, random);
        }
        due
    }

    /// Bytes that are no message came in. What is wrong inside of a message does not matter if the
    /// state has no place for its type.
    pub(super) fn malformed(&self, error: DecodeError, settings: &PeerSettings) -> Failure {
        let unexpected = match (self.state(), error.notification.code) {
            (ConnectionState::Established, NotificationCode::OpenMessage) => MessageType::Open,
            (ConnectionState::Established, _) => return refused(error),
            (_, NotificationCode::UpdateMessage) => MessageType::Update,
            (_, NotificationCode::RouteRefreshMessage) => MessageType::RouteRefresh,
            (_, NotificationCode::OpenMessage) => {
                let advice = self.opens(settings, None).refused_by_us(&error.notification);
                let mut failure = refused(error);
                failure.error.advice = Some(advice);
                return failure;
            }
            _ => return refused(error),
        };
        self.unexpected(unexpected)
    }

    fn opens<'a>(&'a self, settings: &'a PeerSettings, theirs: Option<&'a Open>) -> Opens<'a> {
        Opens { settings, ours: &self.open, theirs }
    }

    /// A message that its state has no place for (RFC 6608): the data is the message's type.
    fn unexpected(&self, message: MessageType) -> Failure {
        let subcode = match self.phase {
            // RFC 4271 §8.2.2 has no NOTIFICATION here, and RFC 6608 no subcode.
            Phase::OpenDelayed { .. } => {
                return Failure::lost(format!("the router sent {message} before its OPEN"));
            }
            Phase::OpenSent => state_machine::UNEXPECTED_MESSAGE_IN_OPEN_SENT,
            Phase::OpenConfirm(_) => state_machine::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM,
            Phase::Established { .. } => state_machine::UNEXPECTED_MESSAGE_IN_ESTABLISHED,
        };
        let notification = Notification {
            code: NotificationCode::FiniteStateMachine,
            subcode,
            data: Bytes::copy_from_slice(&[message.code()]),
        };
        Failure::sending(notification, None)
    }
}

fn refused(error: DecodeError) -> Failure {
    let detail = error.to_string();
    Failure::sending(error.notification, Some(&detail))
}

fn message_type(message: &Message) -> MessageType {
    match message {
        Message::Open(_) => MessageType::Open,
        Message::Update(_) => MessageType::Update,
        Message::Notification(_) => MessageType::Notification,
        Message::Keepalive => MessageType::Keepalive,
        Message::RouteRefresh(_) => MessageType::RouteRefresh,
    }
}

/// `None`: the session never times out and no KEEPALIVEs are sent (RFC 4271 §4.4).
fn hold_time(negotiated: &Negotiated) -> Option<Duration> {
    match negotiated.hold_time {
        0 => None,
        seconds => Some(Duration::from_secs(u64::from(seconds))),
    }
}
