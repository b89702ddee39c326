//! A client's TCP connection, with an eye on the client's pace.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::pace::{Pace, PaceLimits, TooSlow};
use crate::counters::Counters;

/// The socket below plain HTTP and below TLS. A client that does not take what it is owed makes writing fail.
pub(super) struct ClientSocket {
    stream: TcpStream,
    pace: Pace,
    /// Wakes the connection to look at the client's pace. Made when the client is first waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Bytes that the socket has taken.
    written: u64,
    counters: Arc<Counters>,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, limits: PaceLimits, counters: Arc<Counters>) -> Self {
        let pace = Pace::new(limits, Instant::now());
        Self { stream, pace, alarm: None, written: 0, counters }
    }

    /// Has `send` put bytes into the socket as soon as it takes some.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(ready) = self.stream.poll_write_ready(context) else {
                ready!(self.poll_patience(context))?;
                continue;
            };
            ready?;
            let fd = std::os::fd::AsFd::as_fd(&self.stream);
            match self.stream.try_io(Interest::WRITABLE, || send(fd)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(sent) => {
                    self.written += sent as u64;
                    if self.pace.is_waiting() {
                        self.pace.go_on(Instant::now());
                    }
                    return Poll::Ready(Ok(sent));
                }
            }
        }
    }

    /// Waits for the client for as long as it keeps pace; ready only with the error that it does not.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.pace.is_waiting() {
            self.pace.wait(Instant::now());
            self.set_alarm();
        }
        while self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(context).is_ready()) {
            let taken = self.written.saturating_sub(unacknowledged(&self.stream)?);
            if let Err(too_slow) = self.pace.check(Instant::now(), taken) {
                return Poll::Ready(Err(self.give_up(too_slow)));
            }
            self.set_alarm();
        }
        Poll::Pending
    }

    fn set_alarm(&mut self) {
        let interval = self.pace.check_interval();
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().reset(tokio::time::Instant::now() + interval),
            None => self.alarm = Some(Box::pin(tokio::time::sleep(interval))),
        }
    }

    fn give_up(&self, too_slow: TooSlow) -> io::Error {
        self.counters.slow_clients.add(1);
        let peer = self.stream.peer_addr().map_or_else(|_| "?".to_owned(), |peer| peer.to_string());
        tracing::info!(%peer, %too_slow, "connection closed");
        // What it has not taken is thrown away: it would lie in the socket for as long as it likes.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        io::Error::new(io::ErrorKind::TimedOut, too_slow)
    }
}

/// Sends `slices`; `more` says that other bytes follow at once.
pub(super) fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
    let mut nothing = SendAncillaryBuffer::default();
    Ok(rustix::net::sendmsg(fd, slices, &mut nothing, flags | SendFlags::NOSIGNAL)?)
}

/// Bytes in the socket that the client has not acknowledged.
fn unacknowledged(stream: &TcpStream) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ of tcp(7)) writes one int, which lives until the call returns.
    #[expect(unsafe_code, reason = "has no safe form")]
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |fd| send(fd, &[IoSlice::new(bytes)], false))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |fd| send(fd, slices, false))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
