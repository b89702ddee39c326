//! One connection of a router, from OPEN to its end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mcc_bgp::wire::{
    AddPathMode, Capability, DecodeContext, DecodeError, Family, FamilyOptions, MAX_MESSAGE,
    Message, NeighborKind, Notification, NotificationCode, Open, Outgoing, RouteRefreshKind,
    decode, frame, subcode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::info;

use crate::encode;
use crate::router::{Change, RouterSettings, RouterStatus, Table, apply};

/// How a session came to its end.
pub(crate) enum Ended {
    /// The router is to stop.
    Closed,
    /// In words; the router is to try again.
    Lost(String),
}

/// Until the OPEN of the other side is there (RFC 4271 §8.2.2 says "a large value").
const OPEN_WAIT: Duration = Duration::from_secs(240);
/// For the last words onto a socket.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where the handshake stands (RFC 4271 §8.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    OpenSent,
    OpenConfirm,
    Established,
}

struct Session<'a> {
    settings: &'a RouterSettings,
    table: &'a mut Table,
    status: &'a watch::Sender<RouterStatus>,
    state: State,
    /// How the neighbor's messages are read.
    reading: DecodeContext,
    /// How the neighbor reads this router's: path identifiers go one way only.
    sending: DecodeContext,
    hold_time: Duration,
    /// Bytes that wait for the socket: the table once, and a few more messages.
    to_send: VecDeque<Bytes>,
    /// So many whole tables are in `to_send`.
    tables_waiting: u64,
    /// Families that the neighbor wants again, once `to_send` is empty.
    wanted_again: Vec<Family>,
}

pub(crate) async fn run(
    mut stream: TcpStream,
    settings: &RouterSettings,
    table: &mut Table,
    changes: &mut mpsc::Receiver<Change>,
    status: &watch::Sender<RouterStatus>,
) -> Ended {
    let mut session = Session {
        settings,
        table,
        status,
        state: State::OpenSent,
        reading: DecodeContext::default(),
        sending: DecodeContext::default(),
        hold_time: Duration::ZERO,
        to_send: VecDeque::new(),
        tables_waiting: 0,
        wanted_again: Vec::new(),
    };
    session.send(&Outgoing::Open(own_open(settings)));
    let ended = session.converse(&mut stream, changes).await;
    let farewell = match &ended {
        Err(End::Tell(notification, _)) => Some(Outgoing::Notification(notification.clone())),
        Err(End::Close(text)) => {
            let shutdown = Notification::administrative_shutdown(text.as_deref());
            Some(Outgoing::Notification(shutdown))
        }
        Err(End::Lost(_)) | Ok(()) => None,
    };
    if let Some(farewell) = farewell {
        // What waits in between may end in half a message.
        let goodbye = async {
            while let Some(mut bytes) = session.to_send.pop_front() {
                stream.write_all_buf(&mut bytes).await?;
            }
            stream.write_all(&farewell.encode()).await?;
            stream.shutdown().await?;
            // A socket closed with bytes unread resets the connection, and a reset takes the last
            // words away from the neighbor.
            let mut unread = [0; 4096];
            while stream.read(&mut unread).await? > 0 {}
            std::io::Result::Ok(())
        };
        // If it does not get there, the connection closes all the same.
        let _late = tokio::time::timeout(GOODBYE, goodbye).await;
    }
    match ended {
        Err(End::Close(_)) => Ended::Closed,
        Err(End::Tell(notification, why)) => Ended::Lost(format!("{why}; told: {notification}")),
        Err(End::Lost(why)) => Ended::Lost(why),
        Ok(()) => Ended::Lost("the neighbor closed the connection".to_owned()),
    }
}

/// Why a conversation stops.
enum End {
    Close(Option<String>),
    Tell(Notification, String),
    Lost(String),
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        let why = error.to_string();
        Self::Tell(error.notification, why)
    }
}

