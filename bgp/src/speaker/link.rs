//! One TCP connection with its buffers: bytes in, messages out; messages in, bytes out.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, Ready};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::recorder::LinkRecorder;
use super::socket;
use super::tap::EstablishedSession;
use crate::session::{Negotiated, PeerSettings};
use crate::wire::{
    DecodeContext, DecodeError, Family, FamilyOptions, MAX_MESSAGE, Message, NeighborKind,
    Outgoing, Update, decode, frame,
};

/// How much is read at once: two hundred usual messages. With more, what is made of them does not fit
/// into a processor's cache until the RIB, on another one, has looked at it: a full table takes a
/// tenth to a third more work with 64 KiB.
const READ_SIZE: usize = 16 * 1024;
/// How long a write may make no progress, when no hold time says so. RFC 9687 has a timer of 8
/// minutes or more that runs whatever is written; this one asks for progress only, and may be shorter:
/// a router that takes nothing for the hold time sees no KEEPALIVE and gives up as well.
const WRITE_STALL: Duration = Duration::from_secs(240);
/// How long a closed connection may take to deliver its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    inbox: BytesMut,
    /// Small: we send KEEPALIVEs and little else, and a stall ends the link.
    outbox: BytesMut,
    stalls_at: Option<Instant>,
    write_stall: Duration,
    context: DecodeContext,
    recorder: LinkRecorder,
    /// The second part of the last message, which is handed out next.
    other_part: Option<Box<Update>>,
    longest_message: usize,
    /// Why it cannot be used any more.
    broken: Option<String>,
}

impl Link {
    pub(super) fn new(stream: TcpStream, settings: &PeerSettings, recorder: LinkRecorder) -> Self {
        let broken = socket::prepare(&stream).err().map(|error| connection_error(&error));
        let neighbor =
            if settings.is_internal() { NeighborKind::Internal } else { NeighborKind::External };
        Self {
            stream,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            stalls_at: None,
            write_stall: WRITE_STALL,
            context: DecodeContext { neighbor, ..DecodeContext::default() },
            recorder,
            other_part: None,
            longest_message: MAX_MESSAGE,
            broken,
        }
    }

    /// From now on messages are read as was agreed.
    pub(super) fn agree(&mut self, negotiated: &Negotiated) {
        let options = |family: Family| {
            let add_path = negotiated.add_path_receive.contains(&family);
            let ipv6_next_hop = negotiated.extended_next_hop && family == Family::IPV4_UNICAST;
            let agreed = negotiated.families.contains(&family);
            agreed.then_some(FamilyOptions { add_path, ipv6_next_hop })
        };
        self.context = DecodeContext {
            neighbor: self.context.neighbor,
            four_octet_as: negotiated.four_octet_as,
            ipv4_unicast: options(Family::IPV4_UNICAST),
            ipv6_unicast: options(Family::IPV6_UNICAST),
            enhanced_route_refresh: negotiated.enhanced_route_refresh,
        };
        self.longest_message = negotiated.longest_received;
        if negotiated.hold_time > 0 {
            self.write_stall = Duration::from_secs(u64::from(negotiated.hold_time));
        }
    }

    /// Waits until the connection can be read (if `reading`) or written (if there is something to
    /// write).
    pub(super) async fn ready(&self, reading: bool) -> io::Result<Ready> {
        let interest = match (reading, self.outbox.is_empty()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
            (false, true) => return std::future::pending().await,
        };
        self.stream.ready(interest).await
    }

    /// Puts in front what was read of the connection before it became a link.
    pub(super) fn with_inbox(mut self, read: BytesMut) -> Self {
        self.inbox = read;
        self
    }

    /// Reads what is there, up to a bound. Whether anything came.
    pub(super) fn read(&mut self) -> bool {
        self.inbox.reserve(READ_SIZE);
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => {
                self.fail("the router closed the connection without a word".to_owned());
                false
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.fail(connection_error(&error));
                false
            }
        }
    }

    /// How many bytes were read that have not been looked at.
    pub(super) fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// The next whole message of what was read. An UPDATE with two next hops comes as two.
    ///
    /// # Errors
    /// Bytes that are no message; the session is over.
    pub(super) fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        if let Some(part) = self.other_part.take() {
            return Ok(Some(Message::Update(*part)));
        }
        let frame = match frame(&self.inbox, self.longest_message) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.recorder.received_no_message(&self.inbox, &self.context, &error);
                return Err(error);
            }
        };
        let length = frame.len();
        let decoded = decode(frame, &self.context);
        self.recorder.received(frame, &self.context, &decoded);
        let mut message = decoded?;
        if let Message::Update(update) = &mut message {
            self.other_part = update.other_next_hop.take();
        }
        self.inbox.advance(length);
        Ok(Some(message))
    }

    /// Sends `message`, or queues what the connection does not take now.
    pub(super) fn send(&mut self, message: &Outgoing, now: Instant) {
        let bytes = message.encode();
        self.recorder.sent(message, &bytes, &self.context);
        self.outbox.extend_from_slice(&bytes);
        self.flush(now);
    }

    /// What there is to know of the session that was established over this connection.
    pub(super) fn established(&mut self, negotiated: Arc<Negotiated>) -> Arc<EstablishedSession> {
        self.recorder.established(self.context, negotiated)
    }

    /// Writes as much of the queue as the connection takes.
    pub(super) fn flush(&mut self, now: Instant) {
        while !self.outbox.is_empty() {
            match self.stream.try_write(&self.outbox) {
                Ok(written) => {
                    self.outbox.advance(written);
                    self.stalls_at = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalls_at.get_or_insert(now + self.write_stall);
                    return;
                }
                Err(error) => return self.fail(connection_error(&error)),
            }
        }
    }

    /// When the link is given up because the neighbor takes nothing.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        self.stalls_at
    }

    /// Gives up the link if the neighbor has taken nothing for too long.
    pub(super) fn check_stall(&mut self, now: Instant) {
        if self.stalls_at.is_some_and(|at| at <= now) {
            let seconds = self.write_stall.as_secs();
            // It cannot be told: a NOTIFICATION (code 8) would wait behind what it does not take.
            self.fail(format!(
                "Send Hold Timer Expired (RFC 9687): the router has taken no byte for {seconds} s"
            ));
        }
    }

    /// Why the link cannot be used any more, if so.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Remembers the first thing that went wrong.
    pub(super) fn fail(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    /// Writes what is queued, then closes. Reads to the end, because a close with unread bytes
    /// resets the connection, and a reset can destroy our NOTIFICATION before it is read.
    pub(super) async fn close(mut self) {
        if self.broken.is_some() {
            return;
        }
        let last_words = async {
            self.stream.write_all(&self.outbox).await?;
            self.stream.shutdown().await?;
            loop {
                self.inbox.clear();
                self.inbox.reserve(READ_SIZE);
                if self.stream.read_buf(&mut self.inbox).await? == 0 {
                    return Ok::<(), io::Error>(());
                }
            }
        };
        // Whatever goes wrong now, nobody is left to be told.
        let _ = timeout(LAST_WORDS, last_words).await;
    }
}

/// A failed read or write in words.
pub(super) fn connection_error(error: &io::Error) -> String {
    use io::ErrorKind::{
        BrokenPipe, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        ConnectionReset => "the router reset the connection".to_owned(),
        BrokenPipe => "the router has closed the connection".to_owned(),
        TimedOut => "the router does not answer on the connection any more".to_owned(),
        HostUnreachable | NetworkUnreachable => "the router cannot be reached any more".to_owned(),
        _ => format!("the connection to the router failed: {}", socket::without_number(error)),
    }
}
