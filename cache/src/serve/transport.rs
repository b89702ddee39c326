//! The transport of plain HTTP under hyper: content goes from a drive's slab to the socket by sendfile(2), without
//! crossing user space. Bodies promise it in the connection's [`Outbox`], which only this transport makes.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;

use super::outbox::{Kept, Outbox, Owed, is_stand_in};
use super::socket::{ClientSocket, send};

/// Most bytes that one call of sendfile(2) is asked for: other connections wait for its end.
const CALL: u32 = 1 << 20;
/// Bytes after which a connection lets the others of its thread go first.
const TURN: usize = 2 << 20;

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

impl PlainTransport {
    /// Sends some of `slices`, as soon as it is there and the client takes it.
    fn poll_slices(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.outbox.poll_ready(context))?;
            let (socket, outbox) = (self.socket.inner_mut(), &self.outbox);
            let sent = ready!(socket.poll_send(context, |fd| send_slices(fd, outbox, slices)))?;
            if sent > 0 || slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(sent));
            }
        }
    }
}

/// Sends what is in front of the first stand-in, and some of what that stands for. Returns 0 when the drive cannot give
/// that: the outbox has it come from elsewhere.
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
    match outbox.keep(stand_in, |owed| keep(fd, owed)) {
        Ok(n) => Ok(sent + n),
        Err(error) if sent > 0 && error.kind() == io::ErrorKind::WouldBlock => Ok(sent),
        Err(error) => Err(error),
    }
}

fn keep(fd: BorrowedFd<'_>, owed: Owed<'_>) -> io::Result<Kept> {
    let part = match owed {
        Owed::Memory(bytes) => return Ok(Kept::Sent(send(fd, &[IoSlice::new(bytes)], false)?)),
        Owed::Stored(part) => part,
    };
    let length = part.len().min(CALL as usize);
    let sent = part.block().send(|file, start| {
        let mut offset = start + u64::from(part.range().start);
        Ok(rustix::fs::sendfile(fd, file, Some(&mut offset), length)?)
    });
    let error = match sent {
        Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
        Ok(sent) => return Ok(Kept::Sent(sent)),
        Err(error) if is_of_the_socket(&error) => return Err(error),
        Err(error) => error,
    };
    part.block().failed_to_send(&error);
    Ok(Kept::TurnOver)
}

