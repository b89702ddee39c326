//! Records what a session does: counts its messages, keeps its history, tells the tap.
//!
//! An UPDATE without a fault, of which there are millions, costs an addition and a look whether
//! anybody listens.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::net::TcpStream;

use super::history::{MalformedMessage, MessageRecord};
use super::status::SessionBoard;
use super::tap::{
    ConnectionEnds, Direction, EstablishedSession, Observation, Observed, SessionEnds, Tap,
};
use super::words;
use crate::session::{Negotiated, SessionError, State};
use crate::wire::{
    DecodeContext, DecodeError, Disposition, Frame, MAX_MESSAGE, Message, MessageType,
    NotificationCode, Outgoing, RouteRefresh, RouteRefreshKind,
};

/// Records what one session does.
#[derive(Debug)]
pub(super) struct SessionRecorder {
    board: Arc<SessionBoard>,
    tap: Tap,
    neighbor: SessionEnds,
}

/// Records what goes over one TCP connection of a session.
#[derive(Debug)]
pub(super) struct LinkRecorder {
    session: Arc<SessionRecorder>,
    connection: ConnectionEnds,
    sent_open: Bytes,
    received_open: Bytes,
    /// The session over it is established.
    established: bool,
}

impl SessionRecorder {
    pub(super) fn new(board: Arc<SessionBoard>, tap: Tap, router_id: Ipv4Addr) -> Self {
        let neighbor = board.ends(router_id);
        Self { board, tap, neighbor }
    }

    /// For a connection that has just come about.
    pub(super) fn link(self: &Arc<Self>, stream: &TcpStream) -> LinkRecorder {
        // A connection that is gone already has no addresses any more.
        let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let connection = ConnectionEnds {
            local: stream.local_addr().unwrap_or(unknown),
            remote: stream.peer_addr().unwrap_or(SocketAddr::new(self.neighbor.address, 0)),
        };
        let (sent_open, received_open) = (Bytes::new(), Bytes::new());
        let session = Arc::clone(self);
        LinkRecorder { session, connection, sent_open, received_open, established: false }
    }

    /// The state has changed: because of `error`, or in the way of things as `usual` says.
    pub(super) fn state_changed(
        &self,
        from: State,
        to: State,
        error: Option<SessionError>,
        usual: &str,
    ) {
        let at = Timestamp::now();
        let failure = error.as_ref().map(SessionError::what_happened);
        let reason = failure.unwrap_or_else(|| usual.to_owned());
        self.board.history().state_changed(at, from, to, reason.clone());
        self.observe(|| Observed::State { from, to, reason, error });
    }

    /// The session is established.
    pub(super) fn established(&self, session: &Arc<EstablishedSession>) {
        self.observe(|| Observed::Established(Arc::clone(session)));
    }

    fn message(&self, direction: Direction, kind: &'static str, text: String, length: usize) {
        let record = MessageRecord { at: Timestamp::now(), direction, kind, text, length };
        self.board.history().message(record);
    }

    fn malformed(&self, message: MalformedMessage) {
        let neighbor = self.neighbor.address;
        let counter = match message.disposition {
            Disposition::AttributeDiscard => &self.board.discarded_attributes,
            Disposition::TreatAsWithdraw => &self.board.treated_as_withdraw,
            Disposition::SessionReset => &self.board.malformed_resets,
        };
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        if let Some(fault) = message.faults.first() {
            let (treatment, offset, reason) = (message.disposition, fault.offset, fault.reason);
            let attribute = fault.attribute.as_deref();
            // The end of a session is logged as such.
            if first && treatment != Disposition::SessionReset {
                tracing::warn!(
                    %neighbor, attribute, offset, reason, %treatment,
                    "first malformed UPDATE of its kind; `mcc bgp errors` lists them all"
                );
            } else {
                tracing::debug!(%neighbor, attribute, offset, reason, %treatment, "malformed message");
            }
        }
        let message = Arc::new(message);
        self.board.history().malformed(Arc::clone(&message));
        self.observe(|| Observed::Malformed(message));
    }

    fn observe(&self, what: impl FnOnce() -> Observed) {
        if self.tap.is_open() {
            let (at, neighbor) = (Timestamp::now(), self.neighbor);
            self.tap.report(&Observation { at, neighbor, what: what() });
        }
    }
}

