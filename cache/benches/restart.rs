//! How long a restart takes with a drive full of content, and how much memory its index needs.
//!
//! `cargo bench -p mcc-cache --bench restart -- [--tb 10] [--object-mb 100] [--small 20000] [--dir FOLDER]`
//!
//! Makes a drive as a node would have left it: slot table and object log are written in full by the
//! real codec, the slab is a sparse file (no block is read at a restart, and the file system need not
//! have the space). A child process makes it, so that the memory measured is the store's own. The
//! page cache is asked to forget the files first. `--dir` should be on the kind of drive that matters.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark ends with the message"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use mcc_cache::store::{
    BLOCK, Class, DriveMeta, ObjectKey, ObjectMeta, ObjectRecord, Part, SMALL_SLOT, SlotLayout,
    SlotRecord, Store, StoreOptions,
};
use mcc_config::ByteSize;

/// Large objects that are being filled at the same time: their blocks lie between each other's.
const TOGETHER: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |value| {
            value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value:?}"))
        })
    };
    let folder_flag = arguments.iter().position(|argument| argument == "--dir");
    let parent = folder_flag.and_then(|at| arguments.get(at + 1)).map(PathBuf::from);
    let contents = Contents {
        mebibytes: u32::try_from(number("--tb", 10) * 1_000_000_000_000 / u64::from(BLOCK))
            .unwrap_or(u32::MAX),
        object_bytes: number("--object-mb", 100) * 1_000_000,
        small: number("--small", 20_000),
    };
    if let Some(at) = arguments.iter().position(|argument| argument == "--make") {
        return contents.make(Path::new(arguments.get(at + 1).unwrap()));
    }

    let parent = parent.unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::TempDir::new_in(parent).unwrap();
    let started = Instant::now();
    let made = Command::new(std::env::current_exe().unwrap())
        .args(arguments.iter().skip(1))
        .arg("--make")
        .arg(folder.path())
        .status();
    assert!(made.unwrap().success());
    println!("drive made in {:.1} s", started.elapsed().as_secs_f64());
    contents.measure(folder.path());
}

/// What is on the drive.
struct Contents {
    mebibytes: u32,
    /// Average size of the large objects.
    object_bytes: u64,
    /// How many objects fit a small slot.
    small: u64,
}