impl Session<'_> {
    /// Until the neighbor closes, or anything else happens that ends it.
    async fn converse(
        &mut self,
        stream: &mut TcpStream,
        changes: &mut mpsc::Receiver<Change>,
    ) -> Result<(), End> {
        let (mut reader, mut writer) = stream.split();
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        let mut heard_at = Instant::now();
        // Re-made with the negotiated hold time below.
        let mut keepalive = interval(OPEN_WAIT);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hold_time = OPEN_WAIT;
        loop {
            let idle = self.to_send.is_empty();
            tokio::select! {
                read = reader.read_buf(&mut buffer) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    heard_at = Instant::now();
                    let before = self.state;
                    self.take_in(&mut buffer)?;
                    if before == State::OpenSent && self.state != before {
                        hold_time = self.hold_time;
                        let third = hold_time / 3;
                        keepalive = interval(if third.is_zero() { OPEN_WAIT } else { third });
                        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    }
                }
                written = write_some(&mut writer, &mut self.to_send), if !idle => {
                    written?;
                    self.after_write();
                }
                change = changes.recv(), if idle => match change {
                    None => return Err(End::Close(None)),
                    Some(Change::Close(text)) => return Err(End::Close(text)),
                    Some(change) => self.change(change),
                },
                _ = keepalive.tick(), if idle && self.state != State::OpenSent => {
                    if !self.hold_time.is_zero() {
                        self.send(&Outgoing::Keepalive);
                    }
                }
                () = sleep_until(heard_at + hold_time), if !hold_time.is_zero() => {
                    let expired = Notification::new(NotificationCode::HoldTimerExpired, 0);
                    return Err(End::Tell(expired, "the neighbor is silent".to_owned()));
                }
            }
        }
    }

    /// All whole messages in the buffer.
    fn take_in(&mut self, buffer: &mut BytesMut) -> Result<(), End> {
        while let Some(frame) = frame(buffer, MAX_MESSAGE)? {
            let message = decode(frame, &self.reading)?;
            let length = frame.len();
            buffer.advance(length);
            self.status.send_modify(|status| status.heard.note(&message));
            self.handle(message)?;
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), End> {
        match (self.state, message) {
            (_, Message::Notification(notification)) => {
                Err(End::Lost(format!("the neighbor said: {notification}")))
            }
            (State::OpenSent, Message::Open(open)) => {
                self.negotiate(&open);
                self.state = State::OpenConfirm;
                self.send(&Outgoing::Keepalive);
                Ok(())
            }
            (State::OpenConfirm, Message::Keepalive) => {
                self.state = State::Established;
                info!(asn = self.settings.asn, routes = self.table.len(), "router has a session");
                self.status.send_modify(|status| {
                    status.established = true;
                    status.sessions += 1;
                    status.last_error = None;
                });
                self.send_table();
                Ok(())
            }
            (State::Established, Message::RouteRefresh(refresh)) => {
                if refresh.kind == RouteRefreshKind::Request
                    && self.sending.family(refresh.family).is_some()
                    && !self.wanted_again.contains(&refresh.family)
                {
                    self.wanted_again.push(refresh.family);
                    self.after_write();
                }
                Ok(())
            }
            (State::Established, Message::Keepalive | Message::Update(_)) => Ok(()),
            (state, _) => {
                use subcode::state_machine as unexpected;
                let subcode = match state {
                    State::OpenSent => unexpected::UNEXPECTED_MESSAGE_IN_OPEN_SENT,
                    State::OpenConfirm => unexpected::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM,
                    State::Established => unexpected::UNEXPECTED_MESSAGE_IN_ESTABLISHED,
                };
                let error = Notification::new(NotificationCode::FiniteStateMachine, subcode);
                Err(End::Tell(error, "a message came out of turn".to_owned()))
            }
        }
    }

    /// What both sides can.
    fn negotiate(&mut self, open: &Open) {
        let has = |wanted: &Capability| open.capabilities.contains(wanted);
        let no_families =
            !open.capabilities.iter().any(|it| matches!(it, Capability::Multiprotocol(_)));
        let agreed = |family, offered| {
            // A speaker that names no family means IPv4 unicast (RFC 4760 §8).
            let implied = family == Family::IPV4_UNICAST && no_families;
            let agreed = offered && (implied || has(&Capability::Multiprotocol(family)));
            agreed.then_some(FamilyOptions::default())
        };
        let four_octet =
            open.capabilities.iter().any(|it| matches!(it, Capability::FourOctetAs(_)));
        self.reading = DecodeContext {
            neighbor: if open.asn == self.settings.asn {
                NeighborKind::Internal
            } else {
                NeighborKind::External
            },
            four_octet_as: self.settings.four_octet_as && four_octet,
            ipv4_unicast: agreed(Family::IPV4_UNICAST, true),
            ipv6_unicast: agreed(Family::IPV6_UNICAST, self.settings.ipv6),
            enhanced_route_refresh: has(&Capability::EnhancedRouteRefresh),
        };
        let takes_paths = |family| {
            let takes = |it: &Capability| match it {
                Capability::AddPath(list) => {
                    list.iter().any(|&(other, mode)| other == family && mode != AddPathMode::Send)
                }
                _ => false,
            };
            self.settings.add_path && open.capabilities.iter().any(takes)
        };
        self.sending = self.reading;
        for (options, family) in [
            (&mut self.sending.ipv4_unicast, Family::IPV4_UNICAST),
            (&mut self.sending.ipv6_unicast, Family::IPV6_UNICAST),
        ] {
            if let Some(options) = options {
                options.add_path = takes_paths(family);
            }
        }
        let seconds = self.settings.hold_time.min(open.hold_time);
        self.hold_time = Duration::from_secs(seconds.into());
    }

    fn send(&mut self, message: &Outgoing) {
        self.to_send.push_back(message.encode().into());
    }

    fn families(&self) -> Vec<Family> {
        let both = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
        both.into_iter().filter(|&family| self.sending.family(family).is_some()).collect()
    }

    fn send_table(&mut self) {
        let updates = encode::announce(self.table.values(), &self.sending);
        self.to_send.extend(updates.into_iter().map(Bytes::from));
        for family in self.families() {
            self.send(&Outgoing::EndOfRib(family));
        }
        self.tables_waiting += 1;
    }

    /// The routes of one family again, between two markers if the neighbor knows them
    /// (RFC 7313 §4).
    fn send_again(&mut self, family: Family) {
        if self.sending.enhanced_route_refresh {
            self.to_send.push_back(refresh_marker(family, 1));
        }
        let of_family = self.table.values().filter(|it| encode::family(it.prefix) == family);
        let updates = encode::announce(of_family, &self.sending);
        self.to_send.extend(updates.into_iter().map(Bytes::from));
        if self.sending.enhanced_route_refresh {
            self.to_send.push_back(refresh_marker(family, 2));
        } else {
            self.send(&Outgoing::EndOfRib(family));
        }
        self.tables_waiting += 1;
    }

    fn after_write(&mut self) {
        if !self.to_send.is_empty() {
            return;
        }
        let sent = std::mem::take(&mut self.tables_waiting);
        if sent > 0 {
            self.status.send_modify(|status| status.tables_sent += sent);
        }
        for family in std::mem::take(&mut self.wanted_again) {
            self.send_again(family);
        }
    }

    fn change(&mut self, change: Change) {
        if self.state == State::Established {
            let updates = match &change {
                Change::Announce(routes) => encode::announce(routes, &self.sending),
                Change::Withdraw(keys) => encode::withdraw(keys, &self.sending),
                Change::Close(_) => Vec::new(),
            };
            self.to_send.extend(updates.into_iter().map(Bytes::from));
        }
        apply(self.table, change);
    }
}

