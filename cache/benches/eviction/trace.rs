//! A made trace of downloads: which blocks are asked for, in which order.
//!
//! What is in it, and why:
//! - titles of very different sizes, most of them small and most of the bytes in large ones, asked for by Zipf's law;
//! - releases: a title gets a new version, whose blocks are new; nobody begins to download the old one any more. New
//!   versions are in demand for a while, then less so;
//! - drift: titles change places in the order of popularity;
//! - scans: large objects that are downloaded once and never again;
//! - many downloads at once, some of the whole object, some of a part of it, block after block.

use std::fmt;

use mcc_cache::store::BLOCK;

/// Block requests in a trace.
const REQUESTS: usize = 6_000_000;
/// Titles there are.
const TITLES: usize = 2_500;
/// The exponent of Zipf's law.
const SKEW: f64 = 0.9;
/// Downloads that run at a time.
const RUNNING: usize = 150;
/// Blocks that a download gets on with at once.
const STRIDE: u64 = 4;
/// Downloads between two releases.
const RELEASE_EVERY: u64 = 40;
/// New versions in special demand.
const NEW: usize = 60;
/// Out of a thousand downloads: of a new version, of part of an object, of what nobody asks for again.
const NEW_DOWNLOADS: u64 = 250;
const PART_DOWNLOADS: u64 = 300;
const SCAN_DOWNLOADS: u64 = 5;

/// The requests, and the lengths of the blocks.
pub(crate) struct Trace {
    requests: Vec<u32>,
    /// Bytes, by number of block.
    lengths: Vec<u32>,
    seed: u64,
    distinct: usize,
    distinct_bytes: u64,
    bytes: u64,
    scanned: u64,
}

/// The blocks of one version of an object.
#[derive(Clone, Copy)]
struct Version {
    first: u32,
    blocks: u32,
}

/// A client in the middle of an object.
#[derive(Clone, Copy)]
struct Download {
    next: u32,
    end: u32,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Maker::new(seed).make(seed)
    }

    /// Numbers of blocks, 0 to [`Self::distinct_blocks`].
    pub(crate) fn requests(&self) -> impl Iterator<Item = u32> + '_ {
        self.requests.iter().copied()
    }

    pub(crate) fn distinct_blocks(&self) -> usize {
        self.distinct
    }

    /// Bytes in a block.
    pub(crate) fn length(&self, block: u32) -> u32 {
        self.lengths[block as usize]
    }

    /// Each byte is fetched once.
    pub(crate) fn miss_ratio_without_end(&self) -> f64 {
        self.distinct_bytes as f64 / self.bytes as f64
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes >> 30;
        write!(
            f,
            "Trace {}: {} block requests, {} GiB; {} distinct blocks, {} GiB; {:.0} % of the bytes are scans.",
            self.seed,
            self.requests.len(),
            gib(self.bytes),
            self.distinct,
            gib(self.distinct_bytes),
            self.scanned as f64 / self.bytes as f64 * 100.0,
        )
    }
}