impl Contents {
    fn make(&self, folder: &Path) {
        let layout = SlotLayout::new(self.mebibytes, 0);
        let create = |part: Part| File::create(folder.join(part.file_name())).unwrap();
        create(Part::Slab).set_len(layout.bytes()).unwrap();
        let meta =
            DriveMeta { uuid: 1, mebibytes: self.mebibytes, plain: 0, epoch: 1, clean: true };
        create(Part::Meta).write_all(&meta.encode()).unwrap();

        let mut records = vec![[0; 32]; layout.slots() as usize];
        let mut log = BufWriter::new(create(Part::Objects));
        let mut used = [0_u32; 2];
        // The place of a block in the table; false when its class is full.
        let mut put = |number: u64, block: u32, length: u32| {
            let class = layout.class_for(length);
            let used = &mut used[usize::from(class == Class::Small)];
            if *used >= layout.count(class) {
                return false;
            }
            let slot = layout.slot(class, *used);
            *used += 1;
            let record = SlotRecord { number, block, length, crc: 0, slot, epoch: 1 };
            records[slot as usize] = record.encode();
            true
        };
        let mut number = 0;
        for _ in 0..self.small {
            number += 1;
            let length = 1 + random(number) % u64::from(SMALL_SLOT);
            log.write_all(&entry(number, length)).unwrap();
            if !put(number, 0, u32::try_from(length).unwrap()) {
                break;
            }
        }
        let mut open: Vec<(u64, u64, u32)> = Vec::new();
        'full: loop {
            while open.len() < TOGETHER {
                number += 1;
                // Evenly from a tenth to nineteen tenths of the average.
                let length = self.object_bytes / 10 + random(number) % (self.object_bytes * 9 / 5);
                log.write_all(&entry(number, length)).unwrap();
                open.push((number, length, 0));
            }
            for (number, length, block) in &mut open {
                let rest = *length - u64::from(*block) * u64::from(BLOCK);
                let size = u32::try_from(rest.min(u64::from(BLOCK))).unwrap();
                // Tails that find no small slot are not stored; a full large class ends it.
                if !put(*number, *block, size) && size > SMALL_SLOT {
                    break 'full;
                }
                *block += 1;
            }
            open.retain(|(_, length, block)| u64::from(*block) * u64::from(BLOCK) < *length);
        }
        log.into_inner().unwrap().sync_all().unwrap();
        let mut table = create(Part::Slots);
        table.write_all(records.as_flattened()).unwrap();
        table.sync_all().unwrap();
    }

    fn measure(&self, folder: &Path) {
        for part in [Part::Slots, Part::Objects] {
            let file = File::open(folder.join(part.file_name())).unwrap();
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        let layout = SlotLayout::new(self.mebibytes, 0);
        let (path, size) = (folder.to_owned(), ByteSize::new(layout.bytes()));
        let drive = mcc_config::Drive { path, size, allow_root: true };
        // The slab has nothing that a scrubber could compare.
        let options = StoreOptions { scrub_rate: 0, ..StoreOptions::default() };
        let before = resident();
        let started = Instant::now();
        let store = Store::open(&[drive], &options);
        let _ = store.object(&key(1));
        let answering = started.elapsed();
        assert!(store.wait_for_drives(Duration::from_secs(600)));
        let indexed = started.elapsed();
        let after = resident();
        let status = store.status();
        println!("{:#?}", status.drives);
        let records = f64::from(layout.slots());
        println!("slots                      {:>12}", layout.slots());
        println!("blocks                     {:>12}", status.blocks);
        println!("objects                    {:>12}", status.objects);
        println!("first lookup answered after{:>12.6} s", answering.as_secs_f64());
        println!("all indexed after          {:>12.3} s", indexed.as_secs_f64());
        println!("records per second         {:>12.0}", records / indexed.as_secs_f64());
        println!("memory added               {:>12.1} MB", megabytes(after - before));
        for number in 1..=status.objects {
            if let Some(object) = store.object(&key(number)) {
                std::hint::black_box(object.meta());
            }
        }
        let asked = resident();
        println!("once all were asked for    {:>12.1} MB", megabytes(asked - before));
    }
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / 1e6
}

fn key(number: u64) -> ObjectKey {
    let host = "dl.delivery.example.com".parse().unwrap();
    let path = format!("/filestreamingservice/files/{:032x}/pieces", u128::from(random(number)));
    ObjectKey::new(&host, &path, None)
}

/// A log entry with what origins of downloads commonly send.
fn entry(number: u64, length: u64) -> Vec<u8> {
    let header = |name: &'static str, value: String| {
        (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    };
    let meta = ObjectMeta {
        length,
        etag: Some(HeaderValue::from_str(&format!("\"{:016x}\"", random(number))).unwrap()),
        last_modified: Some(HeaderValue::from_static("Tue, 01 Sep 2026 00:00:00 GMT")),
        headers: vec![
            header("content-type", "application/octet-stream".to_owned()),
            header("cache-control", "public, max-age=17280000".to_owned()),
            header("server", "Origin/1.0".to_owned()),
            header("x-request-id", format!("{:032x}", u128::from(random(number)))),
            header("x-content-type-options", "nosniff".to_owned()),
        ],
        stored_at: 1_790_000_000,
        fresh_until: 1_800_000_000,
    };
    ObjectRecord { number, key: key(number), meta }.encode().unwrap()
}

/// The same for the same number (SplitMix64).
fn random(number: u64) -> u64 {
    let x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