impl LinkRecorder {
    /// A message came in, and this is what it was read as.
    pub(super) fn received(
        &mut self,
        frame: Frame<'_>,
        context: &DecodeContext,
        decoded: &Result<Message, DecodeError>,
    ) {
        let bytes = frame.bytes();
        self.session.board.received.count(frame.message_type());
        self.observe(Direction::Received, bytes, context);
        let remember = |kind, text| {
            self.session.message(Direction::Received, kind, text, bytes.len());
        };
        // What is in such a message does not matter, and was not read as it was meant.
        let unexpected = !self.has_place(frame.message_type());
        match decoded {
            Ok(Message::Update(update)) if unexpected => {
                remember("UPDATE", "before the session was established".to_owned());
            }
            Ok(Message::Update(update)) => {
                if let Some(family) = update.end_of_rib {
                    remember("End-of-RIB", family.to_string());
                }
                let neighbor = self.session.neighbor.address;
                if !update.findings.is_empty()
                    && let Some(malformed) = MalformedMessage::of_update(neighbor, bytes, update)
                {
                    self.session.malformed(malformed);
                }
            }
            Ok(Message::Keepalive) => {}
            Ok(Message::Open(open)) => {
                remember("OPEN", words::open(open));
                self.received_open = Bytes::copy_from_slice(bytes);
            }
            Ok(Message::Notification(notification)) => {
                remember("NOTIFICATION", notification.to_string());
            }
            Ok(Message::RouteRefresh(refresh)) => {
                remember("ROUTE-REFRESH", words::route_refresh(refresh));
            }
            // A header is wrong in any state.
            Err(error)
                if unexpected && error.notification.code != NotificationCode::MessageHeader => {}
            Err(error) => self.malformed(bytes, error),
        }
    }

    /// Whether the state has a place for messages of a type. One that has none ends the session with a
    /// Finite State Machine Error (RFC 6608), which the history tells; it is not malformed.
    fn has_place(&self, kind: MessageType) -> bool {
        match kind {
            MessageType::Open => !self.established,
            MessageType::Update | MessageType::RouteRefresh => self.established,
            MessageType::Notification | MessageType::Keepalive => true,
        }
    }

    /// What was read begins with something that is no message.
    pub(super) fn received_no_message(
        &self,
        bytes: &[u8],
        context: &DecodeContext,
        error: &DecodeError,
    ) {
        let bytes = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
        self.observe(Direction::Received, bytes, context);
        self.malformed(bytes, error);
    }

    /// A message goes out.
    pub(super) fn sent(&mut self, message: &Outgoing, bytes: &[u8], context: &DecodeContext) {
        let counters = &self.session.board.sent;
        let remember = |kind, text| {
            self.session.message(Direction::Sent, kind, text, bytes.len());
        };
        match message {
            Outgoing::Keepalive => counters.count(MessageType::Keepalive),
            Outgoing::Open(open) => {
                counters.count(MessageType::Open);
                remember("OPEN", words::open(open));
                self.sent_open = Bytes::copy_from_slice(bytes);
            }
            Outgoing::Notification(notification) => {
                counters.count(MessageType::Notification);
                remember("NOTIFICATION", notification.to_string());
            }
            Outgoing::RouteRefreshRequest(family) => {
                counters.count(MessageType::RouteRefresh);
                let request = RouteRefresh { family: *family, kind: RouteRefreshKind::Request };
                remember("ROUTE-REFRESH", words::route_refresh(&request));
            }
            Outgoing::EndOfRib(family) => {
                counters.count(MessageType::Update);
                remember("End-of-RIB", family.to_string());
            }
        }
        self.observe(Direction::Sent, bytes, context);
    }

    /// The session over this connection is established.
    pub(super) fn established(
        &mut self,
        context: DecodeContext,
        negotiated: Arc<Negotiated>,
    ) -> Arc<EstablishedSession> {
        self.established = true;
        Arc::new(EstablishedSession {
            at: Timestamp::now(),
            neighbor: self.session.neighbor,
            connection: self.connection,
            sent_open: mem::take(&mut self.sent_open),
            received_open: mem::take(&mut self.received_open),
            context,
            negotiated,
        })
    }

    fn malformed(&self, bytes: &[u8], error: &DecodeError) {
        let neighbor = self.session.neighbor.address;
        self.session.malformed(MalformedMessage::of_error(neighbor, bytes, error));
    }

    fn observe(&self, direction: Direction, bytes: &[u8], context: &DecodeContext) {
        self.session.observe(|| Observed::Message {
            direction,
            connection: self.connection,
            context: *context,
            bytes: Bytes::copy_from_slice(bytes),
        });
    }
}
