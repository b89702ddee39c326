//! Buffers for content on its way through memory, used again and again: freeing 256 KiB at a time would have the
//! allocator give memory back to the system and take it again for every one of them.

use std::cell::RefCell;

use bytes::Bytes;

use super::READ_WINDOW;

/// Buffers that each thread keeps for its next reads. More are freed.
const SPARE: usize = 16;
/// Shorter content gets a buffer of its own size.
const SMALL: usize = 16 << 10;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer to be filled. When it, or the [`Bytes`] made of it, is dropped it goes to the spares of the thread at
/// hand: the one that sends, and will want the next.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    /// `length` bytes of whatever content.
    pub(super) fn new(length: usize) -> Self {
        if !is_pooled(length) {
            return Self { bytes: vec![0; length], length };
        }
        let spare = SPARES.try_with(|spares| spares.borrow_mut().pop()).ok().flatten();
        Self { bytes: spare.unwrap_or_else(|| vec![0; READ_WINDOW as usize]), length }
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

fn is_pooled(length: usize) -> bool {
    length > SMALL && length <= READ_WINDOW as usize
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if is_pooled(self.length) {
            let bytes = std::mem::take(&mut self.bytes);
            // A thread that ends keeps nothing.
            let _ = SPARES.try_with(|spares| {
                let mut spares = spares.borrow_mut();
                if spares.len() < SPARE {
                    spares.push(bytes);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one() {
        let buffer = Buffer::new(100_000);
        let place = buffer.bytes.as_ptr();
        let bytes = buffer.freeze();
        assert_eq!(bytes.len(), 100_000);
        drop(bytes);
        let next = Buffer::new(READ_WINDOW as usize);
        assert_eq!((next.bytes.as_ptr(), next.as_ref().len()), (place, READ_WINDOW as usize));
        assert_eq!(Buffer::new(10).bytes.len(), 10, "a short one is no waste of a long one");
    }
}