/// Whether sendfile(2) has met this error at the socket or in the system, not at the file.
fn is_of_the_socket(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| {
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
                | Errno::ROFS
                | Errno::OVERFLOW
                | Errno::INVAL
        )
    })
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
            this.outbox.note_wait();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let sent = this.poll_slices(context, slices)?;
        match sent {
            Poll::Ready(sent) => this.turn += sent,
            Poll::Pending => {
                this.turn = 0;
                this.outbox.note_wait();
            }
        }
        sent.map(Ok)
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
    use std::ops::Range;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::{Buf, Bytes};
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http::HeaderValue;
    use mcc_config::ByteSize;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;

    use super::super::PaceLimits;
    use super::*;
    use crate::counters::Counters;
    use crate::fill::{Elsewhere, FillError, Replacement, StoredPart};
    use crate::range::ByteRange;
    use crate::store::{BLOCK, Object, ObjectKey, ObjectMeta, PinnedBlock, Store, StoreOptions};

    /// The other place where the content is, and how it behaves.
    #[derive(Debug, Clone)]
    struct Copy {
        content: Vec<u8>,
        manner: Manner,
    }

    #[derive(Debug, Clone, Default)]
    enum Manner {
        #[default]
        Right,
        /// One byte less, or more, than is asked for.
        Short,
        Long,
        Fails,
    }

    impl Elsewhere for Copy {
        fn read(&self, range: ByteRange) -> Replacement {
            let mut bytes = self.content[range.start() as usize..range.end() as usize].to_vec();
            match self.manner {
                Manner::Right => {}
                Manner::Short => drop(bytes.pop()),
                Manner::Long => bytes.push(0),
                Manner::Fails => return stream::iter([Err(FillError::Unreadable)]).boxed(),
            }
            let pieces: Vec<_> = bytes.chunks(300_000).map(Bytes::copy_from_slice).collect();
            // Each piece has to be waited for.
            stream::iter(pieces)
                .then(|piece| async {
                    tokio::task::yield_now().await;
                    Ok(piece)
                })
                .boxed()
        }
    }

    /// A stored object of two blocks, and a connection to send it on.
    struct Scene {
        folder: tempfile::TempDir,
        store: Store,
        object: Arc<Object>,
        content: Vec<u8>,
        elsewhere: Arc<Copy>,
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
        let elsewhere = Arc::new(Copy { content: content.clone(), manner: Manner::Right });
        let client = Some(client);
        Scene { folder, store, object, content, elsewhere, transport, client }
    }

    impl Scene {
        fn block(&self, index: u32) -> Arc<PinnedBlock> {
            Arc::new(self.store.block(&self.object, index).unwrap())
        }

        fn promise(&self, block: &Arc<PinnedBlock>, range: Range<u32>) -> Bytes {
            let part = StoredPart::new(block.clone(), range, self.elsewhere.clone());
            self.transport.outbox().promise(part)
        }

        /// From now on the drive's file has no bytes.
        fn lose_slab(&self) {
            let slab = self.folder.path().join("slab");
            std::fs::File::options().write(true).open(slab).unwrap().set_len(0).unwrap();
        }

        /// Reads to the end, beside whatever is sent.
        fn read_all(&mut self) -> JoinHandle<Vec<u8>> {
            let mut client = self.client.take().unwrap();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).await.unwrap();
                bytes
            })
        }

        /// Sends `parts` as hyper does.
        async fn send(&mut self, mut parts: Vec<Bytes>) -> io::Result<()> {
            while parts.iter().any(|part| !part.is_empty()) {
                self.send_some(&mut parts).await?;
            }
            Ok(())
        }

        /// Sends some of `parts`, and takes it off them.
        async fn send_some(&mut self, parts: &mut [Bytes]) -> io::Result<usize> {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let sent = poll_fn(|context| {
                Pin::new(&mut self.transport).poll_write_vectored(context, &slices)
            })
            .await?;
            let mut rest = sent;
            for part in parts {
                let n = rest.min(part.len());
                part.advance(n);
                rest -= n;
            }
            Ok(sent)
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
            scene.promise(&first, 1000..BLOCK),
            scene.promise(&second, 0..BLOCK),
            text.clone(),
            scene.promise(&first, 5..6),
            text,
        ];
        assert_eq!(outbox.owed(), 3);
        let block = BLOCK as usize;
        let mut expected = b"head".to_vec();
        expected.extend_from_slice(&scene.content[1000..2 * block]);
        expected.extend_from_slice(b"between");
        expected.push(scene.content[5]);
        expected.extend_from_slice(b"between");
        let read = scene.read_all();
        scene.send(parts).await.unwrap();
        assert_eq!(outbox.owed(), 0, "promises that are kept hold no slot");
        drop(scene.transport);
        assert!(read.await.unwrap() == expected);
    }

    #[tokio::test]
    async fn zeros_are_never_sent() {
        let mut scene = scene().await;
        let block = scene.block(0);
        let first = scene.promise(&block, 0..100);
        let second = scene.promise(&block, 0..100);
        // Not the oldest, too short, too long, not from its beginning.
        let longer = scene.promise(&block, 0..200);
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
        let part = scene.promise(&scene.block(0), 0..30_000);
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

    #[tokio::test]
    async fn what_a_failed_drive_owes_comes_from_elsewhere_and_nobody_notices() {
        let mut scene = scene().await;
        let outbox = scene.transport.outbox();
        let (first, second) = (scene.block(0), scene.block(1));
        let mut parts = vec![
            Bytes::from_static(b"head"),
            scene.promise(&first, 1000..BLOCK),
            scene.promise(&second, 0..BLOCK),
            Bytes::from_static(b"end"),
        ];
        drop((first, second));
        // Some of the first: nobody has been waited for since it was found in memory.
        let sent = scene.send_some(&mut parts).await.unwrap();
        assert!(sent > 4 && sent < BLOCK as usize, "{sent}");
        let mut expected = b"head".to_vec();
        expected.extend_from_slice(&scene.content[1000..]);
        expected.extend_from_slice(b"end");
        scene.lose_slab();
        let read = scene.read_all();
        scene.send(parts).await.unwrap();
        assert_eq!(outbox.owed(), 0);
        let drive = &scene.store.status().drives[0];
        assert_eq!(drive.counts.errors, 1, "the other was seen to be gone: {drive:?}");
        assert!(scene.store.block(&scene.object, 0).is_none(), "nobody gets it any more");
        drop(scene.transport);
        assert!(read.await.unwrap() == expected);
    }

    /// The drive gives other bytes for what memory has let go of while the client was waited for.
    #[tokio::test]
    async fn what_memory_has_let_go_of_is_not_read_again_unseen() {
        let mut scene = scene().await;
        if !scene.block(0).is_cheap_to_ask() {
            println!("skipped: this system does not tell quickly what memory has (cachestat)");
            return;
        }
        let mut parts = vec![scene.promise(&scene.block(0), 0..BLOCK)];
        let mut sent = 0;
        while let Some(n) = scene.send_some(&mut parts).now_or_never() {
            sent += n.unwrap();
        }
        assert!(sent > 0 && sent < BLOCK as usize, "{sent}");
        scene.lose_slab();
        let slab = scene.folder.path().join("slab");
        std::fs::File::options().write(true).open(slab).unwrap().set_len(32 << 20).unwrap();
        let read = scene.read_all();
        scene.send(parts).await.unwrap();
        drop(scene.transport);
        assert!(read.await.unwrap() == scene.content[..BLOCK as usize]);
    }

    /// Memory has it still, and nobody has been waited for.
    #[tokio::test]
    async fn what_another_has_found_to_be_damaged_is_sent_no_further() {
        let mut scene = scene().await;
        let other: Vec<u8> = scene.content.iter().map(|byte| !byte).collect();
        let expected = other.clone();
        scene.elsewhere = Arc::new(Copy { content: other, manner: Manner::Right });
        let block = scene.block(0);
        let mut parts = vec![scene.promise(&block, 0..BLOCK)];
        let sent = scene.send_some(&mut parts).await.unwrap();
        assert!(sent > 0 && sent < BLOCK as usize, "{sent}");
        block.failed_to_send(&io::Error::other("damaged"));
        let read = scene.read_all();
        scene.send(parts).await.unwrap();
        drop(scene.transport);
        let read = read.await.unwrap();
        assert!(read[..sent] == scene.content[..sent]);
        assert!(read[sent..] == expected[sent..BLOCK as usize]);
    }

    #[tokio::test]
    async fn what_is_not_to_be_had_elsewhere_either_breaks_the_connection() {
        for (manner, told) in [
            (Manner::Short, "not those promised"),
            (Manner::Long, "not those promised"),
            (Manner::Fails, "cannot be read"),
        ] {
            let mut scene = scene().await;
            let content = scene.content.clone();
            scene.elsewhere = Arc::new(Copy { content, manner });
            let parts = vec![Bytes::from_static(b"head"), scene.promise(&scene.block(0), 0..5000)];
            scene.lose_slab();
            let read = scene.read_all();
            let error = scene.send(parts).await.unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            drop(scene.transport);
            let mut right = b"head".to_vec();
            right.extend_from_slice(&scene.content[..5000]);
            let read = read.await.unwrap();
            assert!(right.starts_with(&read) && read.len() < right.len());
        }
    }
}