/// Writes what the socket takes of the first message. Cancelled, it has written nothing.
async fn write_some(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    to_send: &mut VecDeque<Bytes>,
) -> std::io::Result<()> {
    if let Some(first) = to_send.front_mut() {
        writer.write_buf(first).await?;
        if first.is_empty() {
            to_send.pop_front();
        }
    }
    Ok(())
}

fn own_open(settings: &RouterSettings) -> Open {
    let mut families = vec![Family::IPV4_UNICAST];
    if settings.ipv6 {
        families.push(Family::IPV6_UNICAST);
    }
    let mut capabilities: Vec<_> =
        families.iter().map(|&family| Capability::Multiprotocol(family)).collect();
    capabilities.extend([Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    if settings.four_octet_as {
        capabilities.push(Capability::FourOctetAs(settings.asn));
    }
    if settings.add_path {
        let send = families.iter().map(|&family| (family, AddPathMode::Send)).collect();
        capabilities.push(Capability::AddPath(send));
    }
    if let Some(restart_time) = settings.graceful_restart {
        capabilities.push(Capability::GracefulRestart {
            restarting: false,
            notification: false,
            restart_time,
            families: families.iter().map(|&family| (family, true)).collect(),
        });
    }
    Open {
        asn: settings.asn,
        hold_time: settings.hold_time,
        bgp_id: settings.router_id,
        capabilities,
    }
}

/// A ROUTE-REFRESH with a subtype of RFC 7313 §3.2.
fn refresh_marker(family: Family, subtype: u8) -> Bytes {
    let mut message = Outgoing::RouteRefreshRequest(family).encode();
    // AFI, subtype, SAFI are the last four bytes.
    if let [.., place, _safi] = message.as_mut_slice() {
        *place = subtype;
    }
    message.into()
}
