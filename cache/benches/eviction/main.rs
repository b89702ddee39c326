//! Which share of the bytes must come from the origin under our eviction, and under others.
//!
//!     cargo bench -p mcc-cache --bench eviction                  # the table
//!     cargo bench -p mcc-cache --bench eviction -- --knobs       # and what each setting of S3-FIFO would do
//!     cargo bench -p mcc-cache --bench eviction -- --pieces 4    # clients ask for each block in four pieces
//!     cargo bench -p mcc-cache --bench eviction -- --seed 2      # another trace of the same kind
//!
//! [`trace`] makes the requests, [`policies`] has the others as their papers have them. Ours is the code that runs
//! on a drive. A simulation: it measures no time and needs no idle machine.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulator may stop at its own defects"
)]

mod policies;
mod trace;

use std::env;
use std::time::Instant;

use mcc_cache::store::BLOCK;
use policies::{Fifo3, Knobs, Lru, Ours, Policy, Sieve};
use trace::Trace;

/// Cache sizes in percent of the distinct bytes.
const SIZES: [usize; 5] = [1, 5, 10, 25, 50];

fn main() {
    let args: Vec<String> = env::args().collect();
    let number = |name: &str, otherwise: u64| {
        let value = args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
        value.map_or(otherwise, |value| {
            value.parse().unwrap_or_else(|_| panic!("{name} {value} is no number"))
        })
    };
    let (seed, pieces) = (number("--seed", 1), number("--pieces", 1));
    let began = Instant::now();
    let trace = Trace::new(seed);
    println!("{trace}");
    if pieces > 1 {
        println!("Each block is asked for in {pieces} pieces, one after the other.");
    }
    println!("\nByte miss ratio, by the cache's size in percent of the distinct bytes:\n");
    println!("{:28}{}", "", SIZES.map(|size| format!("{size:>8} %")).concat());

    let simulation = Simulation { trace: &trace, pieces };
    let others = [
        simulation.row("LRU", |slots, blocks| Box::new(Lru::new(slots, blocks))),
        simulation.row("SIEVE", |slots, blocks| Box::new(Sieve::new(slots, blocks))),
        simulation.row("S3-FIFO of the paper", |slots, blocks| {
            Box::new(Fifo3::new(slots, blocks, Knobs::PAPER))
        }),
    ];
    let ours = simulation.row("ours", |slots, blocks| Box::new(Ours::new(slots, blocks)));
    let above = |ratios: &[f64; 5], at: usize| {
        let best = others.iter().map(|ratios| ratios[at]).fold(f64::INFINITY, f64::min);
        (ratios[at] / best - 1.0) * 100.0
    };
    let ours_above: Vec<f64> = (0..SIZES.len()).map(|at| above(&ours, at)).collect();
    let words: String = ours_above.iter().map(|above| format!("{above:>+9.1}%")).collect();
    println!("{:28}{words}", "ours, above the best");
    println!("{:28}{:>9.3}", "a cache without end", trace.miss_ratio_without_end());
    let worst = ours_above.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    println!("\nat worst {worst:.1} % above the best; target: 3 %");

    if args.iter().any(|arg| arg == "--knobs") {
        println!("\nS3-FIFO of the paper with other settings:\n");
        for small_percent in [5, 10, 20] {
            for promote_at in [1, 2, 3] {
                for ghost_percent in [45, 90, 180] {
                    let knobs = Knobs { small_percent, promote_at, ghost_percent };
                    simulation.row(&knobs.to_string(), |slots, blocks| {
                        Box::new(Fifo3::new(slots, blocks, knobs))
                    });
                }
            }
        }
    }
    println!("({:.0} s)", began.elapsed().as_secs_f64());
}

/// Runs policies over one trace.
struct Simulation<'a> {
    trace: &'a Trace,
    /// Requests that a client makes for one block.
    pieces: u64,
}

impl Simulation<'_> {
    /// The byte miss ratio at each size, printed as it comes.
    fn row(&self, name: &str, new: impl Fn(usize, usize) -> Box<dyn Policy>) -> [f64; 5] {
        let ratios = SIZES.map(|percent| {
            let slots = (self.trace.distinct_blocks() * percent / 100).max(1);
            self.byte_miss_ratio(new(slots, self.trace.distinct_blocks()).as_mut())
        });
        println!("{name:28}{}", ratios.map(|ratio| format!("{ratio:>10.4}")).concat());
        ratios
    }

    /// Bytes from the origin for each byte to clients.
    fn byte_miss_ratio(&self, policy: &mut dyn Policy) -> f64 {
        let (mut asked, mut missed) = (0, 0);
        for block in self.trace.requests() {
            let length = u64::from(self.trace.length(block));
            assert!(length <= u64::from(BLOCK), "blocks are {BLOCK} bytes at most");
            asked += length;
            if !policy.request(block) {
                missed += length;
            }
            for _ in 1..self.pieces {
                assert!(policy.request(block), "a block that has just come in is there");
            }
        }
        missed as f64 / asked as f64
    }
}