/// The world that a trace is taken from.
struct Maker {
    random: Random,
    lengths: Vec<u32>,
    /// Current versions, in the order of popularity.
    titles: Vec<Version>,
    /// Zipf's law: the sum of the weights up to each rank.
    weights: Vec<f64>,
    /// Versions that came last, newest first.
    new: Vec<Version>,
    new_weights: Vec<f64>,
    scanned: u64,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut maker = Self {
            random: Random(seed),
            lengths: Vec::new(),
            titles: Vec::new(),
            weights: zipf(TITLES),
            new: Vec::new(),
            new_weights: zipf(NEW),
            scanned: 0,
        };
        for _ in 0..TITLES {
            let title = maker.title();
            maker.titles.push(title);
        }
        maker
    }

    fn make(mut self, seed: u64) -> Trace {
        let mut requests = Vec::with_capacity(REQUESTS);
        let mut running: Vec<Download> = Vec::new();
        let mut begun = 0;
        while requests.len() < REQUESTS {
            while running.len() < RUNNING {
                begun += 1;
                if begun % RELEASE_EVERY == 0 {
                    self.release();
                }
                let download = self.download();
                running.push(download);
            }
            let at = self.random.below(running.len() as u64) as usize;
            let download = &mut running[at];
            let stop = download.next.saturating_add(1 + self.random.below(STRIDE) as u32);
            let stop = stop.min(download.end);
            requests.extend(download.next..stop);
            download.next = stop;
            if download.next == download.end {
                running.swap_remove(at);
            }
        }
        // Blocks that nobody has asked for do not count; the others are numbered as they appear.
        let mut numbers = vec![u32::MAX; self.lengths.len()];
        let mut lengths = Vec::new();
        for block in &mut requests {
            let number = &mut numbers[*block as usize];
            if *number == u32::MAX {
                *number = lengths.len() as u32;
                lengths.push(self.lengths[*block as usize]);
            }
            *block = *number;
        }
        let total = |lengths: &[u32]| lengths.iter().map(|length| u64::from(*length)).sum();
        Trace {
            seed,
            distinct: lengths.len(),
            distinct_bytes: total(&lengths),
            bytes: requests.iter().map(|block| u64::from(lengths[*block as usize])).sum(),
            scanned: self.scanned,
            requests,
            lengths,
        }
    }

    /// A title's first version: of seven in ten at most 32 MiB, of one in twenty up to 8 GiB.
    fn title(&mut self) -> Version {
        let (least, most) = match self.random.below(100) {
            0..70 => (1.0, 32.0),
            70..95 => (32.0, 512.0),
            _ => (512.0, 8192.0),
        };
        self.version(least, most)
    }

    /// New blocks, their number evenly spread on a logarithmic scale.
    fn version(&mut self, least: f64, most: f64) -> Version {
        let blocks = (least * (most / least).powf(self.random.share())) as u32;
        let first = self.lengths.len() as u32;
        self.lengths.extend((1..blocks).map(|_| BLOCK));
        self.lengths.push(1 + self.random.below(u64::from(BLOCK)) as u32);
        Version { first, blocks }
    }

    /// A new version takes the place of a title's last one; another title changes its rank.
    fn release(&mut self) {
        let rank = pick(&self.weights, &mut self.random);
        let size = f64::from(self.titles[rank].blocks);
        let version = self.version(size * 0.9, size * 1.2 + 1.0);
        self.titles[rank] = version;
        self.new.insert(0, version);
        self.new.truncate(NEW);
        let (from, to) = (self.random.below(TITLES as u64), self.random.below(TITLES as u64));
        let title = self.titles.remove(from as usize);
        self.titles.insert(to as usize, title);
    }

    /// What the next client wants.
    fn download(&mut self) -> Download {
        if self.random.below(1000) < SCAN_DOWNLOADS {
            let Version { first, blocks } = self.version(512.0, 8192.0);
            self.scanned += u64::from(blocks) * u64::from(BLOCK);
            return Download { next: first, end: first + blocks };
        }
        let version = if self.new.len() == NEW && self.random.below(1000) < NEW_DOWNLOADS {
            self.new[pick(&self.new_weights, &mut self.random)]
        } else {
            self.titles[pick(&self.weights, &mut self.random)]
        };
        let Version { first, blocks } = version;
        if self.random.below(1000) >= PART_DOWNLOADS {
            return Download { next: first, end: first + blocks };
        }
        let from = self.random.below(u64::from(blocks)) as u32;
        let length = 1 + self.random.below(u64::from(blocks - from)) as u32;
        Download { next: first + from, end: first + from + length }
    }
}

/// Sums of the weights 1 / rank^[`SKEW`], from the first rank to each.
fn zipf(ranks: usize) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=ranks)
        .map(|rank| {
            sum += (rank as f64).powf(-SKEW);
            sum
        })
        .collect()
}

/// A rank, by its weight.
fn pick(sums: &[f64], random: &mut Random) -> usize {
    let total = sums.last().copied().unwrap_or(0.0);
    let at = random.share() * total;
    sums.partition_point(|sum| *sum <= at).min(sums.len() - 1)
}

/// SplitMix64: the same trace for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// 0 to 1, without 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
