//! The transport of plain HTTP under hyper: content goes from a drive's slab to the socket by sendfile(2), without
//! crossing user space. Bodies promise it in the connection's [`Outbox`], which only this transport makes.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;

use super::outbox::{Outbox, Promise, is_stand_in};
use super::socket::{ClientSocket, send};

/// Most bytes that one call of sendfile(2) is asked for: other connections wait for its end.
const CALL: u32 = 256 << 10;
/// Bytes after which a connection lets the others of its thread go first.
const TURN: usize = 512 << 10;

/// A plain connection.
pub(super) struct PlainTransport {
    socket: TokioIo<ClientSocket>,
    outbox: Outbox,
    /// Bytes sent since others were let go first.
    turn: usize,
}

impl PlainTransport {
    pub(super) fn new(socket: ClientSocket) -> Self {
        Self { socket: TokioIo::new(socket), outbox: Outbox::default(), turn: 0 }
    }

    /// Where the bodies of this connection promise content.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }
}

/// Sends what is in front of the first stand-in, and some of what that stands for.
fn send_slices(fd: BorrowedFd<'_>, outbox: &Outbox, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let first = slices.iter().position(|slice| is_stand_in(slice)).unwrap_or(slices.len());
    let (memory, promised) = slices.split_at_checked(first).unwrap_or((slices, &[]));
    let Some(stand_in) = promised.first() else {
        return send(fd, memory, false);
    };
    let length: usize = memory.iter().map(|slice| slice.len()).sum();
    let mut sent = 0;
    if length > 0 {
        sent = send(fd, memory, true)?;
        if sent < length {
            return Ok(sent);
        }
    }
    let kept = outbox.keep(stand_in, |promise| send_file(fd, promise));
    match kept.unwrap_or_else(|| Err(io::Error::other("a body's bytes are not those promised"))) {
        Ok(n) => Ok(sent + n),
        Err(error) if sent > 0 && error.kind() == io::ErrorKind::WouldBlock => Ok(sent),
        Err(error) => Err(error),
    }
}

fn send_file(fd: BorrowedFd<'_>, promise: &Promise) -> io::Result<usize> {
    let (file, start) = promise.block.location();
    let mut offset = start + u64::from(promise.range.start);
    let length = promise.range.end.saturating_sub(promise.range.start).min(CALL);
    let error = match rustix::fs::sendfile(fd, file, Some(&mut offset), length as usize) {
        Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
        Ok(sent) => return Ok(sent),
        Err(error) if is_of_the_socket(error) => return Err(error.into()),
        Err(error) => error.into(),
    };
    // What went before is out already. The client resumes, and gets the rest from the origin.
    promise.block.failed_to_send(&error);
    Err(error)
}

/// Whether sendfile(2) has met this error at the socket or in the system, not at the file.
fn is_of_the_socket(error: Errno) -> bool {
    !matches!(
        error,
        Errno::IO
            | Errno::NODATA
            | Errno::REMOTEIO
            | Errno::BADMSG
            | Errno::UCLEAN
            | Errno::STALE
            | Errno::NXIO
            | Errno::NODEV
            | Errno::OVERFLOW
            | Errno::INVAL
    )
}

