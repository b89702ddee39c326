//! How far ahead of its readers a fill runs.
//!
//! An object is read in streams: one long response, or adjacent ranges that a client asks for one after the
//! other. A stream's window grows each time it moves on to a block that was expected, so that a long path to
//! the origin is filled; a single range costs the origin its own blocks and no more.

/// Blocks that the window begins with when one request asks for as many or more. Up to here it grows by
/// four times: each step costs adjacent ranges a way to the origin and back.
pub(super) const FIRST_WINDOW: u32 = 16;
/// Blocks that the window grows to.
pub(super) const MAX_WINDOW: u32 = 64;
/// So many blocks a parallel client may be ahead or behind of what is expected.
const REACH: u32 = 4;
/// Streams that are told apart in one object; the one not seen for the longest time is forgotten.
const STREAMS: usize = 16;

/// One place in an object that is being read on from.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// The block expected next.
    next: u32,
    window: u32,
    /// The reader that was here last.
    reader: u64,
    /// Whether several readers have followed each other: their next one will ask for what lies
    /// behind the range of this one.
    adjacent: bool,
}

/// The streams of one object, the latest last.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    streams: Vec<Stream>,
}

impl ReadAhead {
    /// Reader number `reader`, whose range ends with block `last`, now needs `block`. Returns the block behind
    /// the last one to fetch by now: at least `block + 1`. It may lie behind the object's end.
    pub(super) fn wants(&mut self, reader: u64, block: u32, last: u32) -> u32 {
        let asked = last.saturating_sub(block).saturating_add(1);
        let known = self.streams.iter().position(|stream| {
            let reach = stream.window.min(REACH);
            (stream.next.saturating_sub(reach)..=stream.next.saturating_add(reach)).contains(&block)
        });
        let stream = match known {
            Some(at) => {
                let mut stream = self.streams.remove(at);
                stream.adjacent |= stream.reader != reader;
                stream.reader = reader;
                if block >= stream.next {
                    stream.window = match stream.window {
                        small @ 0..FIRST_WINDOW => (small * 4).min(FIRST_WINDOW),
                        large => (large * 2).min(MAX_WINDOW),
                    };
                    stream.next = block.saturating_add(1);
                }
                stream
            }
            None => Stream {
                next: block.saturating_add(1),
                window: asked.clamp(1, FIRST_WINDOW),
                reader,
                adjacent: false,
            },
        };
        if self.streams.len() == STREAMS {
            self.streams.remove(0);
        }
        self.streams.push(stream);
        let ahead = block.saturating_add(stream.window);
        if stream.adjacent { ahead } else { ahead.min(last.saturating_add(1)) }
            .max(block.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_reader_gets_a_window_that_grows_and_ends_with_its_range() {
        let mut ahead = ReadAhead::default();
        let ends: Vec<u32> = (0..6).map(|block| ahead.wants(1, block, 99) - block).collect();
        assert_eq!(ends[..4], [16, 32, 64, 64]);
        assert_eq!(ahead.wants(1, 80, 99), 96, "elsewhere: begins anew");
        let mut ahead = ReadAhead::default();
        for block in 0..10 {
            assert!(ahead.wants(1, block, 9) <= 10);
        }
    }

    #[test]
    fn a_single_block_costs_a_single_block() {
        assert_eq!(ReadAhead::default().wants(1, 7, 7), 8);
    }

    #[test]
    fn adjacent_ranges_are_read_ahead_of() {
        let mut ahead = ReadAhead::default();
        let ends: Vec<u32> = (0..8).map(|i| ahead.wants(u64::from(i), i, i) - i).collect();
        assert_eq!(ends, [1, 4, 16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn random_single_blocks_are_not() {
        let mut ahead = ReadAhead::default();
        for (reader, block) in [500, 20, 900, 100, 700, 300].into_iter().enumerate() {
            assert_eq!(ahead.wants(reader as u64, block, block), block + 1);
        }
    }

    #[test]
    fn many_streams_are_bounded() {
        let mut ahead = ReadAhead::default();
        for block in (0..100_000).step_by(1000) {
            ahead.wants(1, block, block);
        }
        assert!(ahead.streams.len() <= STREAMS);
        assert!(ahead.wants(1, u32::MAX, u32::MAX) == u32::MAX);
    }
}
