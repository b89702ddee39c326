//! The interop matrix: every scenario with every make of router, printed, and kept in
//! `docs/interop.md`.
//!
//! Cells play side by side; one that fails is played once more, alone.
//! `MCC_INTEROP=frr/refresh` plays only the cells with these words in make and scenario.
//! `MCC_WRITE_INTEROP=1` writes the page; without it the page and the run have to agree.

mod bird;
mod exabgp;
mod frr;
mod gobgp;
mod openbgpd;
mod plan;
mod router;
mod scenarios;
mod stage;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::router::Make;
use self::scenarios::{ALL, Outcome};
use crate::support::containers::Network;

/// Cells that play at the same time: most of the time they wait for a router.
const AT_ONCE: usize = 6;

/// What came of a cell.
enum Verdict {
    Came(Outcome),
    Failed(String),
}

/// By scenario, then make: the places in their lists.
type Verdicts = BTreeMap<(usize, usize), Verdict>;

#[test]
fn every_router_gets_through_every_scenario() {
    if Network::create().is_none() {
        return;
    }
    let wanted = std::env::var("MCC_INTEROP").unwrap_or_default().to_lowercase();
    let cells: Vec<(usize, usize)> = (0..ALL.len())
        .flat_map(|scenario| (0..Make::ALL.len()).map(move |make| (scenario, make)))
        .filter(|&(scenario, make)| {
            let name = format!("{}/{}", Make::ALL[make].name(), ALL[scenario].0).to_lowercase();
            wanted.split('/').all(|word| name.contains(word))
        })
        .collect();
    // The long ones, which stand last, first.
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Verdicts::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&(scenario, make)) =
                    cells.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let verdict = play(scenario, Make::ALL[make]);
                    verdicts.lock().unwrap().insert((scenario, make), verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    play_failed_again(&mut verdicts);
    let page = page(&verdicts);
    // Not println!, which the test runner keeps to itself when a test passes.
    writeln!(std::io::stdout(), "{page}").unwrap();
    let failed: Vec<_> = verdicts
        .iter()
        .filter_map(|((scenario, make), verdict)| match verdict {
            Verdict::Came(_) => None,
            Verdict::Failed(why) => Some(format!(
                "{}, {}: {}",
                Make::ALL[*make].name(),
                ALL[*scenario].0,
                why.lines().next().unwrap_or_default()
            )),
        })
        .collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/interop.md");
    if std::env::var_os("MCC_WRITE_INTEROP").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n"));
    if wanted.is_empty() {
        let kept = std::fs::read_to_string(&file).unwrap();
        assert_eq!(rows(&page), rows(&kept), "docs/interop.md: MCC_WRITE_INTEROP=1 writes it anew");
    }
}

/// A router that has to share two processors with twenty others may miss a time-out. What fails once
/// more when it has the machine to itself is a fault.
fn play_failed_again(verdicts: &mut Verdicts) {
    let mut out = std::io::stdout();
    for (&(scenario, make), verdict) in verdicts {
        if let Verdict::Failed(why) = verdict {
            let (name, make) = (ALL[scenario].0, Make::ALL[make]);
            writeln!(out, "again, alone: {}, {name}: {why}", make.name()).unwrap();
            *verdict = play(scenario, make);
        }
    }
}

fn play(scenario: usize, make: Make) -> Verdict {
    let (name, scenario) = ALL[scenario];
    let began = std::time::Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario(make)));
    let verdict = match outcome {
        Ok(outcome) => Verdict::Came(outcome),
        Err(panic) => Verdict::Failed(words(panic.as_ref())),
    };
    let sign = sign(&verdict);
    println!("{sign} {}: {name} ({} s)", make.name(), began.elapsed().as_secs());
    verdict
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn sign(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Came(Outcome::Passed | Outcome::PassedBut(_)) => "√",
        Verdict::Came(Outcome::Impossible(_)) => "–",
        Verdict::Failed(_) => "×",
    }
}

/// The rows of the table: what a run is compared by.
fn rows(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    // Not the head, which has the versions.
    rows.skip(2).collect()
}

fn page(verdicts: &Verdicts) -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut page = "# Routers that the node was tried with

Each cell is played by `tests/run` between the real program and the real router, both started for it: in
containers, over TCP, with the routers that Debian 12 ships. What the node has learned is compared with what the
router announced prefix by prefix. √ came to its right end, – the router cannot play it.

"
    .to_owned();
    let makes: Vec<_> =
        Make::ALL.iter().map(|make| format!("{} {}", make.name(), version(*make))).collect();
    writeln!(page, "| | {} |\n|---|{}", makes.join(" | "), ":-:|".repeat(makes.len())).unwrap();
    for (scenario, (name, _)) in ALL.iter().enumerate() {
        write!(page, "| {name} |").unwrap();
        for make in 0..Make::ALL.len() {
            let Some(verdict) = verdicts.get(&(scenario, make)) else {
                page.push_str(" ? |");
                continue;
            };
            let note = match verdict {
                Verdict::Came(Outcome::PassedBut(why) | Outcome::Impossible(why)) => {
                    let position = notes.iter().position(|note| note == why).unwrap_or_else(|| {
                        notes.push((*why).to_owned());
                        notes.len() - 1
                    });
                    format!(" [{}]", position + 1)
                }
                Verdict::Came(Outcome::Passed) | Verdict::Failed(_) => String::new(),
            };
            write!(page, " {}{note} |", sign(verdict)).unwrap();
        }
        page.push('\n');
    }
    page.push('\n');
    for (number, note) in notes.iter().enumerate() {
        writeln!(page, "{}. {note}.", number + 1).unwrap();
    }
    page
}

/// As the router itself says it: the first word of its answer that begins with a digit.
fn version(make: Make) -> String {
    let command = make.dialect().words().version;
    let said = crate::support::containers::run_once(make.image(), command).unwrap_or_default();
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    said.split_whitespace().find(is_version).unwrap_or("?").to_owned()
}