impl Read for PlainTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl Write for PlainTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.turn >= TURN {
            this.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let outbox = &this.outbox;
        let sent = this.socket.inner_mut().poll_send(context, |fd| send_slices(fd, outbox, slices));
        let sent = match sent {
            Poll::Ready(sent) => sent?,
            Poll::Pending => {
                this.turn = 0;
                return Poll::Pending;
            }
        };
        this.turn += sent;
        Poll::Ready(Ok(sent))
    }

    /// hyper copies bodies for transports that cannot: the copy of a stand-in would be sent as the zeros that it is.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::{Buf, Bytes};
    use http::HeaderValue;
    use mcc_config::ByteSize;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::PaceLimits;
    use super::*;
    use crate::counters::Counters;
    use crate::store::{BLOCK, Object, ObjectKey, ObjectMeta, PinnedBlock, Store, StoreOptions};

    /// A stored object of two blocks, and a connection to send it on.
    struct Scene {
        _folder: tempfile::TempDir,
        store: Store,
        object: Arc<Object>,
        content: Vec<u8>,
        transport: PlainTransport,
        client: Option<TcpStream>,
    }

    async fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let size = ByteSize::new(32 << 20);
        let drive = mcc_config::Drive { path: folder.path().to_owned(), size, allow_root: false };
        let store = Store::open(&[drive], &StoreOptions::default());
        assert!(store.wait_for_drives(Duration::from_secs(60)), "the drive opens");
        let content: Vec<u8> =
            (0..2 * BLOCK).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let meta = ObjectMeta {
            length: content.len() as u64,
            etag: Some(HeaderValue::from_static("\"1\"")),
            last_modified: None,
            headers: vec![],
            stored_at: 0,
            fresh_until: u64::MAX,
        };
        let object =
            store.publish(&ObjectKey::new(&"a.example".parse().unwrap(), "/", None), &meta);
        for (index, block) in (0..).zip(content.chunks(BLOCK as usize)) {
            store.write(&object, index, vec![Bytes::copy_from_slice(block)]).unwrap();
        }
        store.flush();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // So that no write takes all.
        socket2::SockRef::from(&listener).set_send_buffer_size(40_000).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (stuck, window) = (Duration::from_secs(1000), Duration::from_secs(1000));
        let pace = PaceLimits { stuck, least_rate: 0, window };
        let socket = ClientSocket::new(stream, pace, Arc::new(Counters::default()));
        let transport = PlainTransport::new(socket);
        Scene { _folder: folder, store, object, content, transport, client: Some(client) }
    }

    impl Scene {
        fn block(&self, index: u32) -> Arc<PinnedBlock> {
            Arc::new(self.store.block(&self.object, index).unwrap())
        }

        /// Sends `parts` as hyper does.
        async fn send(&mut self, mut parts: Vec<Bytes>) -> io::Result<()> {
            while parts.iter().any(|part| !part.is_empty()) {
                let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                let mut sent = poll_fn(|context| {
                    Pin::new(&mut self.transport).poll_write_vectored(context, &slices)
                })
                .await?;
                for part in &mut parts {
                    let n = sent.min(part.len());
                    part.advance(n);
                    sent -= n;
                }
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_was_promised_arrives_between_what_was_not() {
        let mut scene = scene().await;
        let outbox = scene.transport.outbox();
        let (first, second) = (scene.block(0), scene.block(1));
        let text = Bytes::from_static(b"between");
        let parts = vec![
            Bytes::from_static(b"head"),
            outbox.promise(first.clone(), 1000..BLOCK),
            outbox.promise(second, 0..BLOCK),
            text.clone(),
            outbox.promise(first, 5..6),
            text,
        ];
        assert_eq!(outbox.owed(), 3);
        let block = BLOCK as usize;
        let mut expected = b"head".to_vec();
        expected.extend_from_slice(&scene.content[1000..2 * block]);
        expected.extend_from_slice(b"between");
        expected.push(scene.content[5]);
        expected.extend_from_slice(b"between");
        let mut client = scene.client.take().unwrap();
        let read = tokio::spawn(async move {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).await.unwrap();
            bytes
        });
        scene.send(parts).await.unwrap();
        assert_eq!(outbox.owed(), 0, "promises that are kept hold no slot");
        drop(scene.transport);
        assert!(read.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn zeros_are_never_sent() {
        let mut scene = scene().await;
        let outbox = scene.transport.outbox();
        let block = scene.block(0);
        let first = outbox.promise(block.clone(), 0..100);
        let second = outbox.promise(block.clone(), 0..100);
        // Not the oldest, too short, too long, not from its beginning.
        let longer = outbox.promise(block, 0..200);
        for wrong in [second.clone(), first.slice(..99), longer, first.slice(1..)] {
            let error = scene.send(vec![Bytes::from_static(b"head"), wrong]).await.unwrap_err();
            assert!(error.to_string().contains("not those promised"), "{error}");
        }
        scene.send(vec![first]).await.unwrap();
        scene.send(vec![second.clone()]).await.unwrap();
        let error = scene.send(vec![second]).await.unwrap_err();
        assert!(error.to_string().contains("not those promised"), "it was kept: {error}");
        drop(scene.transport);
        let mut bytes = Vec::new();
        scene.client.take().unwrap().read_to_end(&mut bytes).await.unwrap();
        let mut expected = b"head".repeat(4);
        expected.extend_from_slice(&scene.content[..100].repeat(2));
        assert!(bytes == expected);
    }

    /// What sendfile(2) puts into a socket are the slab's own pages.
    #[tokio::test]
    async fn a_slot_is_not_refilled_while_a_socket_holds_its_bytes() {
        let mut scene = scene().await;
        let outbox = scene.transport.outbox();
        let part = outbox.promise(scene.block(0), 0..30_000);
        scene.send(vec![part]).await.unwrap();
        // Nothing is pinned any more, and everything on the drive is replaced, again and again.
        for version in 0..4 {
            let meta = ObjectMeta { length: 32 << 20, ..scene.object.meta() };
            let path = format!("/{version}");
            let key = ObjectKey::new(&"a.example".parse().unwrap(), &path, None);
            let new = scene.store.publish(&key, &meta);
            for index in 0..new.blocks() {
                let zeros = Bytes::from(vec![0xff; BLOCK as usize]);
                let _ = scene.store.write(&new, index, vec![zeros]);
                scene.store.flush();
            }
        }
        assert!(scene.store.block(&scene.object, 0).is_none(), "it was evicted");
        drop(scene.transport);
        let mut bytes = Vec::new();
        scene.client.take().unwrap().read_to_end(&mut bytes).await.unwrap();
        assert!(bytes == scene.content[..30_000]);
    }
}
